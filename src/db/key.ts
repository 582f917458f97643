// Statements about keys. Everything stored here is ciphertext or a salt. A customer's data key is read on the order
// path; everything else belongs to the keys process, whose role alone may read an envelope.

import { sql } from 'slonik'
import { z } from 'zod'
import { systemActor } from '../domain/audit.ts'
import { ASSETS } from '../domain/payment.ts'
import { actorText } from './audit/actor.ts'
import { halvesOf } from './connection/bisect.ts'
import { retrying, statement, type Database } from './connection/pool.ts'
import { sqlStateOf, violatedConstraintOf } from './connection/sqlstate.ts'

/** The longest back-off before an envelope that could not be decrypted is tried again: 1, 2, 4 … s. */
const MAX_RETIRE_WAIT_S = 600
/** SQLSTATE classes with which Postgres rejects one row for its content: by type, constraint or trigger. */
const ROW_STATES = /^(22|23|HF|P0)/
/** Prefix of the constraints on the epoch's row, which all renewals of a batch share. */
const OF_THE_EPOCH = 'key_epoch_'
/** How long a batch is retried after serialisation failures. */
const RETRY_WITHIN_MS = 5_000

/** A customer's data key as stored: wrapped by this version of the `pii` ring. */
export type CustomerKey = { ringVersion: number; wrappedKey: Buffer }

const FIND_CUSTOMER_KEY = statement(
  'find_customer_key',
  `select ring_version as "ringVersion", wrapped_key as "wrappedKey" from customer_key where user_id = $1`,
)
// Race: the first two orders of a customer. The second insert waits for the first one's row and inserts nothing. It
// must then read the key in a separate statement, since its own snapshot is older than that row.
const INSERT_CUSTOMER_KEY = statement(
  'insert_customer_key',
  `with context as materialized (select set_config('holdfast.actor', $4, true) as acting),
   customer_row as (insert into customer (user_id) values ($1) on conflict do nothing)
   insert into customer_key (user_id, ring_version, wrapped_key) select $1, $2, $3 from context where acting is not null
   on conflict do nothing returning user_id`,
)
/** The audit actor of a data key: the vault creates it at first use, on any request. */
const VAULT = actorText(systemActor('vault'))

export async function findCustomerKey(database: Database, userId: bigint): Promise<CustomerKey | undefined> {
  const [key] = await database.run<CustomerKey>(FIND_CUSTOMER_KEY, [userId])
  return key
}

/** Inserts the key, and the customer if new. False if the customer already has a key. */
export async function insertCustomerKey(database: Database, userId: bigint, key: CustomerKey): Promise<boolean> {
  const rows = await database.run(INSERT_CUSTOMER_KEY, [userId, key.ringVersion, key.wrappedKey, VAULT])
  return rows.length === 1
}

const BYTES = z.instanceof(Buffer)
const EPOCH = z.object({ epochId: z.string(), masterVersion: z.number(), salt: BYTES, iterations: z.number() })
const PAYMENT_KEY = z.object({
  keyId: z.string(),
  network: z.string(),
  asset: z.enum(ASSETS),
  address: z.string(),
  formatVersion: z.number(),
  envelopeVersion: z.number(),
  epochId: z.string(),
  masterVersion: z.number(),
  salt: BYTES,
  wrapNonce: BYTES,
  wrapTag: BYTES,
  wrappedKey: BYTES,
  nonce: BYTES,
  tag: BYTES,
  ciphertext: BYTES,
})
const MASTER_KEY = z.object({ version: z.number(), fingerprint: BYTES })
const RETIREMENT = PAYMENT_KEY.extend({ orderId: z.string() })
const BACKLOG = z.object({ waiting: z.number(), oldestS: z.number() })
const NOTHING = z.unknown()

