// Rights of every role, as an explicit list: a right that is not in it fails this test.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { DATABASE_ROLES, type DatabaseRole } from './support/servers.ts'

type Rights = {
  select?: string
  insert?: string
  update?: string
  delete?: string
  /** Rights to single columns of a table. */
  columns?: Readonly<Record<string, string>>
  execute?: string
}

const RIGHTS: Readonly<Record<DatabaseRole, Rights>> = {
  app_api: {
    select: `account active_source address_pool asset_rate audit_checkpoint audit_entry audit_tile chain_status chain_suspension currency customer customer_key duty
      expirable idempotency ignored_transfer invoice late_decision ledger_entry ledger_posting notification
      order_line order_transition order_wake orders payment payment_report payout product quoted_rate reclaimable_hold refund refund_approval refund_due refund_transition reservation retired_source returning_hold
      schema_version source_doubt source_fork source_rule stock stock_movement suspended_network suspended_order unattributed_output workflow_start`,
    insert: `asset_rate customer_key idempotency invoice order_line order_wake payment_report quoted_rate reservation stock stock_movement
      workflow_start`,
    delete: 'idempotency',
    columns: {
      'select payout_attempt': 'payout_id attempt order_id kind tx_id created_at broadcast_at',
      'insert customer': 'user_id',
      'insert orders': 'order_id user_id currency total address_sealed',
      'insert product': 'product_id name unit_price currency is_active',
      'insert refund':
        'order_id network asset token amount kind fee_bearer named_in fiat_amount rate_basis rate requested_by reason',
      'insert refund_approval': 'refund_id version approver order_id seal',
      'insert security_event': 'at kind subject peer method object request_id events',
      'update address_pool': 'leased_by leased_at',
      'update asset_rate': 'rate at',
      'update idempotency': 'response order_id',
      'update notification': 'attempts next_at dead_reason dead_at',
      'update order_wake': 'wanted_seq next_at dead_reason',
      'update orders': 'address_sealed',
      'update product': 'name unit_price currency is_active',
      'update refund': 'amount fee_bearer destination destination_confirmed_at destination_seal status',
      'update reservation': 'expires_at',
      'update stock': 'on_hand reserved version',
      'update workflow_start': 'urgency',
    },
    execute:
      'accept_locked accept_optimistic accept_orders actor_of audit_note_reads catalogue_of decide_in_order due_units expire_orders fits_in_sum forget_quotas fresh_outputs is_enough is_enough_seen is_terminal lock_wanted order_answers order_money ' +
      'keep_owed_refund order_state owed_refund present_output promised_refunds quote_due received_money record_report refused_orders restart_orders revive_relays set_hold_aside store_rates take_quota take_wanted request_wake required_sources write_orders',
  },
  app_worker: {
    select: `active_source asset_rate audit_entry audit_head chain_status chain_suspension consistency_run currency customer duty expirable hold_aside idempotency ignored_transfer inconsistency invoice key_retire late_decision ledger_posting
      notification notification_channel order_line order_transition order_wake orders payment payment_report payment_transition payout payout_attempt payout_sender payout_wait product quoted_rate
      reclaimable_hold refund refund_approval refund_due refund_transition reservation retired_source schema_version security_event source_doubt source_fork source_rule stock stock_movement suspended_network suspended_order unattributed_output workflow_start`,
    insert: `consistency_run idempotency inconsistency key_retire order_wake payment payout_sender payout_wait refund_due reservation
      source_doubt stock_movement workflow_start`,
    update: 'duty inconsistency order_wake payout_wait workflow_start',
    delete: 'inconsistency order_wake payout_wait source_doubt suspended_order workflow_start',
    columns: {
      'update notification': 'claimed_by claimed_until attempts next_at delivered_at dead_reason dead_at',
      'insert late_decision': 'order_id refusal rate due_now',
      'insert suspended_order': 'order_id network',
      'update source_doubt': 'kind since',
      'update suspended_order': 'woken_at',
      'update notification_channel': 'is_enabled',
      'update orders': 'status payment_state payment_flags hold cancel_reason generation step',
      'insert refund':
        'order_id network asset token amount kind fee_bearer named_in fiat_amount rate_basis rate requested_by reason',
      'insert payout': 'refund_id order_id network sender chain_id nonce destination amount fee_bearer',
      'insert payout_attempt': 'payout_id attempt order_id kind value gas_limit max_fee priority_fee',
      'select address_pool': 'address network',
      'update payout': 'status failure block_height block_hash is_released network_fee',
      'update payout_attempt': 'raw tx_id broadcast_at',
      'update payout_sender': 'next_nonce holder held_until',
      'update payment': 'amount state is_in_time',
      'update payment_report': 'is_assessed',
      'update refund': 'amount status tx_id network_fee',
      'update refund_due': 'amount updated_at',
      'update reservation': 'state expires_at',
      'update stock': 'on_hand reserved version',
    },
    execute:
      'actor_of assessed_order begin_assessment begin_payout command_order command_target consume_stock credit_payments decide_late_money do_command end_assessment end_orders end_payout fence_step finish_payout ' +
      'expire_orders forget_answers forget_notifications forget_security_events fresh_outputs is_command_legal is_enough is_terminal keep_owed_refund late_refusal open_replacement open_transactions order_money order_state owed_refund prepare_payout present_output required_sources promised_refunds quote_due received_money refund_state replace_payout resume_orders ' +
      'set_hold_aside settle_payout settle_refund_state step_order suspend_order take_stock request_wake',
  },
  app_keys: {
    select: 'address_pool currency key_epoch key_retire master_key payment_key schema_version',
    insert: 'address_pool key_epoch master_key',
    columns: {
      'insert payment_key': `key_id network asset address format_version envelope_version epoch_id master_version salt
        wrap_nonce wrap_tag wrapped_key nonce tag ciphertext`,
      'update key_epoch': 'key_count last_used_at',
      'update key_retire': 'attempts next_at done_at',
      'update payment_key': `tier envelope_version epoch_id master_version salt wrap_nonce wrap_tag wrapped_key nonce tag
        ciphertext sealed_at`,
    },
  },
  watcher: {
    select: `chain_balance chain_block chain_operation chain_output chain_report chain_status chain_suspension chain_sweep currency ignored_transfer issued_address open_invoice own_account pending_invoice schema_version source_login`,
    insert: 'chain_balance chain_block chain_output chain_report chain_status chain_sweep ignored_transfer',
    delete: 'chain_block chain_report ignored_transfer',
    columns: {
      'select address_pool': 'network address',
      'select invoice': 'network address asset',
      'select payout_sender': 'network sender',
      'insert chain_operation': 'network operation height address amount tx_id output_index reason',
      'insert chain_suspension': 'cause network',
      'update chain_suspension': 'closed_at reason',
      'update chain_balance':
        'height block_hash balance told withdrawn set_aside unexplained checked_at found_at attributed_at',
      'update chain_sweep': 'round began_at place is_over swept_at',
      'update chain_output': 'amount state seq block_height block_hash first_seen_at',
      'update chain_report': 'refusals next_at refusal_reason',
      'update chain_status':
        'confirmations compares_balances start_height scanned_height settled_height rewind_to rewind_given_at tip_height tip_asked_at caught_up_at',
    },
    execute: 'own_source reported_elsewhere settle_report',
  },
  audit_sealer: {
    select: 'audit_checkpoint audit_entry audit_scope audit_tile duty schema_version',
    insert: 'audit_checkpoint audit_tile',
    update: 'duty',
    columns: { 'update audit_tile': 'hashes' },
    execute: 'audit_make_partitions audit_purge',
  },
  auditor: {
    select: `account active_source address_pool asset_rate audit_checkpoint audit_entry audit_head audit_scope audit_tile chain_balance chain_operation chain_output chain_report chain_status chain_suspension chain_sweep consistency_run
      currency customer duty expirable hold_aside idempotency ignored_transfer inconsistency invoice key_retire late_decision ledger_entry ledger_posting notification
      notification_channel order_line order_restart order_transition order_wake orders own_account payment payment_report payment_transition payout payout_attempt payout_sender payout_wait
      product quoted_rate refund refund_approval refund_due refund_transition reservation retired_source schema_version security_event source_doubt source_fork source_login source_rule stock stock_movement suspended_network suspended_order unattributed_output workflow_start`,
    columns: { 'select payment_key': 'key_id' },
    execute:
      'is_enough is_terminal open_transactions order_money owed_refund present_output promised_refunds quote_due received_money refund_state required_sources',
  },
  analytics: {},
}

