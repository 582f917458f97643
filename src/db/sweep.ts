// Releases the stock of expired reservations: the sweep of all products, under its lease, and the reclaim for one short
// product. Bisection finds an order that cannot be ended and defers it with a back-off; a locked product is skipped for
// a turn. So neither blocks other orders.

import { setTimeout as delay } from 'node:timers/promises'
import { runDuty } from './duty.ts'
import { isDatabaseDown, sqlStateOf, statement, type Database } from './connection/pool.ts'
import { halvesOf, UNLOCK_MS } from './connection/bisect.ts'
import { isRetryable, LOCK_NOT_AVAILABLE, STATEMENT_TIMEOUT } from './connection/sqlstate.ts'

/**
 * A turn starts no new batch after this time and leaves the rest to the next turn: with its last batch it still ends
 * within its lease.
 */
const TURN_MS = 4_000
/**
 * Another process takes over a dead holder's duty after this. Two concurrent sweeps skip each other's rows with SKIP
 * LOCKED.
 */
const DUTY_LEASE_MS = 10_000
const SWEEP_LIMIT = 200
/** Each locked product costs a sweep one lock wait; after this many, the rest is left to the next sweep. */
const MAX_ROUNDS = 3
/** Attempts of a single order that loses deadlocks before it is deferred: a deadlock says nothing about the order. */
const TRIES_ALONE = 3
/** If this many orders fail one by one, their products are skipped for the turn and the others continue. */
const MAX_SET_ASIDE = 16
const RECLAIM_LIMIT = 64
/** A reclaim stops after this time, so that the orders waiting for it can be decided in between. */
const RECLAIM_FOR_MS = 1_000

type Runner = Pick<Database, 'run'>

export type Aside = { orderId: string; reason: string; error: unknown }

// Longest expired first, so that a small limit reads few rows from a large backlog; a join would find all of them
// before the first is ended. An order with several lines is returned several times; each line counts as work.
const FIND_DUE = statement(
  'sweep_find_due',
  `select order_id as "orderId" from reclaimable_hold h
   where h.expires_at <= statement_timestamp()
     and not exists (select from reservation o where o.order_id = h.order_id and o.product_id = any ($2))
   order by h.expires_at limit $1`,
)

// Stops at the limit. Orders that this reclaim has tried before are skipped: they may be locked for long.
const FIND_RECLAIMABLE = statement(
  'sweep_find_reclaimable',
  `select order_id as "orderId" from reclaimable_hold h
   where h.product_id = $1 and h.expires_at <= statement_timestamp() and h.order_id <> all ($3)
     and not exists (select from reservation o where o.order_id = h.order_id and o.product_id = any ($4))
   limit $2`,
)

const END = statement(
  'sweep_end',
  `select count(*) filter (where outcome = 'ended') as ended from expire_orders($1::uuid[], true)`,
)
/**
 * Expires these orders by the one rule, in one transaction.
 * @returns how many ended; the others are locked, paid or not due
 */
export async function endHolds(database: Runner, orderIds: readonly string[]): Promise<number> {
  const [row] = await database.run<{ ended: bigint }>(END, [orderIds])
  return Number(row?.ended ?? 0n)
}

const SET_ASIDE = statement('sweep_set_aside', 'select set_hold_aside($1, $2)')
export const setHoldAside = async (database: Runner, orderId: string, reason: string): Promise<void> =>
  void (await database.run(SET_ASIDE, [orderId, reason]))

const COUNT_ASIDE = statement(
  'sweep_count_aside',
  `select count(*) as count from hold_aside a
   where (select true from reservation r where r.order_id = a.order_id and r.state = 'held' limit 1)`,
)
/** The number of orders whose expiry failed and which still reserve stock. */
export async function countHoldsAside(database: Runner): Promise<number> {
  const [row] = await database.run<{ count: bigint }>(COUNT_ASIDE)
  return Number(row?.count ?? 0n)
}

type Pieces = {
  ended: number
  asides: Aside[]
  /** Set when a lock was not acquired: the remaining orders are unchanged. */
  lockedOut: Error | undefined
}

/**
 * How many orders a statement can end within its timeout, by session pool. It is kept beyond a turn: a turn has time
 * for two statements that time out, and would otherwise start each time with too many.
 */
const pieceLimits = new WeakMap<Runner, number>()

/**
 * Ends orders in one transaction if possible, else by bisection. After a timeout, later batches are smaller until
 * batches succeed again. An order that fails alone is deferred. What there is no time for is left.
 * @throws failures of the database, not those of an order
 */
