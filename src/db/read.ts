// Reads of orders for callers. Every statement contains the predicate of the caller's scope: an order outside the scope
// is not found, exactly like one that does not exist.

import { sql } from 'slonik'
import { z } from 'zod'
import type { CancelReason, OrderHold, OrderStatus } from '../domain/order.ts'
import type { Asset, PaymentFlag, PaymentState } from '../domain/payment.ts'
import { minorOf, type AcceptedLine } from './accept/accept.ts'
import type { Attempt, StoredAnswer } from './idempotency.ts'
import { statement, type Database } from './connection/pool.ts'

/** The orders a caller may access: those of the owner, and those in one of the statuses. */
export type OrderScope = { ownerId: bigint | null; statuses: readonly OrderStatus[] }

/** The part of an order that can change and that its watchers receive. */
export type OrderSnapshot = {
  orderId: string
  status: OrderStatus
  paymentState: PaymentState
  hold: OrderHold
  cancelReason: CancelReason | null
  version: bigint
  updatedAt: Date
}

export type OrderView = OrderSnapshot & {
  userId: bigint
  currency: string
  totalMinor: bigint
  createdAt: Date
  paymentFlags: readonly PaymentFlag[]
  lines: readonly AcceptedLine[]
  network: string
  asset: Asset
  address: string
  amountDue: bigint
  /** Final transfers to the order's address. */
  received: bigint
  rateMinor: bigint
  expiresAt: Date
  addressSealed: Buffer
  /** The order under whose id the address is sealed: a replacement begins with the address of the order it replaces. */
  addressOrderId: string
  /** The expired order whose late payment pays this one. */
  replacesOrderId: string | null
  /** The order that the late payment of this one pays. */
  replacedByOrderId: string | null
}

type SnapshotRow = {
  order_id: string
  status: OrderStatus
  payment_state: PaymentState
  hold: OrderHold
  cancel_reason: CancelReason | null
  version: bigint
  updated_at: Date
}
type LineJson = { product: string; name: string; quantity: number; price: string }
type ViewRow = SnapshotRow & {
  user_id: bigint
  currency: string
  total: string
  created_at: Date
  payment_flags: PaymentFlag[]
  lines: LineJson[]
  network: string
  asset: Asset
  address: string
  amount_due: string
  received: string
  rate: string
  expires_at: Date
  address_sealed: Buffer
  address_order_id: string
  replaces_order_id: string | null
  replaced_by_order_id: string | null
}

const FIND_ORDER = statement(
  'read_order',
  `select o.order_id, o.status, o.payment_state, o.hold, o.cancel_reason, o.version, o.updated_at, o.user_id, o.currency,
     o.total, o.created_at, o.payment_flags, o.address_sealed, i.network, i.asset, i.address, i.amount_due, i.rate, i.expires_at,
     (select jsonb_agg(jsonb_build_object(
        'product', l.product_id, 'name', l.name, 'quantity', l.quantity, 'price', l.unit_price::text) order by l.line_no)
      from order_line l where l.order_id = o.order_id) as lines,
     (select coalesce(sum(p.amount), 0) from payment p where p.order_id = o.order_id and p.state = 'final')
       + (select least(i.amount_due, coalesce(sum(p.amount), 0)) from payment p where p.order_id = s.order_id and p.state = 'final')
       as received,
     case when s.address_sealed = o.address_sealed then s.order_id else o.order_id end as address_order_id,
     s.order_id as replaces_order_id,
     (select n.replacement_id from late_decision n where n.order_id = o.order_id) as replaced_by_order_id
   from orders o join invoice i on i.order_id = o.order_id
   left join late_decision d on d.replacement_id = o.order_id left join orders s on s.order_id = d.order_id
   where o.order_id = $1 and (o.user_id = $2 or o.status = any ($3))`,
)

/** One order with all its fields, if it is in scope. */
export async function findOrder(
  database: Pick<Database, 'run'>,
  orderId: string,
  scope: OrderScope,
): Promise<OrderView | undefined> {
  const [row] = await database.run<ViewRow>(FIND_ORDER, [orderId, scope.ownerId, scope.statuses])
  if (row === undefined) return undefined
  return {
    ...snapshotOf(row),
    userId: row.user_id,
    currency: row.currency,
    totalMinor: minorOf(row.total),
    createdAt: row.created_at,
    paymentFlags: row.payment_flags,
    lines: row.lines.map(lineOf),
    network: row.network,
    asset: row.asset,
    address: row.address,
    amountDue: BigInt(row.amount_due),
    received: BigInt(row.received),
    rateMinor: minorOf(row.rate),
    expiresAt: row.expires_at,
    addressSealed: row.address_sealed,
    addressOrderId: row.address_order_id,
    replacesOrderId: row.replaces_order_id,
    replacedByOrderId: row.replaced_by_order_id,
  }
}

