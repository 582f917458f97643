// Every fact of an order's money, read by one statement and so at one moment. Of each list the newest rows: an order may
// have thousands of tiny transfers.

import { sql } from 'slonik'
import { z } from 'zod'
import { CANCEL_REASONS, HOLDS, ORDER_STATUSES } from '../domain/order.ts'
import { ASSETS, PAYMENT_FLAGS, PAYMENT_STATES, TRANSFER_STATES } from '../domain/payment.ts'
import { PAYOUT_STATUSES } from '../domain/payout.ts'
import type { Database } from './connection/pool.ts'
import { TIME, TRANSFER, transferJson, UNITS } from './payment_list.ts'
import { inOrderScope, REFUND_VIEW } from './refund.ts'
import type { OrderScope } from './read.ts'

/** Rows of each list in a dossier. */
const MAX = {
  transfers: 100,
  reports: 100,
  doubts: 20,
  ignored: 20,
  refunds: 20,
  approvals: 10,
  payouts: 5,
  attempts: 10,
  audit: 20,
}

const COUNT = z.int().transform(BigInt)
const ORDER = z.object({
  status: z.enum(ORDER_STATUSES),
  paymentState: z.enum(PAYMENT_STATES),
  hold: z.enum(HOLDS),
  cancelReason: z.enum(CANCEL_REASONS).nullable(),
  version: COUNT,
  userId: UNITS,
  createdAt: TIME,
  flags: z.array(z.enum(PAYMENT_FLAGS)),
  currency: z.string(),
  total: z.string(),
})
const QUOTE = z.object({
  network: z.string(),
  asset: z.enum(ASSETS),
  address: z.string(),
  due: UNITS,
  rate: z.string(),
  rateMadeAt: TIME.nullable(),
  prices: z.array(z.object({ source: z.string(), price: z.string(), read_at: TIME })),
  quotedAt: TIME,
  expiresAt: TIME,
  endsAt: TIME,
  leasedAt: TIME.nullable(),
})
const MONEY = z.object({ seen: UNITS, final: UNITS, lateSeen: UNITS, lateFinal: UNITS, accepted: UNITS, owed: UNITS })
const REPORT = z.object({
  source: z.string(),
  network: z.string(),
  txId: z.string(),
  outputIndex: z.int(),
  seq: z.int(),
  state: z.enum(TRANSFER_STATES),
  asset: z.enum(ASSETS),
  amount: UNITS,
  blockHeight: z.int().nullable(),
  blockHash: z.string().nullable(),
  firstSeenAt: TIME,
  receivedAt: TIME,
  isAssessed: z.boolean(),
  isSuperseded: z.boolean(),
  isSourceRetired: z.boolean(),
  isRightAsset: z.boolean(),
  isEarly: z.boolean(),
  credit: z.object({ orderId: z.string(), state: z.enum(TRANSFER_STATES), amount: UNITS }).nullable(),
})
const DOUBT = z.object({ txId: z.string(), outputIndex: z.int(), kind: z.enum(['lone', 'differing']), since: TIME })
const PAYOUT = z.object({
  payoutId: z.string(),
  status: z.enum(PAYOUT_STATUSES),
  failure: z.string().nullable(),
  nonce: COUNT,
  blockHeight: z.int().nullable(),
  createdAt: TIME,
  updatedAt: TIME,
  txIds: z.array(z.string()),
})
const REFUND = REFUND_VIEW.extend({
  // In JSON.
  version: COUNT,
  createdAt: TIME,
  updatedAt: TIME,
  approvedBy: z.array(z.object({ approver: z.string(), version: COUNT, at: TIME })),
  payouts: z.array(PAYOUT),
})
const LEDGER = z.object({
  network: z.string(),
  asset: z.string(),
  token: z.string().nullable(),
  received: z.string(),
  customerDue: z.string(),
  refundDue: z.string(),
  refunded: z.string(),
  fees: z.string(),
  writtenOff: z.string(),
  postings: COUNT,
})
const LATE = z.object({
  replacementId: z.string().nullable(),
  refusal: z.string().nullable(),
  rate: z.string().nullable(),
  dueNow: z.string().nullable(),
  decidedAt: TIME,
})
const IGNORED = z.object({
  txId: z.string(),
  outputIndex: z.int(),
  token: z.string().nullable(),
  sender: z.string(),
  units: z.string(),
  blockHeight: COUNT,
  firstSeenAt: TIME,
})
const DOSSIER = z.object({
  readAt: z.date(),
  order: ORDER,
  quote: QUOTE,
  money: MONEY,
  transfers: z.array(TRANSFER),
  transferCount: z.bigint(),
  reports: z.array(REPORT),
  reportCount: z.bigint(),
  waitingCount: z.bigint(),
  doubts: z.array(DOUBT),
  refunds: z.array(REFUND),
  refundCount: z.bigint(),
  ledger: z.array(LEDGER),
  late: LATE.nullable(),
  replacesOrderId: z.string().nullable(),
  suspensions: z.array(z.object({ cause: z.string(), since: TIME })),
  suspendedSince: z.date().nullable(),
  ignored: z.array(IGNORED),
  ignoredCount: z.bigint(),
  auditEntries: z.array(z.object({ seq: COUNT, entryId: COUNT, at: TIME, actor: z.string() })),
})
export type PaymentDossier = z.output<typeof DOSSIER>
export type RefundRecord = PaymentDossier['refunds'][number]

