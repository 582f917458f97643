// Accepts orders in batches: concurrent calls are decided in one statement and one commit, each order as a whole and in
// order of arrival (design rule 8). accept_orders() in migrations/function decides; queue.ts picks the batch.

import { setTimeout as delay } from 'node:timers/promises'
import { systemActor } from '../../domain/audit.ts'
import type { DomainError } from '../../domain/failure.ts'
import type { Entry } from './wait_list.ts'
import { createQueue, MAX_BATCH_ORDERS, type Queue } from './queue.ts'
import { actorsText, actorText } from '../audit/actor.ts'
import {
  databaseFailure,
  isDatabaseDown,
  isUndone,
  sqlStateOf,
  statement,
  violatedConstraintOf,
  type Database,
} from '../connection/pool.ts'
import { halvesOf, UNLOCK_MS } from '../connection/bisect.ts'
import { createReclaimer, findLockedStock } from './reclaim.ts'
import {
  isKeyHeld,
  isRetryable,
  LOCK_NOT_AVAILABLE,
  STATEMENT_TIMEOUT,
  TRANSACTION_TIMEOUT,
} from '../connection/sqlstate.ts'
import { payloadOf, verdictOf, type AcceptVerdict, type ProposedOrder, type VerdictRow } from './verdict.ts'

export { minorOf, type AcceptedLine, type AcceptedOrder, type AcceptVerdict, type ProposedOrder } from './verdict.ts'

/** Batches in flight. Two write in parallel and wait for each other only at the stock lock; more need more sessions. */
const MAX_IN_FLIGHT = 2
/** After a batch timed out, the limit grows by this for each batch that did not. */
const GROWTH_ORDERS = 2
const MAX_TRIES = 6
const BACKOFF_FROM_MS = 10
const BACKOFF_TO_MS = 1_000
const OUT_OF_TIME: ReadonlySet<string | undefined> = new Set([STATEMENT_TIMEOUT, TRANSACTION_TIMEOUT])

export type Acceptor = {
  /** @param signal aborted when the caller no longer waits: an order that is not being decided yet is then dropped */
  accept: (order: ProposedOrder, signal?: AbortSignal) => Promise<AcceptVerdict>
  queued: () => number
}

// Audit: the actor of an order, and of a customer's first row, is its own caller; the actor of the stock they share is
// the batch. The function waits for the context, so that the actors are set before it runs.
const ACCEPT = statement(
  'accept_orders',
  `with context as materialized (
     select set_config('holdfast.actor', $2, true) || set_config('holdfast.actors', $3, true) <> '' as is_set)
   select a.* from context cross join lateral accept_orders($1::jsonb, not is_set) a`,
)
const BATCH = actorText(systemActor('accept'))

type Deps = {
  database: Pick<Database, 'run'>
  /** Called with an address that was not used; never with one that may be in use. */
  giveBack: (network: string, address: string) => void
}

export function createAcceptor(deps: Deps): Acceptor {
  const batcher = createBatcher(deps)
  /** Single-flight: running calls by (user, key), so that the same attempt sent twice shares one decision. */
  const attempts = new Map<string, { requestHash: Buffer; verdict: Promise<AcceptVerdict> }>()

  async function accept(order: ProposedOrder, signal?: AbortSignal): Promise<AcceptVerdict> {
    const attempt = `${order.userId}:${order.key}`
    for (let running = attempts.get(attempt); running !== undefined; running = attempts.get(attempt)) {
      const shared = await running.verdict.catch(() => undefined)
      if (shared !== undefined && running.requestHash.equals(order.requestHash)) {
        deps.giveBack(order.network, order.address)
        return shared.verdict === 'accepted' ? { ...shared, verdict: 'replayed' } : shared
      }
    }
    const verdict = batcher.enqueue(order, signal)
    attempts.set(attempt, { requestHash: order.requestHash, verdict })
    return verdict.finally(() => attempts.delete(attempt))
  }

  return { accept, queued: batcher.queued }
}

type Batcher = Deps & {
  queue: Queue
  /** How many orders one statement can decide before it times out. */
  limit: number
  /** Starts batches while there are orders to decide and free places. */
  pump: () => void
}

