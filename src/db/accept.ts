// Accepts orders: concurrent calls are decided together in one statement and one commit, each order whole and in
// arrival order (design rule 8). The decision itself is accept_orders() in migrations.

import { systemActor, type Actor } from '../domain/audit.ts'
import { DomainError } from '../domain/failure.ts'
import { formatFiat, parseFiat } from '../domain/money.ts'
import { ASSET_POLICY, type Asset } from '../domain/payment.ts'
import type { Line, Shortage } from '../domain/stock.ts'
import { actorsText, actorText } from './audit.ts'
import {
  databaseFailure,
  isDatabaseUnavailable,
  retrying,
  statement,
  violatedConstraintOf,
  type Database,
} from './pool.ts'

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
/** Expired holds asked back per shortage; each is one order. */
const RECLAIM_LIMIT = 64

export type ProposedOrder = {
  orderId: string
  userId: bigint
  /** The caller's idempotency key, a UUID. */
  key: string
  /** SHA-256 of the canonical request. */
  requestHash: Buffer
  /** The customer, with the call and the token. */
  by: Actor
  currency: string
  lines: readonly Line[]
  addressSealed: Buffer
  asset: Asset
  network: string
  /** Where the buyer pays: unused until this order is accepted. */
  address: string
  /** Minor units per coin. */
  rateMinor: bigint
  windowMs: number
  graceMs: number
  confirmWithinMs: number
  /** Milliseconds since the epoch; past it nobody waits for the answer. */
  deadline: number
}

export type AcceptedLine = { productId: string; name: string; quantity: number; unitPriceMinor: bigint }

/** Immutable facts only, so that every replay renders to the same bytes. */
export type AcceptedOrder = {
  orderId: string
  currency: string
  totalMinor: bigint
  lines: readonly AcceptedLine[]
  network: string
  asset: Asset
  address: string
  amountDue: bigint
  rateMinor: bigint
  expiresAt: Date
  createdAt: Date
}

export type AcceptVerdict =
  | { verdict: 'accepted' | 'replayed'; order: AcceptedOrder }
  | { verdict: 'OUT_OF_STOCK'; shortages: readonly Shortage[] }
  | { verdict: 'PRICE_CHANGED'; prices: readonly { productId: string; unitPriceMinor: bigint }[] }
  | { verdict: 'PRODUCT_UNKNOWN'; productIds: readonly string[] }
  | { verdict: 'AMOUNT_OUT_OF_RANGE' }
  | { verdict: 'IDEMPOTENCY_KEY_REUSED' }

export type Acceptor = { accept: (order: ProposedOrder) => Promise<AcceptVerdict>; queued: () => number }

type Entry = { order: ProposedOrder; resolve: (verdict: AcceptVerdict) => void; reject: (error: unknown) => void }

type VerdictRow = {
  ordinal: number
  verdict: AcceptVerdict['verdict'] | 'reclaim'
  detail: {
    shortages?: { p: string; wanted: number; available: number }[]
    prices?: { p: string; price: string }[]
    products?: string[]
  } | null
  order_id: string
  currency: string
  total: string
  lines: { p: string; name: string; q: number; price: string }[]
  network: string
  asset: Asset
  address: string
  amount_due: string
  rate: string
  expires_at: Date
  created_at: Date
}

// Each order is its own caller's doing, and so is a customer's first row; the stock they share is changed by the batch.
// The context is set before the function runs, since that waits for it.
const ACCEPT = statement(
  'accept_orders',
  `with context as materialized (
     select set_config('holdfast.actor', $3, true) || set_config('holdfast.actors', $4, true) <> '' as is_set)
   select a.* from context cross join lateral accept_orders($1::jsonb, $2 and is_set) a`,
)
const BATCH = actorText(systemActor('accept'))

