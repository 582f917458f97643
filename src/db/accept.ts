// Accepts orders: concurrent calls are decided together in one statement and one commit, each order whole and in
// arrival order (design rule 8). The decision itself is accept_orders() in migrations.

import { systemActor } from '../domain/audit.ts'
import { DomainError } from '../domain/failure.ts'
import { actorsText, actorText } from './audit.ts'
import {
  databaseFailure,
  isDatabaseUnavailable,
  isUndone,
  retrying,
  sqlStateOf,
  statement,
  violatedConstraintOf,
  type Database,
} from './pool.ts'
import { createReclaimer, isWithin } from './reclaim.ts'
import { payloadOf, verdictOf, type AcceptVerdict, type ProposedOrder, type VerdictRow } from './verdict.ts'

export { minorOf, type AcceptedLine, type AcceptedOrder, type AcceptVerdict, type ProposedOrder } from './verdict.ts'

/** Larger batches hold the hot rows longer than the shared commit saves. */
const MAX_BATCH_ORDERS = 64
const MAX_BATCH_LINES = 512
/** Fewer are decided together: a commit of their own would cost more than it saves, and they keep their order of arrival. */
const MIN_SHARE_ORDERS = 32
/** Two: they write side by side and wait for each other's stock only to take it; more would want more sessions. */
const MAX_IN_FLIGHT = 2
/** Beyond this the caller is better told to come back. */
const MAX_QUEUED = 4_096
const RETRY_HINT_MS = 500
/** Holds to be given back are waited for no longer: no transaction lasts for more (role.sql), so what is left is stuck. */
const RECLAIM_WITHIN_MS = 5_000
/** Kept of the caller's time to say «try again» in. */
const ANSWER_WITHIN_MS = 100

export type Acceptor = { accept: (order: ProposedOrder) => Promise<AcceptVerdict>; queued: () => number }

type Entry = {
  order: ProposedOrder
  resolve: (verdict: AcceptVerdict) => void
  reject: (error: unknown) => void
  /** Set from the first shortage that a reclaim may end, in milliseconds since the epoch: past it, «try again». */
  waitsUntil?: number
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

  async function accept(order: ProposedOrder): Promise<AcceptVerdict> {
    const attempt = `${order.userId}:${order.key}`
    for (let running = attempts.get(attempt); running !== undefined; running = attempts.get(attempt)) {
      const shared = await running.verdict.catch(() => undefined)
      if (shared !== undefined && running.requestHash.equals(order.requestHash)) {
        deps.giveBack(order.network, order.address)
        return shared.verdict === 'accepted' ? { ...shared, verdict: 'replayed' } : shared
      }
    }
    const verdict = batcher.enqueue(order)
    attempts.set(attempt, { requestHash: order.requestHash, verdict })
    return verdict.finally(() => attempts.delete(attempt))
  }

  return { accept, queued: batcher.queued }
}

/** Collects what arrives while earlier batches are decided. */
function createBatcher(deps: Deps) {
  const queue: Entry[] = []
  /** Looked at before, to be decided again ahead of the queue: in the order in which they came. */
  const returned: Entry[] = []
  const reclaimer = createReclaimer(deps.database)
  let reclaiming = 0
  let inFlight = 0

  const refuse = (entry: Entry, error: DomainError): void => {
    deps.giveBack(entry.order.network, entry.order.address)
    entry.reject(error)
  }

  /** Out of the batches meanwhile: orders of other products go on. */
  async function waitForStock(entry: Entry, productIds: ReadonlySet<string>): Promise<void> {
    const now = Date.now()
    entry.waitsUntil ??= Math.min(now + RECLAIM_WITHIN_MS, entry.order.deadline - ANSWER_WITHIN_MS)
    reclaiming += 1
    const isWorthIt = now < entry.waitsUntil && (await isWithin(reclaimer.reclaim(productIds), entry.waitsUntil - now))
    reclaiming -= 1
    if (!isWorthIt) return refuse(entry, stockBeingReleased(productIds))
    // After this turn of the event loop, so that all that waited for the same product are decided together.
    if (returned.push(entry) === 1) setImmediate(pump)
  }

  function pump(): void {
    queue.unshift(...returned.splice(0))
    while (inFlight < MAX_IN_FLIGHT && queue.length > 0) {
      // In equal shares: one batch of all would leave the other place empty until it ends.
      const share = Math.max(MIN_SHARE_ORDERS, Math.ceil(queue.length / (MAX_IN_FLIGHT - inFlight)))
      const batch = takeBatch(queue, Math.min(MAX_BATCH_ORDERS, share), (entry) => refuse(entry, tooLate(entry)))
      if (batch.length === 0) continue
      inFlight += 1
      void settle({ ...deps, waitForStock }, batch).finally(() => {
        inFlight -= 1
        pump()
      })
    }
  }

  const queued = (): number => queue.length + returned.length + reclaiming
  return {
    queued,
    enqueue: (order: ProposedOrder): Promise<AcceptVerdict> =>
      new Promise((resolve, reject) => {
        const entry = { order, resolve, reject }
        if (queued() >= MAX_QUEUED) {
          refuse(
            entry,
            new DomainError('DATABASE_UNAVAILABLE', 'Too many orders are waiting; try again.', {
              retryAfterMs: RETRY_HINT_MS,
            }),
          )
          return
        }
        queue.push(entry)
        // After this turn of the event loop, so that what arrived together is decided together.
        if (queue.length === 1) setImmediate(pump)
      }),
  }
}