/** Runs the batches, and collects the orders that arrive meanwhile. */
function createBatcher(deps: Deps) {
  const refuse = (entry: Entry, error: DomainError): void => {
    if (!entry.mayBeWritten) deps.giveBack(entry.order.network, entry.order.address)
    entry.reject(error)
  }
  const queue = createQueue({ ...createReclaimer(deps.database), refuse, onReady: pump })
  const batcher: Batcher = { ...deps, queue, limit: MAX_BATCH_ORDERS, pump }
  let inFlight = 0

  function pump(): void {
    while (inFlight < MAX_IN_FLIGHT) {
      const batch = queue.take(batcher.limit, MAX_IN_FLIGHT - inFlight)
      if (batch.length === 0) return
      inFlight += 1
      void settle(batcher, batch).finally(() => {
        inFlight -= 1
        pump()
      })
    }
  }

  return {
    queued: queue.length,
    enqueue: (order: ProposedOrder, signal: AbortSignal | undefined): Promise<AcceptVerdict> =>
      new Promise((resolve, reject) => {
        // At the end of this turn of the event loop, so that orders that arrive together are decided together.
        if (queue.push({ order, signal, resolve, reject })) setImmediate(pump)
      }),
  }
}

/**
 * Decides a batch in one statement or, where that fails, by bisection. One bad order does not fail the others, a locked
 * product delays only its own orders, and a batch that times out makes later batches smaller.
 */
async function settle(batcher: Batcher, batch: readonly Entry[]): Promise<void> {
  const pieces = [batch]
  /** Products that orders of an earlier piece wait for. */
  const awaited = new Set<string>()
  let tries = 0
  for (let next = pieces.shift(); next !== undefined; next = pieces.shift()) {
    // While earlier pieces were decided, deadlines may have passed and callers may have cancelled.
    const piece = next.filter((entry) => !batcher.queue.drop(entry) && !isBehind(batcher, entry, awaited))
    if (piece.length > batcher.limit) {
      pieces.unshift(...halvesOf(piece))
      continue
    }
    if (piece.length === 0) continue
    try {
      const rows = (await decide(batcher.database, piece)).map((row) => ({ row, verdict: verdictOf(row) }))
      for (const { row, verdict } of rows.toSorted((a, b) => a.row.ordinal - b.row.ordinal)) {
        const entry = piece[row.ordinal]
        if (entry !== undefined) answer(batcher, entry, verdict, row)
        if (verdict === undefined) for (const { product } of row.detail?.shortages ?? []) awaited.add(product)
      }
      if (pieces.length > 0) batcher.pump()
      if (piece.length * 2 > batcher.limit) batcher.limit = Math.min(MAX_BATCH_ORDERS, batcher.limit + GROWTH_ORDERS)
      tries = 0
    } catch (error) {
      tries += 1
      const left = await narrow(batcher, piece, error, tries)
      if (left[0]?.length !== piece.length) tries = 0
      pieces.unshift(...left)
    }
  }
}

/** Parks an order that would overtake an order of an earlier piece. @returns whether it did */
function isBehind({ queue }: Batcher, entry: Entry, awaited: ReadonlySet<string>): boolean {
  const isAwaited = awaited.size > 0 && [...entry.wants.keys()].some((productId) => awaited.has(productId))
  if (isAwaited) queue.wait(entry, [])
  return isAwaited
}

function answer({ queue, giveBack }: Batcher, entry: Entry, verdict: AcceptVerdict | undefined, row: VerdictRow): void {
  if (verdict === undefined) {
    queue.wait(entry, row.detail?.shortages ?? [])
    return
  }
  const isUsed = 'order' in verdict && verdict.order.address === entry.order.address
  if (!isUsed) giveBack(entry.order.network, entry.order.address)
  queue.settled(entry, true)
  entry.resolve(verdict)
}

