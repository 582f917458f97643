// Reads of refunds for callers. refund_decision.ts changes them.

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import { ASSETS } from '../domain/payment.ts'
import { FEE_BEARERS, RATE_BASES, REFUND_KINDS, REFUND_STATUSES, type RefundStatus } from '../domain/refund.ts'
import type { Database } from './connection/pool.ts'
import type { OrderScope } from './read.ts'

export const REFUND_VIEW = z.object({
  refundId: z.string(),
  orderId: z.string(),
  status: z.enum(REFUND_STATUSES),
  kind: z.enum(REFUND_KINDS),
  network: z.string(),
  asset: z.enum(ASSETS),
  token: z.string().nullable(),
  amount: z.string(),
  feeBearer: z.enum(FEE_BEARERS).nullable(),
  fiatAmount: z.string().nullable(),
  rateBasis: z.enum(RATE_BASES).nullable(),
  rate: z.string().nullable(),
  destination: z.string().nullable(),
  isConfirmed: z.boolean(),
  approvals: z.int(),
  version: z.bigint(),
  createdAt: z.date(),
  updatedAt: z.date(),
  txId: z.string().nullable(),
  networkFee: z.string().nullable(),
  requestedBy: z.string(),
  reason: z.string().nullable(),
})
export type RefundView = z.output<typeof REFUND_VIEW>

const refundColumns = sql.fragment`
  r.refund_id as "refundId", r.order_id as "orderId", r.status, r.kind, r.network, r.asset, r.token,
  r.amount::text as amount, r.fee_bearer as "feeBearer", r.fiat_amount::text as "fiatAmount",
  r.rate_basis as "rateBasis", r.rate::text as rate, r.destination,
  r.destination_confirmed_at is not null as "isConfirmed", r.version, r.created_at as "createdAt",
  r.updated_at as "updatedAt", r.tx_id as "txId", r.network_fee::text as "networkFee",
  r.requested_by as "requestedBy", r.reason,
  (select count(distinct a.approver)::int from refund_approval a where a.refund_id = r.refund_id
    and (a.version = r.version or r.status in ('approved', 'paying', 'paid'))) as approvals`

const MAX_LISTED = 100

/** The newest refunds of an order, and whose it is; undefined if the order is not in scope. */
export async function listRefunds(
  database: Pick<Database, 'sql'>,
  orderId: string,
  scope: OrderScope,
): Promise<{ userId: bigint; refunds: readonly RefundView[] } | undefined> {
  const order = await database.sql.maybeOne(sql.type(z.object({ userId: z.bigint() }))`
    select o.user_id as "userId" from orders o where o.order_id = ${orderId} and ${inOrderScope(scope)}`)
  if (order === null) return undefined
  const refunds = await database.sql.any(sql.type(REFUND_VIEW)`
    select ${refundColumns} from refund r where r.order_id = ${orderId}
    order by r.created_at desc, r.refund_id desc limit ${MAX_LISTED}`)
  return { ...order, refunds }
}

/** Refunds of all orders, the oldest first. */
export const listRefundQueue = (
  database: Pick<Database, 'sql'>,
  status: RefundStatus | undefined,
  { after, limit }: { after: string | undefined; limit: number },
): Promise<readonly RefundView[]> =>
  database.sql.any(sql.type(REFUND_VIEW)`
    select ${refundColumns} from refund r
    where ${status === undefined ? sql.fragment`true` : sql.fragment`r.status = ${status}`}
      and ${
        after === undefined
          ? sql.fragment`true`
          : sql.fragment`(r.created_at, r.refund_id) > (select x.created_at, x.refund_id from refund x where x.refund_id = ${after}::uuid)`
      }
    order by r.created_at, r.refund_id limit ${limit}`)

/** A predicate on the order `o`. */
export const inOrderScope = ({ ownerId, statuses }: OrderScope) =>
  sql.fragment`(o.user_id = ${ownerId} or o.status = any (${sql.array([...statuses], 'text')}))`

/** One refund, in the caller's transaction. */
export const getRefund = (tx: DatabaseTransactionConnection, refundId: string): Promise<RefundView> =>
  tx.one(sql.type(REFUND_VIEW)`select ${refundColumns} from refund r where r.refund_id = ${refundId}`)