// Reclaim runs in its own transaction, never inside an accept, which would turn the lock order around. It stops at the
// limit: joined instead, all that waits of a product would be found first.
const RECLAIM = statement(
  'reclaim_expired',
  `select count(*) from expire_orders(array(
     select order_id from reservation r
     where r.product_id = any ($1) and r.state = 'held' and r.expires_at <= statement_timestamp()
       and (select true from expirable e where e.order_id = r.order_id) limit ${RECLAIM_LIMIT}), true)`,
)

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
  let inFlight = 0

  const refuse = (entry: Entry, error: DomainError): void => {
    deps.giveBack(entry.order.network, entry.order.address)
    entry.reject(error)
  }

  function pump(): void {
    while (inFlight < MAX_IN_FLIGHT && queue.length > 0) {
      // In equal shares: one batch of all would leave the other place empty until it ends.
      const share = Math.max(MIN_SHARE_ORDERS, Math.ceil(queue.length / (MAX_IN_FLIGHT - inFlight)))
      const batch = takeBatch(queue, Math.min(MAX_BATCH_ORDERS, share), (entry) =>
        refuse(entry, new DomainError('DEADLINE_EXCEEDED', 'The deadline passed before the order was looked at.')),
      )
      if (batch.length === 0) continue
      inFlight += 1
      void settle(deps, batch).finally(() => {
        inFlight -= 1
        pump()
      })
    }
  }

  return {
    queued: () => queue.length,
    enqueue: (order: ProposedOrder): Promise<AcceptVerdict> =>
      new Promise((resolve, reject) => {
        const entry = { order, resolve, reject }
        if (queue.length >= MAX_QUEUED) {
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

/** Decides a batch; an SQL error is narrowed down by halves so that one order cannot fail the others. */
async function settle(deps: Deps, batch: readonly Entry[]): Promise<void> {
  try {
    for (const row of await decide(deps.database, batch)) {
      const entry = batch[row.ordinal]
      if (entry === undefined) continue
      const verdict = verdictOf(row)
      const isUsed = 'order' in verdict && verdict.order.address === entry.order.address
      if (!isUsed) deps.giveBack(entry.order.network, entry.order.address)
      entry.resolve(verdict)
    }
  } catch (error) {
    const [only] = batch
    if (batch.length === 1 && only !== undefined && violatedConstraintOf(error) === 'orders_pk') {
      // The attempt was answered so long ago that the answer is forgotten; its order is not.
      deps.giveBack(only.order.network, only.order.address)
      only.resolve({ verdict: 'IDEMPOTENCY_KEY_REUSED' })
      return
    }
    if (batch.length === 1 || isDatabaseUnavailable(error)) {
      for (const entry of batch) entry.reject(databaseFailure(error))
      return
    }
    const middle = Math.ceil(batch.length / 2)
    await settle(deps, batch.slice(0, middle))
    await settle(deps, batch.slice(middle))
  }
}

async function decide(database: Pick<Database, 'run'>, batch: readonly Entry[]): Promise<VerdictRow[]> {
  const deadline = Math.max(...batch.map((entry) => entry.order.deadline))
  const orders = batch.map((entry, ordinal) => payloadOf(entry.order, ordinal))
  const actors = actorsText(
    batch.flatMap(({ order }) => [[order.orderId, order.by] as const, [order.userId.toString(), order.by] as const]),
  )
  const ask = (asked: typeof orders, isLastTry: boolean): Promise<VerdictRow[]> =>
    retrying(() => database.run<VerdictRow>(ACCEPT, [JSON.stringify(asked), isLastTry, BATCH, actors]), deadline)
  const rows = await ask(orders, false)
  const short = rows.filter((row) => row.verdict === 'reclaim')
  if (short.length === 0) return rows
  const products = new Set(short.flatMap((row) => row.detail?.shortages?.map((shortage) => shortage.p) ?? []))
  await database.run(RECLAIM, [[...products]])
  const again = new Set(short.map((row) => row.ordinal))
  const retried = await ask(
    orders.filter((order) => again.has(order.i)),
    true,
  )
  return [...rows.filter((row) => !again.has(row.ordinal)), ...retried]
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
  return row === undefined || row.verdict === 'reclaim' ? undefined : verdictOf(row)
}

/** The shape accept_orders() reads. */
const payloadOf = (order: ProposedOrder, ordinal: number) => ({
  i: ordinal,
  order_id: order.orderId,
  user_id: order.userId.toString(),
  key: order.key,
  hash: order.requestHash.toString('hex'),
  currency: order.currency,
  asset: order.asset,
  network: order.network,
  address: order.address,
  rate: formatFiat(order.rateMinor),
  decimals: ASSET_POLICY[order.asset].decimals,
  sealed: order.addressSealed.toString('base64'),
  window_ms: order.windowMs,
  grace_ms: order.graceMs,
  confirm_ms: order.confirmWithinMs,
  lines: order.lines.map((line, at) => ({
    n: at + 1,
    p: line.productId,
    q: line.quantity,
    price: formatFiat(line.unitPriceMinor),
  })),
})

function verdictOf(row: VerdictRow): AcceptVerdict {
  switch (row.verdict) {
    case 'accepted':
    case 'replayed':
      return { verdict: row.verdict, order: orderOf(row) }
    case 'OUT_OF_STOCK':
    case 'reclaim':
      return {
        verdict: 'OUT_OF_STOCK',
        shortages: (row.detail?.shortages ?? []).map(({ p, wanted, available }) => ({
          productId: p,
          wanted: BigInt(wanted),
          available: BigInt(available),
        })),
      }
    case 'PRICE_CHANGED':
      return {
        verdict: 'PRICE_CHANGED',
        prices: (row.detail?.prices ?? []).map(({ p, price }) => ({ productId: p, unitPriceMinor: minorOf(price) })),
      }
    case 'PRODUCT_UNKNOWN':
      return { verdict: 'PRODUCT_UNKNOWN', productIds: row.detail?.products ?? [] }
    case 'AMOUNT_OUT_OF_RANGE':
    case 'IDEMPOTENCY_KEY_REUSED':
      return { verdict: row.verdict }
  }
}

const orderOf = (row: VerdictRow): AcceptedOrder => ({
  orderId: row.order_id,
  currency: row.currency,
  totalMinor: minorOf(row.total),
  lines: row.lines.map(({ p, name, q, price }) => ({
    productId: p,
    name,
    quantity: q,
    unitPriceMinor: minorOf(price),
  })),
  network: row.network,
  asset: row.asset,
  address: row.address,
  amountDue: BigInt(row.amount_due),
  rateMinor: minorOf(row.rate),
  expiresAt: row.expires_at,
  createdAt: row.created_at,
})

/** Fiat as the database writes it. Throws on anything else: a column's scale has changed. */
export function minorOf(text: string): bigint {
  const minor = parseFiat(text)
  if (minor === undefined) throw new DomainError('INTERNAL', 'The database holds an amount that is not money.')
  return minor
}
