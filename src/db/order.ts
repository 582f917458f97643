// The steps of an order's life. Each is one transaction that takes the order's row lock first, checks the run's
// fence, changes status, holds and stock together, and answers with the order's whole state. Status moves nowhere else.

import type { Actor } from '../domain/audit.ts'
import {
  actorOfCommand,
  KEY_REUSED,
  refusalOf,
  type CommandInput,
  type CommandResult,
  type Fence,
  type Refusal,
} from '../domain/command.ts'
import { DomainError } from '../domain/failure.ts'
import {
  type CancelReason,
  type Command,
  type OrderHold,
  type OrderState,
  type OrderStatus,
  type ReservationState,
} from '../domain/order.ts'
import type { PaymentState } from '../domain/payment.ts'
import { actorText } from './audit.ts'
import { statement, type Database, type Tx } from './pool.ts'

export type LockedOrder = {
  status: OrderStatus
  payment_state: PaymentState
  hold: OrderHold
  version: bigint
  generation: number
  step: number
  /** It holds stock, or once did. */
  has_held: boolean
}

// Race: two runs, or a run and a slow attempt of its own step. The row lock makes the fence exact. Who acts goes with
// it; without a name it is the worker itself.
const LOCK = statement(
  'order_lock',
  `select status, payment_state, hold, version, generation, step,
     exists (select from reservation r where r.order_id = orders.order_id) as has_held,
     case when $2::text is not null then set_config('holdfast.actor', $2, true) end as acting
   from orders where order_id = $1 for update`,
)

const STATE_QUERY = `
  select o.status, o.payment_state, o.hold, o.cancel_reason, o.version,
    coalesce((select r.state from reservation r where r.order_id = o.order_id order by r.hold_no desc limit 1), 'none') as reservation,
    greatest(0, ceil(extract(epoch from i.expires_at + i.grace - clock_timestamp()) * 1000))::int as expires_in_ms,
    exists (select from payment_report p where p.order_id = o.order_id and not p.is_assessed) as has_unassessed
  from orders o join invoice i on i.order_id = o.order_id where o.order_id = $1`

const STATE = statement('order_state', STATE_QUERY)

// Records the step and reads the state it leaves; the fence's columns are no part of the state.
const FINISH_STEP = statement(
  'order_finish_step',
  `with finished as (update orders set generation = $2, step = $3 where order_id = $1) ${STATE_QUERY}`,
)

type StateRow = {
  status: OrderStatus
  payment_state: PaymentState
  hold: OrderHold
  cancel_reason: CancelReason | null
  version: bigint
  reservation: ReservationState | 'none'
  expires_in_ms: number
  has_unassessed: boolean
}

/** @throws {DomainError} NOT_FOUND */
export async function lockOrder(tx: Tx, orderId: string, by?: Actor): Promise<LockedOrder> {
  const [order] = await tx.run<LockedOrder>(LOCK, [orderId, by === undefined ? null : actorText(by)])
  if (order === undefined) throw new DomainError('NOT_FOUND', 'No such order.')
  return order
}

/** @throws {DomainError} NOT_FOUND */
export const getOrderState = async (tx: Pick<Tx, 'run'>, orderId: string): Promise<OrderState> =>
  stateOf(await tx.run<StateRow>(STATE, [orderId]))

function stateOf([row]: StateRow[]): OrderState {
  if (row === undefined) throw new DomainError('NOT_FOUND', 'No such order.')
  return {
    status: row.status,
    paymentState: row.payment_state,
    hold: row.hold,
    cancelReason: row.cancel_reason,
    reservation: row.reservation,
    version: Number(row.version),
    expiresInMs: row.expires_in_ms,
    hasUnassessed: row.has_unassessed,
  }
}

/**
 * One step of a run: locks the order, refuses a run that a later one has replaced, and does nothing when this step is
 * already done.
 * @throws {DomainError} STALE_RUN, NOT_FOUND
 */
export async function inStep<Result>(
  database: Pick<Database, 'transaction'>,
  fence: Fence,
  work: (tx: Tx, order: LockedOrder) => Promise<Result | undefined>,
  by?: Actor,
): Promise<{ state: OrderState; result: Result | undefined }> {
  const { orderId, generation, step } = fence
  return database.transaction(async (tx) => {
    const order = await lockOrder(tx, orderId, by)
    if (order.generation > generation) throw new DomainError('STALE_RUN', 'A later run owns this order.')
    if (order.generation === generation && order.step >= step)
      return { state: await getOrderState(tx, orderId), result: undefined }
    const result = await work(tx, order)
    return { state: stateOf(await tx.run<StateRow>(FINISH_STEP, [orderId, generation, step])), result }
  })
}