const words = (text = ''): string[] => text.split(/\s+/).filter((word) => word !== '')

/** `app_api update orders(address_sealed)`, one line per right. */
const expected = DATABASE_ROLES.flatMap((role) => {
  const { columns = {}, execute, ...tables } = RIGHTS[role]
  return [
    `${role} connect database`,
    `${role} usage schema`,
    ...Object.entries(tables).flatMap(([right, names]) => words(names).map((table) => `${role} ${right} ${table}`)),
    ...Object.entries(columns).flatMap(([right, names]) => words(names).map((column) => `${role} ${right}(${column})`)),
    ...words(execute).map((name) => `${role} execute ${name}`),
  ]
})

const GRANTED = `
  with granted (what, owner, kind, acl) as (
    select 'database', datdba, 'd'::"char", datacl from pg_database where datname = current_database()
    union all select case nspname when 'holdfast' then 'schema' else nspname end, nspowner, 'n', nspacl from pg_namespace
      where nspname in ('holdfast', 'public')
    union all select relname, relowner, (case relkind when 'S' then 's' else 'r' end)::"char", relacl from pg_class
      where relnamespace = 'holdfast'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S')
    union all select relname || '(' || attname || ')', relowner, 'c', attacl
      from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0 and attacl is not null
      where relnamespace = 'holdfast'::regnamespace
    union all select proname, proowner, 'f', proacl from pg_proc where pronamespace = 'holdfast'::regnamespace
  )
  select case grantee when 0 then 'PUBLIC' else grantee::regrole::text end || ' ' || lower(privilege_type) || ' ' || what
    || case when is_grantable then ' WITH GRANT OPTION' else '' end as line
  from granted, aclexplode(coalesce(acl, case when kind = 'c' then null else acldefault(kind, owner) end))
  where grantee <> owner and grantee <> 'holdfast_owner'::regrole`

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