const tooLate = ({ order, waitsUntil }: Entry): DomainError =>
  waitsUntil === undefined
    ? new DomainError('DEADLINE_EXCEEDED', 'The deadline passed before the order was looked at.')
    : stockBeingReleased(order.lines.map(({ productId }) => productId))

function stockBeingReleased([productId = '']: Iterable<string>): DomainError {
  return new DomainError('STOCK_BEING_RELEASED', 'Stock is being given back; try again.', {
    metadata: { product_id: productId },
    retryAfterMs: RETRY_HINT_MS,
  })
}

type Settling = Deps & { waitForStock: (entry: Entry, productIds: ReadonlySet<string>) => Promise<void> }

/** Decides a batch; an SQL error is narrowed down by halves so that one order cannot fail the others. */
async function settle(deps: Settling, batch: readonly Entry[]): Promise<void> {
  const giveBack = ({ order }: Entry): void => deps.giveBack(order.network, order.address)
  try {
    for (const row of await decide(deps.database, batch)) {
      const entry = batch[row.ordinal]
      if (entry === undefined) continue
      const verdict = verdictOf(row)
      if (verdict === undefined) {
        void deps.waitForStock(entry, missingOf(row, entry))
        continue
      }
      const isUsed = 'order' in verdict && verdict.order.address === entry.order.address
      if (!isUsed) giveBack(entry)
      entry.resolve(verdict)
    }
  } catch (error) {
    const [only] = batch
    if (batch.length === 1 && only !== undefined && violatedConstraintOf(error) === 'orders_pk') {
      // The attempt was answered so long ago that the answer is forgotten; its order is not.
      giveBack(only)
      only.resolve({ verdict: 'IDEMPOTENCY_KEY_REUSED' })
      return
    }
    if (batch.length === 1 || isDatabaseUnavailable(error)) {
      for (const entry of batch) {
        if (isAddressFree(error)) giveBack(entry)
        entry.reject(databaseFailure(error))
      }
      return
    }
    const middle = Math.ceil(batch.length / 2)
    await settle(deps, batch.slice(0, middle))
    await settle(deps, batch.slice(middle))
  }
}

/** Data that the database does not take, an address among it: another order would fail by it again. */
const DATA_STATES = /^2[23]/
/** An address is lost where it may have been written, and where it may be what is wrong. */
const isAddressFree = (error: unknown): boolean => isUndone(error) && !DATA_STATES.test(sqlStateOf(error) ?? '')

/** What an order waits for: the products it is short of, or those that one before it in the batch waits for. */
function missingOf({ detail }: VerdictRow, { order }: Entry): ReadonlySet<string> {
  const short = detail?.shortages?.map(({ p }) => p) ?? []
  return new Set(short.length > 0 ? short : order.lines.map(({ productId }) => productId))
}

function decide(database: Pick<Database, 'run'>, batch: readonly Entry[]): Promise<VerdictRow[]> {
  const deadline = Math.max(...batch.map((entry) => entry.order.deadline))
  const orders = batch.map((entry, ordinal) => payloadOf(entry.order, ordinal))
  const actors = actorsText(
    batch.flatMap(({ order }) => [[order.orderId, order.by] as const, [order.userId.toString(), order.by] as const]),
  )
  return retrying(() => database.run<VerdictRow>(ACCEPT, [JSON.stringify(orders), BATCH, actors]), deadline)
}

function takeBatch(queue: Entry[], limit: number, drop: (entry: Entry) => void): Entry[] {
  const batch: Entry[] = []
  let lines = 0
  const now = Date.now()
  while (batch.length < limit) {
    const next = queue[0]
    if (next === undefined || (batch.length > 0 && lines + next.order.lines.length > MAX_BATCH_LINES)) break
    queue.shift()
    if (next.order.deadline <= now) {
      drop(next)
      continue
    }
    lines += next.order.lines.length
    batch.push(next)
  }
  return batch
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