// Only for an order that never held any: every product, or nothing. The guard sees the newest rows, since they are
// locked in product order by the statement before.
const LOCK_STOCK_OF_LINES = statement(
  'order_lock_stock_of_lines',
  `select from stock where product_id in (select product_id from order_line where order_id = $1)
   order by product_id for no key update`,
)
const TAKE_STOCK = statement(
  'order_take_stock',
  `with wanted as (
     select l.product_id, sum(l.quantity)::bigint as quantity from order_line l where l.order_id = $1 group by 1
   ), fits as (
     select bool_and(s.on_hand - s.reserved >= w.quantity) as yes from wanted w join stock s using (product_id)
   ), held as (
     insert into reservation (order_id, product_id, quantity, expires_at)
     select $1, w.product_id, w.quantity, i.expires_at + i.grace
     from wanted w, invoice i, fits where i.order_id = $1 and fits.yes returning product_id, hold_no, quantity
   ), moved as (
     insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
     select product_id, $1, hold_no, 'reserve', 0, quantity, 'system' from held
   )
   update stock s set reserved = s.reserved + h.quantity, version = s.version + 1
   from held h where s.product_id = h.product_id`,
)

/**
 * Takes the generation for a run and says how the order stands. It confirms the hold taken with the order; it takes
 * stock for an order that never held any, and never again for one that did.
 */
export async function reserveStock(database: Pick<Database, 'transaction'>, fence: Fence): Promise<OrderState> {
  const { state } = await inStep(database, fence, async (tx, order) => {
    if (order.status !== 'pending' || order.has_held) return
    await tx.run(LOCK_STOCK_OF_LINES, [fence.orderId])
    await tx.run(TAKE_STOCK, [fence.orderId])
  })
  return state
}

const EXPIRE = statement('order_expire', 'select outcome, wait_ms::int from expire_orders(array[$1::uuid], false)')

/** Asks for expiry by the one rule (expire_orders in migrations). The state says what came of it. */
export async function expireOrder(database: Pick<Database, 'transaction'>, fence: Fence): Promise<OrderState> {
  const { state } = await inStep(database, fence, async (tx) => void (await tx.run(EXPIRE, [fence.orderId])))
  return state
}

const END = statement('order_end', `select end_orders(array[$1::uuid], $2, 'released', $3)`)

/** Undo of reserveStock: an order that still holds stock ends as out of stock; one that holds none is left alone. */
export async function releaseStock(database: Pick<Database, 'transaction'>, fence: Fence): Promise<OrderState> {
  const { state } = await inStep(database, fence, async (tx, order) => {
    if (order.status === 'pending' || order.status === 'processing')
      await tx.run(END, [fence.orderId, 'out_of_stock', 'system'])
  })
  return state
}

// Shipping takes the units off the shelf. Order row locked before, stock rows by product, then all in one statement.
const LOCK_STOCK_OF_HOLDS = statement(
  'order_lock_stock_of_holds',
  `select from stock where product_id in (select product_id from reservation where order_id = $1 and state = 'committed')
   order by product_id for no key update`,
)
const CONSUME = statement(
  'order_consume',
  `with consumed as (
     update reservation set state = 'consumed' where order_id = $1 and state = 'committed'
     returning product_id, hold_no, quantity
   ), moved as (
     insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
     select product_id, $1, hold_no, 'consume', -quantity, -quantity, $2 from consumed
   )
   update stock s set on_hand = s.on_hand - c.quantity, reserved = s.reserved - c.quantity, version = s.version + 1
   from (select product_id, sum(quantity) as quantity from consumed group by 1) c where s.product_id = c.product_id`,
)
const MOVE = statement('order_move', 'update orders set status = $2 where order_id = $1')
// Reports not yet assessed are aftercare's from here (design rule 15).
const REARM_WAKE = statement(
  'order_rearm_wake',
  `select want_wake(array[$1::uuid]) where exists (select from payment_report where order_id = $1 and not is_assessed)`,
)
const CLOSE = statement(
  'order_close',
  `with retired as (
     insert into key_retire (order_id, network, address)
     select order_id, network, address from invoice where order_id = $1 on conflict do nothing
   )
   ${REARM_WAKE.text}`,
)

type Effect = (tx: Tx, orderId: string, input: CommandInput) => Promise<void>