/** A key epoch: the keys sealed under one PBKDF2 salt and one version of the `key` ring. */
export type Epoch = z.output<typeof EPOCH>
/**
 * A private key as stored: `ciphertext` under a data key, `wrappedKey` is that data key under the epoch key and the
 * salt.
 */
export type PaymentKey = z.output<typeof PAYMENT_KEY>
export type MasterKey = z.output<typeof MASTER_KEY>
/** A retirement: the key of a closed order, sealed as it was when the address was created. */
export type Retirement = z.output<typeof RETIREMENT>

/** The columns of an envelope, in the order of ENVELOPE_TYPES. */
const envelopeColumns = sql.fragment`key_id, network, asset, address, format_version, envelope_version, epoch_id,
  master_version, salt, wrap_nonce, wrap_tag, wrapped_key, nonce, tag, ciphertext`
const ENVELOPE_TYPES = [
  ...['uuid', 'text', 'text', 'text', 'int2', 'int4', 'uuid', 'int4'],
  ...Array<string>(7).fill('bytea'),
]
const envelopeTuple = (key: PaymentKey) => [
  ...[key.keyId, key.network, key.asset, key.address, key.formatVersion, key.envelopeVersion, key.epochId],
  ...[key.masterVersion, key.salt, key.wrapNonce, key.wrapTag, key.wrappedKey, key.nonce, key.tag, key.ciphertext],
]

/** Every version of the `key` ring under which anything here was sealed. */
export const findMasterKeys = (database: Database): Promise<readonly MasterKey[]> =>
  database.sql.any(sql.type(MASTER_KEY)`select version, fingerprint from master_key order by version`)

export async function insertEpoch(
  database: Database,
  { epoch, fingerprint, keyLimit }: { epoch: Epoch; fingerprint: Buffer; keyLimit: number },
): Promise<void> {
  await database.sql.query(sql.type(NOTHING)`
    with master as (
      insert into master_key (version, fingerprint) values (${epoch.masterVersion}, ${sql.binary(fingerprint)})
      on conflict do nothing
    )
    insert into key_epoch (epoch_id, master_version, salt, iterations, key_limit)
    values (${epoch.epochId}, ${epoch.masterVersion}, ${sql.binary(epoch.salt)}, ${epoch.iterations}, ${keyLimit})`)
}

export const getEpoch = (database: Database, epochId: string): Promise<Epoch> =>
  database.sql.one(sql.type(EPOCH)`
    select epoch_id as "epochId", master_version as "masterVersion", salt, iterations
    from key_epoch where epoch_id = ${epochId}`)

/** Stores new keys of one epoch and adds their addresses to the pool. The epoch's constraints reject too many. */
export async function insertKeys(database: Database, epochId: string, keys: readonly PaymentKey[]): Promise<void> {
  await database.sql.query(sql.type(NOTHING)`
    with new_key as (
      insert into payment_key (${envelopeColumns})
      select * from ${sql.unnest(keys.map(envelopeTuple), ENVELOPE_TYPES)}
      returning network, address, asset, key_id
    ), pooled as (
      insert into address_pool (network, address, asset, key_id) select network, address, asset, key_id from new_key
    )
    update key_epoch set key_count = key_count + ${keys.length}, last_used_at = clock_timestamp()
    where epoch_id = ${epochId}`)
}

/** Keys of closed orders, longest waiting first. */
export const findDueRetirements = (database: Database, limit: number): Promise<readonly Retirement[]> =>
  database.sql.any(sql.type(RETIREMENT)`
    select r.order_id as "orderId", k.key_id as "keyId", k.network, k.asset, k.address,
      k.format_version as "formatVersion", k.envelope_version as "envelopeVersion", k.epoch_id as "epochId",
      k.master_version as "masterVersion", k.salt, k.wrap_nonce as "wrapNonce", k.wrap_tag as "wrapTag",
      k.wrapped_key as "wrappedKey", k.nonce, k.tag, k.ciphertext
    from key_retire r join payment_key k using (network, address)
    where r.done_at is null and r.next_at <= statement_timestamp()
    order by r.next_at limit ${limit}`)