const FIND_SNAPSHOT = statement(
  'read_standing',
  `select order_id, status, payment_state, hold, cancel_reason, version, updated_at, user_id
   from orders where order_id = $1 and (user_id = $2 or status = any ($3))`,
)

/** The snapshot of an order and its owner, if it is in scope. */
export async function findSnapshot(
  database: Pick<Database, 'run'>,
  orderId: string,
  scope: OrderScope,
): Promise<(OrderSnapshot & { userId: bigint }) | undefined> {
  const values = [orderId, scope.ownerId, scope.statuses]
  const [row] = await database.run<SnapshotRow & { user_id: bigint }>(FIND_SNAPSHOT, values)
  return row === undefined ? undefined : { ...snapshotOf(row), userId: row.user_id }
}

const FIND_CHANGED = statement(
  'read_moved',
  `select o.order_id, o.status, o.payment_state, o.hold, o.cancel_reason, o.version, o.updated_at
   from unnest($1::uuid[], $2::bigint[]) as known (order_id, version) join orders o using (order_id)
   where o.version > known.version`,
)

/** Of the given orders, those that are newer than the given version. One query serves all watched orders. */
export async function findChangedOrders(
  database: Pick<Database, 'run'>,
  known: readonly { orderId: string; version: bigint }[],
): Promise<OrderSnapshot[]> {
  const ids = known.map(({ orderId }) => orderId)
  const versions = known.map(({ version }) => version.toString())
  return (await database.run<SnapshotRow>(FIND_CHANGED, [ids, versions])).map(snapshotOf)
}

const snapshotOf = (row: SnapshotRow): OrderSnapshot => ({
  orderId: row.order_id,
  status: row.status,
  paymentState: row.payment_state,
  hold: row.hold,
  cancelReason: row.cancel_reason,
  version: row.version,
  updatedAt: row.updated_at,
})

const lineOf = ({ product, name, quantity, price }: LineJson): AcceptedLine => ({
  productId: product,
  name,
  quantity,
  unitPriceMinor: minorOf(price),
})

export type OrderFilter = {
  status: OrderStatus | undefined
  userId: bigint | undefined
  createdFrom: Date | undefined
  createdBefore: Date | undefined
}
/** `after` is the last id of the previous page. */
export type PageOf = { limit: number; offset: number; after: string | undefined }

const word = <Word extends string>() => z.string().transform((text) => text as Word)
const MINOR = z.string().transform(minorOf)
const SUMMARY = z.object({
  orderId: z.string(),
  status: word<OrderStatus>(),
  paymentState: word<PaymentState>(),
  hold: word<OrderHold>(),
  cancelReason: word<CancelReason>().nullable(),
  version: z.bigint(),
  updatedAt: z.date(),
  userId: z.bigint(),
  totalMinor: MINOR,
  currency: z.string(),
  createdAt: z.date(),
})
export type OrderSummary = z.output<typeof SUMMARY>

/** Whose orders a list may contain: one customer's (null: nothing), or those of all owners. */
export type OwnerScope = { ownerId: bigint | null } | 'all owners'

/**
 * Lists orders in scope, newest first. A page starts after an order that must itself be in scope, else it is empty.
 * Conditions that are always true are left out, so that the planner can match the index of the remaining ones.
 */
export async function listOrders(
  database: Pick<Database, 'sql'>,
  scope: OwnerScope,
  filter: OrderFilter,
  page: PageOf,
): Promise<readonly OrderSummary[]> {
  const isInScope = scope === 'all owners' ? sql.fragment`true` : sql.fragment`user_id = ${scope.ownerId}`
  const conditions = [
    isInScope,
    filter.status !== undefined && sql.fragment`status = ${filter.status}`,
    filter.userId !== undefined && sql.fragment`user_id = ${filter.userId}`,
    filter.createdFrom !== undefined && sql.fragment`created_at >= ${sql.timestamp(filter.createdFrom)}`,
    filter.createdBefore !== undefined && sql.fragment`created_at < ${sql.timestamp(filter.createdBefore)}`,
    page.after !== undefined &&
      sql.fragment`(created_at, order_id) < (select created_at, order_id from orders where order_id = ${page.after} and ${isInScope})`,
  ].filter((condition) => condition !== false)
  return database.sql.any(sql.type(SUMMARY)`
    select order_id as "orderId", status, payment_state as "paymentState", hold, cancel_reason as "cancelReason", version,
      updated_at as "updatedAt", user_id as "userId", total as "totalMinor", currency, created_at as "createdAt"
    from orders where ${sql.join(conditions, sql.fragment` and `)}
    order by created_at desc, order_id desc limit ${page.limit} offset ${page.offset}`)
}