const order = sql.fragment`jsonb_build_object(
  'status', o.status, 'paymentState', o.payment_state, 'hold', o.hold, 'cancelReason', o.cancel_reason,
  'version', o.version, 'userId', o.user_id::text, 'createdAt', o.created_at, 'flags', o.payment_flags,
  'currency', o.currency, 'total', o.total::text)`

const quote = sql.fragment`(
  select jsonb_build_object(
    'network', i.network, 'asset', i.asset, 'address', i.address, 'due', i.amount_due::text, 'rate', i.rate::text,
    'rateMadeAt', q.made_at, 'prices', coalesce(q.prices, '[]'), 'quotedAt', i.created_at, 'expiresAt', i.expires_at,
    'endsAt', i.expires_at + i.grace, 'leasedAt', (
      select a.leased_at from address_pool a where a.network = i.network and a.address = i.address))
  from (select 1) one left join quoted_rate q on q.rate_id = i.rate_id)`

const money = sql.fragment`(
  select jsonb_build_object(
    'seen', m.seen::text, 'final', m.final::text, 'lateSeen', m.late_seen::text, 'lateFinal', m.late_final::text,
    'accepted', m.accepted::text, 'owed', coalesce((
      select d.amount from refund_due d where d.order_id = o.order_id and d.asset = i.asset), 0)::text)
  from order_money(array[o.order_id]) m)`

const transfers = sql.fragment`(
  select coalesce(jsonb_agg(${transferJson}
    order by f.first_seen_at desc, f.network desc, f.tx_id desc, f.output_index desc), '[]')
  from (
    select p.* from payment p where p.order_id = o.order_id
    order by p.first_seen_at desc, p.network desc, p.tx_id desc, p.output_index desc limit ${MAX.transfers}) f)`