/**
 * Replaces envelopes of one epoch with their successors, moves the keys to the retired tier and closes the retirements.
 * Optimistic concurrency: an envelope that another process has renewed since stays unchanged, so only one of two
 * renewals counts. Returns the orders done.
 */
export async function renewKeys(
  database: Database,
  epochId: string,
  renewals: readonly Retirement[],
): Promise<readonly string[]> {
  const renew = sql.type(z.object({ orderId: z.string() }))`
    with renewal as (
      select * from ${sql.unnest(
        renewals.map((key) => [...envelopeTuple(key), key.orderId]),
        [...ENVELOPE_TYPES, 'uuid'],
      )} as r (${envelopeColumns}, order_id)
    ), renewed as (
      update payment_key k
      set tier = 'retired', envelope_version = r.envelope_version, epoch_id = r.epoch_id,
        master_version = r.master_version, salt = r.salt, wrap_nonce = r.wrap_nonce, wrap_tag = r.wrap_tag,
        wrapped_key = r.wrapped_key, nonce = r.nonce, tag = r.tag, ciphertext = r.ciphertext,
        sealed_at = clock_timestamp()
      from renewal r
      where k.key_id = r.key_id and k.envelope_version = r.envelope_version - 1
      returning r.order_id
    ), counted as (
      update key_epoch
      set key_count = key_count + (select count(*) from renewed)::integer, last_used_at = clock_timestamp()
      where epoch_id = ${epochId} and exists (select from renewed)
    )
    update key_retire q set done_at = clock_timestamp()
    from renewed where q.order_id = renewed.order_id
    returning q.order_id as "orderId"`
  const done = await retrying(() => database.sql.any(renew), Date.now() + RETRY_WITHIN_MS)
  return done.map(({ orderId }) => orderId)
}

/**
 * Renews keys in one statement if possible, else by bisection, so that a key that the database rejects does not block
 * the others. Failures of the epoch, the statement or the server are thrown.
 * @param onRefused called for each key that was rejected alone, with SQLSTATE and constraint only: more would reveal
 * the row
 */
export async function renewKeysApart(
  database: Database,
  epochId: string,
  renewals: readonly Retirement[],
  onRefused: (orderId: string, reason: string) => void,
): Promise<readonly string[]> {
  const [first] = renewals
  if (first === undefined) return []
  try {
    return await renewKeys(database, epochId, renewals)
  } catch (error) {
    const [state = '', constraint = ''] = [sqlStateOf(error), violatedConstraintOf(error)]
    if (!ROW_STATES.test(state) || constraint.startsWith(OF_THE_EPOCH)) throw error
    if (renewals.length === 1) {
      onRefused(first.orderId, `${state} ${constraint}`.trim())
      return []
    }
    const done: string[] = []
    for (const half of halvesOf(renewals)) done.push(...(await renewKeysApart(database, epochId, half, onRefused)))
    return done
  }
}

/**
 * Schedules retirements for later whose key could not be decrypted or was rejected, so that they do not block others.
 */
export async function deferRetirements(database: Database, orderIds: readonly string[]): Promise<void> {
  await database.sql.query(sql.type(NOTHING)`
    update key_retire
    set attempts = attempts + 1,
      next_at = clock_timestamp() + least(${MAX_RETIRE_WAIT_S}, 2 ^ least(attempts, 20)) * interval '1 second'
    where order_id = any(${sql.array([...orderIds], 'uuid')})`)
}

/** The number of open retirements, including those without a key, and the age of the oldest. */
export const readRetireBacklog = (database: Database): Promise<{ waiting: number; oldestS: number }> =>
  database.sql.one(sql.type(BACKLOG)`
    select count(*)::int as waiting,
      coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as "oldestS"
    from key_retire where done_at is null`)