/** @returns what is left to try of a failed piece. Orders that cannot be decided now are answered or parked here. */
async function narrow(
  batcher: Batcher,
  piece: readonly Entry[],
  error: unknown,
  tries: number,
): Promise<readonly (readonly Entry[])[]> {
  const [only] = piece
  const state = sqlStateOf(error)
  if (!isUndone(error)) for (const entry of piece) entry.mayBeWritten = true
  if (piece.length === 1 && only !== undefined && violatedConstraintOf(error) === 'orders_pk') {
    // The attempt was answered so long ago that its answer has been deleted; its order still exists.
    batcher.giveBack(only.order.network, only.order.address)
    batcher.queue.settled(only, true)
    only.resolve({ verdict: 'IDEMPOTENCY_KEY_REUSED' })
    return []
  }
  if (isDatabaseDown(error)) return fail(batcher, piece, error)
  // An order whose key is held is found by bisection, and told at once.
  if (state === LOCK_NOT_AVAILABLE && !isKeyHeld(error)) {
    const others = await waitForLocks(batcher, piece)
    if (others.length < piece.length) return [others]
  } else if (OUT_OF_TIME.has(state)) batcher.limit = Math.max(1, Math.min(batcher.limit, Math.ceil(piece.length / 2)))

  const isSplit = piece.length > 1 && (!isRetryable(error) || state === LOCK_NOT_AVAILABLE || tries >= MAX_TRIES)
  if (isSplit) return halvesOf(piece)
  const waitMs = Math.random() * Math.min(BACKOFF_TO_MS, BACKOFF_FROM_MS * 2 ** tries)
  const isTimeLeft = piece.some(({ order }) => Date.now() + waitMs <= order.deadline)
  if (!isRetryable(error) || tries >= MAX_TRIES || !isTimeLeft) return fail(batcher, piece, error)
  await delay(waitMs)
  return [piece]
}

/** Parks the orders of locked products. @returns the others */
async function waitForLocks({ database, queue }: Batcher, piece: readonly Entry[]): Promise<readonly Entry[]> {
  await delay(UNLOCK_MS)
  const productIds = new Set(piece.flatMap(({ order }) => order.lines.map(({ productId }) => productId)))
  const locked = await findLockedStock(database, [...productIds]).catch(() => new Set<string>())
  return piece.filter((entry) => {
    const own = new Set(
      entry.order.lines.map(({ productId }) => productId).filter((productId) => locked.has(productId)),
    )
    if (own.size > 0) queue.waitForLock(entry, own)
    return own.size === 0
  })
}

function fail({ queue, giveBack }: Batcher, piece: readonly Entry[], error: unknown): [] {
  for (const entry of piece) {
    if (isAddressFree(error) && !entry.mayBeWritten) giveBack(entry.order.network, entry.order.address)
    queue.settled(entry, false)
    entry.reject(databaseFailure(error))
  }
  return []
}

/** SQLSTATE classes for invalid data: the address may be the cause, and would fail another order too. */
const DATA_STATES = /^2[23]/
/** Whether the address can be used again: it was not written, and it did not cause the failure. */
const isAddressFree = (error: unknown): boolean => isUndone(error) && !DATA_STATES.test(sqlStateOf(error) ?? '')

function decide(database: Pick<Database, 'run'>, batch: readonly Entry[]): Promise<VerdictRow[]> {
  const orders = batch.map((entry, ordinal) => payloadOf(entry.order, ordinal))
  const actors = actorsText(
    batch.flatMap(({ order }) => [[order.orderId, order.by] as const, [order.userId.toString(), order.by] as const]),
  )
  return database.run<VerdictRow>(ACCEPT, [JSON.stringify(orders), BATCH, actors])
}

const FIND_ANSWER = statement('accept_find_answer', `select * from order_answers($1::jsonb, '{}', '{}')`)

/** The stored answer of an attempt, if there is one: works also while no new order can be accepted. */
export async function findVerdict(
  database: Pick<Database, 'run'>,
  attempt: Pick<ProposedOrder, 'userId' | 'key' | 'requestHash'>,
): Promise<AcceptVerdict | undefined> {
  const asked = {
    ordinal: 0,
    user_id: attempt.userId.toString(),
    key: attempt.key,
    hash: attempt.requestHash.toString('hex'),
  }
  const [row] = await database.run<VerdictRow>(FIND_ANSWER, [JSON.stringify([asked])])
  return row && verdictOf(row)
}