const reports = sql.fragment`(
  select coalesce(jsonb_agg(jsonb_build_object(
    'source', r.source, 'network', r.network, 'txId', r.tx_id, 'outputIndex', r.output_index, 'seq', r.seq,
    'state', r.state, 'asset', r.asset, 'amount', r.amount::text, 'blockHeight', r.block_height,
    'blockHash', r.block_hash, 'firstSeenAt', r.first_seen_at, 'receivedAt', r.received_at,
    'isAssessed', r.is_assessed, 'isRightAsset', r.asset = i.asset,
    'isEarly', r.first_seen_at < i.created_at - (select c.clock_tolerance from currency c where c.currency = i.asset),
    'isSuperseded', exists (
      select from payment_report l where l.source = r.source and l.network = r.network and l.tx_id = r.tx_id
        and l.output_index = r.output_index and l.seq > r.seq),
    'isSourceRetired', exists (select from retired_source x where x.source = r.source),
    'credit', (
      select jsonb_build_object('orderId', p.order_id, 'state', p.state, 'amount', p.amount::text) from payment p
      where (p.network, p.tx_id, p.output_index) = (r.network, r.tx_id, r.output_index))
    ) order by r.report_no desc), '[]')
  from (
    select n.* from payment_report n where n.order_id = o.order_id order by n.report_no desc limit ${MAX.reports}) r)`

const doubts = sql.fragment`(
  select coalesce(jsonb_agg(jsonb_build_object(
    'txId', d.tx_id, 'outputIndex', d.output_index, 'kind', d.kind, 'since', d.since) order by d.since), '[]')
  from (
    select x.* from source_doubt x where x.order_id = o.order_id order by x.since limit ${MAX.doubts}) d)`

// Several sources may have recorded the same transfer.
const ignored = sql.fragment`(
  select coalesce(jsonb_agg(jsonb_build_object(
    'txId', t.tx_id, 'outputIndex', t.output_index, 'token', t.token, 'sender', t.sender, 'units', t.amount::text,
    'blockHeight', t.block_height, 'firstSeenAt', t.first_seen_at)
    order by t.block_height desc, t.output_index desc), '[]')
  from (
    select d.* from (
      select distinct on (g.tx_id, g.output_index, g.kind) g.* from ignored_transfer g
      where g.network = i.network and g.address = i.address
      order by g.tx_id, g.output_index, g.kind, g.source) d
    order by d.block_height desc, d.output_index desc limit ${MAX.ignored}) t)`

const payouts = sql.fragment`(
  select coalesce(jsonb_agg(jsonb_build_object(
    'payoutId', p.payout_id, 'status', p.status, 'failure', p.failure, 'nonce', p.nonce, 'blockHeight', p.block_height,
    'createdAt', p.created_at, 'updatedAt', p.updated_at, 'txIds', (
      select coalesce(jsonb_agg(t.tx_id order by t.attempt desc), '[]') from (
        select a.tx_id, a.attempt from payout_attempt a where a.payout_id = p.payout_id and a.tx_id is not null
        order by a.attempt desc limit ${MAX.attempts}) t)
    ) order by p.created_at desc), '[]')
  from (
    select y.* from payout y where y.refund_id = r.refund_id order by y.created_at desc limit ${MAX.payouts}) p)`

const approvals = sql.fragment`(
  select coalesce(jsonb_agg(jsonb_build_object('approver', a.approver, 'version', a.version, 'at', a.approved_at)
    order by a.approved_at desc), '[]')
  from (
    select y.* from refund_approval y where y.refund_id = r.refund_id
    order by y.approved_at desc limit ${MAX.approvals}) a)`

const refunds = sql.fragment`(
  select coalesce(jsonb_agg(jsonb_build_object(
    'refundId', r.refund_id, 'orderId', r.order_id, 'status', r.status, 'kind', r.kind, 'network', r.network,
    'asset', r.asset, 'token', r.token, 'amount', r.amount::text, 'feeBearer', r.fee_bearer,
    'fiatAmount', r.fiat_amount::text, 'rateBasis', r.rate_basis, 'rate', r.rate::text, 'destination', r.destination,
    'isConfirmed', r.destination_confirmed_at is not null, 'version', r.version, 'createdAt', r.created_at,
    'updatedAt', r.updated_at, 'txId', r.tx_id, 'networkFee', r.network_fee::text, 'requestedBy', r.requested_by,
    'reason', r.reason, 'approvals', (
      select count(distinct a.approver) from refund_approval a where a.refund_id = r.refund_id
        and (a.version = r.version or r.status in ('approved', 'paying', 'paid'))),
    'approvedBy', ${approvals}, 'payouts', ${payouts}
    ) order by r.created_at desc, r.refund_id desc), '[]')
  from (
    select x.* from refund x where x.order_id = o.order_id
    order by x.created_at desc, x.refund_id desc limit ${MAX.refunds}) r)`