const EFFECTS: Readonly<Record<Command, Effect>> = {
  cancel: async (tx, orderId, input) => {
    await tx.run(END, [orderId, input.role === 'admin' ? 'admin' : 'customer', input.actor])
    await tx.run(REARM_WAKE, [orderId])
  },
  ship: async (tx, orderId, input) => {
    await tx.run(MOVE, [orderId, 'shipped'])
    await tx.run(LOCK_STOCK_OF_HOLDS, [orderId])
    await tx.run(CONSUME, [orderId, input.actor])
  },
  deliver: async (tx, orderId) => {
    await tx.run(MOVE, [orderId, 'delivered'])
    await tx.run(CLOSE, [orderId])
  },
}

const FIND_ANSWER = statement(
  'order_find_answer',
  `select request_hash, response from idempotency where actor = $1 and method = $2 and key = $3`,
)
// With the order as the command left it. A key that is taken here was taken by another request meanwhile.
const SAVE_ANSWER = statement(
  'order_save_answer',
  `insert into idempotency (actor, method, key, request_hash, order_id, response)
   select $1, $2, $3, $4, order_id, jsonb_build_object('status', status, 'version', version) from orders where order_id = $5
   on conflict do nothing returning key`,
)

/** What an earlier call with this key was told to have done: true, or undefined when there was none. */
async function wasDone(tx: Tx, { actor, method, key, requestHash }: CommandInput): Promise<boolean> {
  const [answer] = await tx.run<{ request_hash: Buffer }>(FIND_ANSWER, [actor, method, key])
  if (answer !== undefined && !answer.request_hash.equals(Buffer.from(requestHash, 'hex'))) throw keyReused()
  return answer !== undefined
}

async function saveAnswer(tx: Tx, orderId: string, { actor, method, key, requestHash }: CommandInput): Promise<void> {
  const saved = await tx.run(SAVE_ANSWER, [actor, method, key, Buffer.from(requestHash, 'hex'), orderId])
  if (saved.length === 0) throw keyReused()
}

const keyReused = (): DomainError => new DomainError(KEY_REUSED.reason, KEY_REUSED.message)

/**
 * Runs what a person asked, once per key. Only what succeeded is bound to the key: a refusal tells how things stood.
 * A command that took effect moved the status, so only one that the status refuses can have been done before.
 * @throws {DomainError} STALE_RUN, NOT_FOUND, IDEMPOTENCY_KEY_REUSED
 */
export async function runCommand(
  database: Pick<Database, 'transaction'>,
  fence: Fence,
  command: Command,
  input: CommandInput,
): Promise<CommandResult> {
  const carryOut = async (tx: Tx, order: LockedOrder): Promise<Refusal | undefined> => {
    const standing = { ...order, paymentState: order.payment_state, version: Number(order.version) }
    const refusal = refusalOf(command, input, standing)
    if (refusal !== undefined) return (await wasDone(tx, input)) ? undefined : refusal
    await EFFECTS[command](tx, fence.orderId, input)
    await saveAnswer(tx, fence.orderId, input)
    return undefined
  }
  const { state, result } = await inStep(database, fence, carryOut, actorOfCommand(input))
  return result === undefined ? { ok: true, state } : { ok: false, ...result, state }
}

const CHANGE_ADDRESS = statement(
  'order_change_address',
  'update orders set address_sealed = $2 where order_id = $1 returning version',
)

/**
 * Replaces the sealed delivery address of an order that has not shipped, once per key. The workflow has no part in
 * it: what it never sees cannot reach a history.
 * @throws {DomainError} NOT_FOUND, ORDER_STATUS, VERSION_MISMATCH, IDEMPOTENCY_KEY_REUSED
 */
export async function changeAddress(
  database: Pick<Database, 'transaction'>,
  orderId: string,
  addressSealed: Buffer,
  input: CommandInput,
  by: Actor = actorOfCommand(input),
): Promise<OrderState> {
  return database.transaction(async (tx) => {
    const order = await lockOrder(tx, orderId, by)
    if (await wasDone(tx, input)) return getOrderState(tx, orderId)
    if (input.expectedVersion !== undefined && BigInt(input.expectedVersion) !== order.version) {
      throw new DomainError('VERSION_MISMATCH', 'The order has changed since it was read.')
    }
    if (order.status !== 'pending' && order.status !== 'processing') {
      throw new DomainError('ORDER_STATUS', `The address of an order that is ${order.status} cannot change.`, {
        metadata: { status: order.status },
      })
    }
    await tx.run(CHANGE_ADDRESS, [orderId, addressSealed])
    await saveAnswer(tx, orderId, input)
    return getOrderState(tx, orderId)
  })
}