const TO_SHIP = z.object({
  orderId: z.string(),
  version: z.bigint(),
  createdAt: z.date(),
  lines: z.array(
    z.object({ product: z.string(), name: z.string(), quantity: z.number(), price: z.string() }).transform(lineOf),
  ),
})
export type OrderToShip = z.output<typeof TO_SHIP>

/** Paid orders that are not on hold, oldest first. */
export async function listOrdersToShip(database: Pick<Database, 'sql'>, page: PageOf): Promise<readonly OrderToShip[]> {
  const after =
    page.after === undefined
      ? sql.fragment``
      : sql.fragment`and (o.created_at, o.order_id) > (select created_at, order_id from orders where order_id = ${page.after})`
  return database.sql.any(sql.type(TO_SHIP)`
    select o.order_id as "orderId", o.version, o.created_at as "createdAt",
      (select jsonb_agg(jsonb_build_object(
        'product', l.product_id, 'name', l.name, 'quantity', l.quantity, 'price', l.unit_price::text) order by l.line_no)
       from order_line l where l.order_id = o.order_id) as lines
    from orders o
    where o.status = 'processing' and o.hold = 'none' and o.payment_state = 'paid' ${after}
    order by o.created_at, o.order_id limit ${page.limit} offset ${page.offset}`)
}

/**
 * The number of accepted orders whose workflow is not started yet, counted up to `limit`. Dead letters are not counted:
 * they wait for an operator.
 */
export async function countStarts(database: Pick<Database, 'sql'>, limit: number): Promise<number> {
  return database.sql.oneFirst(sql.type(z.object({ starts: z.number() }))`
    select count(*)::int as starts from (select from workflow_start where dead_reason is null limit ${limit}) waiting`)
}

// Everything that a command needs before its workflow is called, in one query.
const FIND_COMMAND_TARGET = statement(
  'read_asked',
  `select o.order_id, o.status, o.payment_state, o.hold, o.cancel_reason, o.version, o.updated_at, o.user_id,
     k.request_hash = $7 as is_same, k.response, s.generation, i.asset, i.expires_at + i.grace as expires_at
   from orders o join invoice i using (order_id) left join workflow_start s using (order_id)
   left join idempotency k on k.actor = $4 and k.method = $5 and k.key = $6
   where o.order_id = $1 and (o.user_id = $2 or o.status = any ($3) or k.order_id = o.order_id)`,
)

/** The data to start an order's workflow; present until it has been started. */
export type StartToDo = { orderId: string; generation: number; asset: Asset; expiresAt: Date }

export type CommandTarget = {
  order: OrderSnapshot & { userId: bigint }
  /** The stored answer of this attempt. */
  stored: StoredAnswer | undefined
  start: StartToDo | undefined
}
type CommandTargetRow = SnapshotRow & {
  user_id: bigint
  is_same: boolean | null
  response: unknown
  generation: number | null
  asset: Asset
  expires_at: Date
}

/** The order that a command is for, if it is in scope, or was when this caller's attempt took effect. */
export async function findCommandTarget(
  database: Pick<Database, 'run'>,
  orderId: string,
  scope: OrderScope,
  { actor, method, key, requestHash }: Omit<Attempt, 'by'>,
): Promise<CommandTarget | undefined> {
  const values = [orderId, scope.ownerId, scope.statuses, actor, method, key, requestHash]
  const [row] = await database.run<CommandTargetRow>(FIND_COMMAND_TARGET, values)
  if (row === undefined) return undefined
  const { user_id: userId, is_same: isSame, response, generation, asset, expires_at: expiresAt } = row
  return {
    order: { ...snapshotOf(row), userId },
    stored: isSame === null ? undefined : { isSame, response },
    start: generation === null ? undefined : { orderId, generation, asset, expiresAt },
  }
}