const ledger = sql.fragment`(
  select coalesce(jsonb_agg(jsonb_build_object(
    'network', s.network, 'asset', s.asset, 'token', s.token, 'received', s.received::text,
    'customerDue', s.customer_due::text, 'refundDue', s.refund_due::text, 'refunded', s.refunded::text,
    'fees', s.fees::text, 'writtenOff', s.written_off::text, 'postings', s.postings
    ) order by s.network, s.asset, s.token), '[]')
  from (
    select l.network, l.asset, l.token, sum(l.received) as received, sum(l.customer_due) as customer_due,
      sum(l.refund_due) as refund_due, sum(l.refunded) as refunded, sum(l.fees) as fees,
      sum(l.written_off) as written_off, count(*) as postings
    from ledger_posting l where l.order_id = o.order_id group by 1, 2, 3) s)`

const late = sql.fragment`(
  select jsonb_build_object('replacementId', d.replacement_id, 'refusal', d.refusal, 'rate', d.rate::text,
    'dueNow', d.due_now::text, 'decidedAt', d.decided_at)
  from late_decision d where d.order_id = o.order_id)`

const suspensions = sql.fragment`(
  select coalesce(jsonb_agg(jsonb_build_object('cause', n.cause, 'since', n.since) order by n.since), '[]')
  from suspended_network n where n.network = i.network)`

const auditEntries = sql.fragment`(
  select coalesce(jsonb_agg(jsonb_build_object('seq', e.seq, 'entryId', e.entry_id, 'at', e.at, 'actor', e.actor)
    order by e.seq desc), '[]')
  from (
    select x.seq, x.entry_id, x.at, x.actor from audit_entry x
    where x.kind = 'order' and x.aggregate_id = o.order_id::text order by x.seq desc limit ${MAX.audit}) e)`

/** The dossier of an order; undefined if it is not in scope. */
export async function findPaymentDossier(
  database: Pick<Database, 'sql'>,
  orderId: string,
  scope: OrderScope,
): Promise<PaymentDossier | undefined> {
  const found = await database.sql.maybeOne(sql.type(DOSSIER)`
    select clock_timestamp() as "readAt", ${order} as order, ${quote} as quote, ${money} as money,
      ${transfers} as transfers, (select count(*) from payment p where p.order_id = o.order_id) as "transferCount",
      ${reports} as reports, (select count(*) from payment_report r where r.order_id = o.order_id) as "reportCount",
      (select count(*) from payment_report r where r.order_id = o.order_id and not r.is_assessed) as "waitingCount",
      ${doubts} as doubts, ${refunds} as refunds,
      (select count(*) from refund r where r.order_id = o.order_id) as "refundCount",
      ${ledger} as ledger, ${late} as late,
      (select d.order_id from late_decision d where d.replacement_id = o.order_id) as "replacesOrderId",
      ${suspensions} as suspensions,
      (select s.since from suspended_order s where s.order_id = o.order_id and s.woken_at is null) as "suspendedSince",
      ${ignored} as ignored,
      (select count(distinct (g.tx_id, g.output_index, g.kind)) from ignored_transfer g
        where g.network = i.network and g.address = i.address) as "ignoredCount",
      ${auditEntries} as "auditEntries"
    from orders o join invoice i using (order_id)
    where o.order_id = ${orderId} and ${inOrderScope(scope)}`)
  return found ?? undefined
}