async function endInPieces(database: Runner, orderIds: readonly string[], untilMs: number): Promise<Pieces> {
  const result: Pieces = { ended: 0, asides: [], lockedOut: undefined }
  const pieces = [orderIds]
  const limit = (): number => pieceLimits.get(database) ?? Infinity
  let triesAlone = 0
  for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) {
    if (piece.length === 0) continue
    if (performance.now() >= untilMs) return result
    if (piece.length > limit()) {
      pieces.unshift(...halvesOf(piece))
      continue
    }
    try {
      result.ended += await endHolds(database, piece)
      triesAlone = 0
      if (limit() > SWEEP_LIMIT) pieceLimits.delete(database)
      else if (piece.length * 2 > limit()) pieceLimits.set(database, limit() * 2)
    } catch (error) {
      const reason = sqlStateOf(error)
      if (reason === LOCK_NOT_AVAILABLE) return { ...result, lockedOut: error as Error }
      if (reason === undefined || isDatabaseDown(error)) throw error
      await delay(UNLOCK_MS)
      const [orderId = ''] = piece
      if (piece.length > 1) {
        if (reason === STATEMENT_TIMEOUT) pieceLimits.set(database, Math.ceil(piece.length / 2))
        pieces.unshift(...halvesOf(piece))
        continue
      }
      triesAlone += 1
      if (isRetryable(error) && triesAlone < TRIES_ALONE) {
        pieces.unshift(piece)
        continue
      }
      triesAlone = 0
      await setHoldAside(database, orderId, reason)
      result.asides.push({ orderId, reason, error })
      if (result.asides.length >= MAX_SET_ASIDE) return result
    }
  }
  return result
}

// Each acquired lock is released immediately: this only finds the products that other sessions have locked.
const FIND_LOCKED = statement(
  'sweep_find_locked',
  `with wanted as (
     select distinct product_id from reservation where order_id = any ($1) and state = 'held'
   ), free as (
     select s.product_id from stock s join wanted w using (product_id)
     order by s.product_id for no key update of s skip locked
   )
   select product_id as "productId" from wanted except select product_id from free`,
)

const FIND_PRODUCTS = statement(
  'sweep_find_products',
  `select distinct product_id as "productId" from reservation where order_id = any ($1) and state = 'held'`,
)

const productIds = async (database: Runner, find: typeof FIND_LOCKED, orderIds: readonly string[]): Promise<string[]> =>
  (await database.run<{ productId: string }>(find, [orderIds])).map(({ productId }) => productId)
const findLocked = (database: Runner, orderIds: readonly string[]) => productIds(database, FIND_LOCKED, orderIds)
const findProducts = (database: Runner, orderIds: readonly string[]) => productIds(database, FIND_PRODUCTS, orderIds)

/**
 * Expires what is due. A product is skipped after the first lock wait for it, or if many of its orders cannot be ended.
 * @param onAside called for each deferred order
 * @returns how many orders ended
 */
export async function sweepHolds(
  database: Runner,
  limit: number,
  onAside: (aside: Aside) => void = () => undefined,
): Promise<number> {
  let ended = 0
  const until = performance.now() + TURN_MS
  const avoided = new Set<string>()
  for (let round = 1; ; round += 1) {
    const rows = await database.run<{ orderId: string }>(FIND_DUE, [limit, [...avoided]])
    const orderIds = [...new Set(rows.map(({ orderId }) => orderId))]
    const pieces = await endInPieces(database, orderIds, until)
    ended += pieces.ended
    for (const aside of pieces.asides) onAside(aside)
    const isCut = pieces.asides.length >= MAX_SET_ASIDE
    if (pieces.lockedOut === undefined && !isCut) return ended
    if (round === MAX_ROUNDS) {
      if (pieces.lockedOut !== undefined) throw pieces.lockedOut
      return ended
    }
    const asides = pieces.asides.map(({ orderId }) => orderId)
    const left =
      pieces.lockedOut === undefined ? await findProducts(database, asides) : await findLocked(database, orderIds)
    for (const productId of left) avoided.add(productId)
  }
}

const RESUME = statement('sweep_resume', 'select resume_orders($1)')

/**
 * Runs the sweep under its lease, and first has orders assessed that waited for the end of a suspension.
 * @returns how many orders ended; undefined if another process has the lease
 */
export const runHoldSweep = (
  database: Runner,
  holder: string,
  onAside?: (aside: Aside) => void,
): Promise<number | undefined> =>
  runDuty(database, { duty: 'hold_sweep', holder, leaseMs: DUTY_LEASE_MS }, async (turn) => {
    await database.run(RESUME, [SWEEP_LIMIT])
    turn.items = await sweepHolds(database, SWEEP_LIMIT, onAside)
  })

/**
 * Releases expired reservations of one product, for an order that is short of it. Never call it inside an accept: that
 * would reverse the lock order.
 * @returns how many orders ended
 */
export async function reclaimHolds(database: Runner, productId: string): Promise<number> {
  const tried: string[] = []
  const avoided = new Set<string>()
  const until = performance.now() + RECLAIM_FOR_MS
  let ended = 0
  for (;;) {
    const values = [productId, RECLAIM_LIMIT, tried, [...avoided]]
    const orderIds = (await database.run<{ orderId: string }>(FIND_RECLAIMABLE, values)).map(({ orderId }) => orderId)
    const pieces = await endInPieces(database, orderIds, until)
    ended += pieces.ended
    if (pieces.lockedOut === undefined) tried.push(...orderIds)
    // Orders that also reserve a locked product are skipped, as in the sweep.
    else for (const locked of await findLocked(database, orderIds)) avoided.add(locked)
    const isDone = orderIds.length < RECLAIM_LIMIT && pieces.lockedOut === undefined
    if (isDone || performance.now() >= until) return ended
  }
}