test('every role has the rights written here, and nobody any other', async () => {
  const rows = await database.query<{ line: string }>(GRANTED)
  // The fence on status uses app_worker's function: it runs with that role's rights for any permitted caller.
  const own = ['app_worker execute expire_orders']
  const found = [...rows.map(({ line }) => line), ...own].filter((line, at, lines) => lines.indexOf(line) === at)
  expect(found.toSorted()).toEqual(expected.toSorted())
})

test('no right is given ahead to what does not exist yet', async () => {
  expect(await database.query('select * from pg_default_acl')).toEqual([])
})

describe.each(DATABASE_ROLES)('%s', (role) => {
  let session: pg.Client
  beforeAll(async () => {
    session = new pg.Client({ connectionString: database.urlOf(role) })
    await session.connect()
  })
  afterAll(() => session.end())

  test('is an ordinary role, member of no other, with its limits in time', async () => {
    const [row] = await database.query(
      `select rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolinherit, rolconfig,
         (select count(*) from pg_auth_members where member = r.oid) as memberships
       from pg_roles r where rolname = $1`,
      [role],
    )
    expect(row).toEqual({
      rolsuper: false,
      rolcreaterole: false,
      rolcreatedb: false,
      rolreplication: false,
      rolbypassrls: false,
      rolinherit: false,
      memberships: 0n,
      rolconfig: [
        'statement_timeout=2s',
        'lock_timeout=1s',
        'idle_in_transaction_session_timeout=5s',
        'transaction_timeout=5s',
      ],
    })
  })

  test('works under these limits and this search path', async () => {
    const { rows } = await session.query(
      `select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
         current_setting('idle_in_transaction_session_timeout') as idle, current_setting('transaction_timeout') as transaction,
         current_setting('search_path') as path`,
    )
    expect(rows).toEqual([{ statement: '2s', lock: '1s', idle: '5s', transaction: '5s', path: 'holdfast, pg_catalog' }])
  })

  test.each([
    'create table holdfast.t (i int)',
    'create table public.t (i int)',
    'create temporary table t (i int)',
    'create schema s',
    'create view holdfast.v as select 1 as one',
    `create function holdfast.f() returns int language sql return 1`,
    'alter table holdfast.orders add column i int',
    'drop table holdfast.currency cascade',
    'create index on holdfast.orders (total)',
    'comment on table holdfast.orders is null',
    'create role r',
    'create extension pg_stat_statements',
    `alter role ${role} superuser`,
    'alter system set work_mem = 1',
  ])('changes nothing of the schema: %s', async (text) => {
    await expect(session.query(text)).rejects.toMatchObject({ code: '42501' })
  })
})
