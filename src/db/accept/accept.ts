// Accepts orders: concurrent calls are decided together in one statement and one commit, each order whole and in
// arrival order (design rule 8). The decision itself is accept_orders() in migrations; whose turn it is says the queue.

import { setTimeout as delay } from 'node:timers/promises'
import { systemActor } from '../../domain/audit.ts'
import type { DomainError } from '../../domain/failure.ts'
import type { Entry } from './line.ts'
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
import { isRetryable, LOCK_NOT_AVAILABLE, STATEMENT_TIMEOUT, TRANSACTION_TIMEOUT } from '../connection/sqlstate.ts'
import { payloadOf, verdictOf, type AcceptVerdict, type ProposedOrder, type VerdictRow } from './verdict.ts'

export { minorOf, type AcceptedLine, type AcceptedOrder, type AcceptVerdict, type ProposedOrder } from './verdict.ts'

/** Two: they write side by side and wait for each other's stock only to take it; more would want more sessions. */
const MAX_IN_FLIGHT = 2
/** After a batch had no time within a statement, how much larger each one that has may be. */
const GROWTH_ORDERS = 2
const MAX_TRIES = 6
const BACKOFF_FROM_MS = 10
const BACKOFF_TO_MS = 1_000
const OUT_OF_TIME: ReadonlySet<string | undefined> = new Set([STATEMENT_TIMEOUT, TRANSACTION_TIMEOUT])

export type Acceptor = {
  /** @param signal aborted when the caller no longer waits: an order that is not being decided yet is then none */
  accept: (order: ProposedOrder, signal?: AbortSignal) => Promise<AcceptVerdict>
  queued: () => number
}

// Each order is its own caller's doing, and so is a customer's first row; the stock they share is changed by the batch.
// The context is set before the function runs, since that waits for it.
const ACCEPT = statement(
  'accept_orders',
  `with context as materialized (
     select set_config('holdfast.actor', $2, true) || set_config('holdfast.actors', $3, true) <> '' as is_set)
   select a.* from context cross join lateral accept_orders($1::jsonb, not is_set) a`,
)
const BATCH = actorText(systemActor('accept'))

type Deps = {
  database: Pick<Database, 'run'>
  /** Called with an address that turned out not to be needed; never with one that may be in use. */
  giveBack: (network: string, address: string) => void
}

export function createAcceptor(deps: Deps): Acceptor {
  const batcher = createBatcher(deps)
  /** Calls under way by (user, key): the same attempt sent twice shares one decision. */
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
  /** How many orders a statement can decide in its time. */
  limit: number
  /** Takes what may be decided now. */
  pump: () => void
}

/** Collects what arrives while earlier batches are decided. */
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
        // After this turn of the event loop, so that what arrived together is decided together.
        if (queue.push({ order, signal, resolve, reject })) setImmediate(pump)
      }),
  }
}

/**
 * Decides a batch, in one statement where that goes, else by halves. One order cannot fail the others, a locked product
 * keeps only its own orders waiting, and a batch that has no time within a statement makes the later ones smaller too.
 */
async function settle(batcher: Batcher, batch: readonly Entry[]): Promise<void> {
  const pieces = [batch]
  /** Products that an order of an earlier piece waits for. */
  const awaited = new Set<string>()
  let tries = 0
  for (let next = pieces.shift(); next !== undefined; next = pieces.shift()) {
    // Their time may have passed, or their callers gone, while earlier pieces were decided.
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
        if (verdict === undefined) for (const { p } of row.detail?.shortages ?? []) awaited.add(p)
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

/** Has an order wait that an earlier piece's would be overtaken by. */
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

/** What is left to be tried of a piece that failed. Orders that cannot be decided now are answered, or wait in the queue. */
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
    // The attempt was answered so long ago that the answer is forgotten; its order is not.
    batcher.giveBack(only.order.network, only.order.address)
    batcher.queue.settled(only, true)
    only.resolve({ verdict: 'IDEMPOTENCY_KEY_REUSED' })
    return []
  }
  if (isDatabaseDown(error)) return fail(batcher, piece, error)
  if (state === LOCK_NOT_AVAILABLE) {
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

/** Has the orders of locked products wait in the queue. @returns the others */
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

/** Data that the database does not take, an address among it: another order would fail by it again. */
const DATA_STATES = /^2[23]/
/** An address is lost where it may have been written, and where it may be what is wrong. */
const isAddressFree = (error: unknown): boolean => isUndone(error) && !DATA_STATES.test(sqlStateOf(error) ?? '')

function decide(database: Pick<Database, 'run'>, batch: readonly Entry[]): Promise<VerdictRow[]> {
  const orders = batch.map((entry, ordinal) => payloadOf(entry.order, ordinal))
  const actors = actorsText(
    batch.flatMap(({ order }) => [[order.orderId, order.by] as const, [order.userId.toString(), order.by] as const]),
  )
  return database.run<VerdictRow>(ACCEPT, [JSON.stringify(orders), BATCH, actors])
}

const FIND_ANSWER = statement('accept_find_answer', `select * from order_answers($1::jsonb, '{}', '{}')`)

/** What an attempt was answered before, if it was: also when no new order could be taken just now. */
export async function findVerdict(
  database: Pick<Database, 'run'>,
  attempt: Pick<ProposedOrder, 'userId' | 'key' | 'requestHash'>,
): Promise<AcceptVerdict | undefined> {
  const asked = {
    i: 0,
    user_id: attempt.userId.toString(),
    key: attempt.key,
    hash: attempt.requestHash.toString('hex'),
  }
  const [row] = await database.run<VerdictRow>(FIND_ANSWER, [JSON.stringify([asked])])
  return row && verdictOf(row)
}
