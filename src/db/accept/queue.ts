// The queue of orders to be decided, in their order of arrival. While some wait for a product, later orders of it line up
// behind them, for a bounded time; orders of other products do not wait for those, and have half of every batch.

import { DomainError, RETRY_HINT_MS } from '../../domain/failure.ts'
import { quantitiesOf } from '../../domain/stock.ts'
import { createLines, takeTurns, type Entry, type Line, type LineDeps, type Shortfall } from './line.ts'

/** Larger batches hold the hot rows longer than the shared commit saves. */
export const MAX_BATCH_ORDERS = 64
const MAX_BATCH_LINES = 512
/** Fewer are decided together: a commit of their own would cost more than it saves, and they keep their order of arrival. */
const MIN_SHARE_ORDERS = 32
/** Beyond this the caller is better told to come back. Those who wait for a product have places of their own. */
const MAX_QUEUED = 4_096
const MAX_PARKED = 4_096
/** Of these for one product, so that no product takes all places. */
const MAX_LINE = 1_024
/** A product is waited for no longer: no transaction lasts for more (role.sql), so what has its rows still is stuck. */
const WAIT_WITHIN_MS = 5_000
/** Kept of the caller's time to say «try again» in. */
const ANSWER_WITHIN_MS = 100

type Deps = LineDeps & { refuse: (entry: Entry, error: DomainError) => void }
type Lines = ReturnType<typeof createLines>

export type Queue = {
  length: () => number
  /** @returns whether it is the first in the queue */
  push: (entry: Pick<Entry, 'order' | 'signal' | 'resolve' | 'reject'>) => boolean
  /** The next batch, of so many orders at most, where so many could be decided side by side. Empty when it is no order's turn. */
  take: (most: number, places: number) => Entry[]
  /** Refuses an order whose caller no longer waits for it, or which has waited for a product long enough. */
  drop: (entry: Entry) => boolean
  /** An order was not decided, for lack of stock that is due to come back; of none: behind others of its batch. */
  wait: (entry: Entry, shortfalls: readonly Shortfall[]) => void
  /** An order was not decided, since other sessions have the stock of these products locked. */
  waitForLock: (entry: Entry, productIds: ReadonlySet<string>) => void
  /** An order was decided, or failed. */
  settled: (entry: Entry, isDecided: boolean) => void
}

export function createQueue(deps: Deps): Queue {
  const lines = createLines(deps)
  const queue: Entry[] = []
  let arrived = 0

  const drop = (entry: Entry, now = Date.now()): boolean => {
    const error = lapseOf(entry, now)
    if (error === undefined) return false
    lines.leave(entry)
    lines.settled(entry, false)
    deps.refuse(entry, error)
    return true
  }
  const parking = createParking(lines, { ...deps, drop })

  function take(most: number, places: number): Entry[] {
    const batch = createBatch()
    const isShared = queue.length > 0
    const led = parking.moveInto(
      batch,
      isShared ? Math.floor(most / 2) : most,
      isShared ? MAX_BATCH_LINES / 2 : MAX_BATCH_LINES,
    )
    // In equal shares: one batch of all would leave the other place empty until it ends.
    const share = Math.max(MIN_SHARE_ORDERS, Math.ceil(queue.length / places))
    const limit = Math.min(most, batch.entries.length + share)
    let isTurnParked = false
    const now = Date.now()
    for (let next = queue[0]; next !== undefined && batch.hasRoomFor(next, limit, MAX_BATCH_LINES); next = queue[0]) {
      queue.shift()
      if (drop(next, now)) continue
      if (lines.count() > 0) {
        const standing = lines.standingOf(next, NO_PRODUCTS, led)
        // A line is of orders that came before.
        if (standing.stops.length + standing.turns.length > 0) {
          parking.park(next)
          isTurnParked ||= standing.stops.length === 0
          continue
        }
        takeTurns(next, standing, led)
      }
      batch.add(next)
    }
    // Nothing else would come back to it: all in its line are gone, or wait for other products too.
    if (isTurnParked && batch.entries.length === 0) parking.moveInto(batch, most, MAX_BATCH_LINES)
    return batch.entries
  }

  function waitFor(entry: Entry, missing: ReadonlySet<string>, awaited = missing): void {
    entry.missing = missing
    parking.park(entry)
    lines.settled(entry, false)
    lines.lookAfter(entry, awaited)
  }

  return {
    length: () => queue.length + parking.length(),
    push: (entry) => {
      const queued = enter(entry, (arrived += 1))
      if (queue.length < MAX_QUEUED) return queue.push(queued) === 1
      deps.refuse(queued, tooMany())
      return false
    },
    take,
    drop: (entry) => drop(entry),
    wait: (entry, shortfalls) => {
      lines.noteShort(shortfalls)
      waitFor(entry, new Set(shortfalls.map(({ p }) => p)))
    },
    waitForLock: (entry, productIds) => {
      lines.noteLocked(productIds)
      waitFor(entry, NO_PRODUCTS, productIds)
    },
    settled: lines.settled,
  }
}

const NO_PRODUCTS: ReadonlySet<string> = new Set()

const enter = (entry: Pick<Entry, 'order' | 'signal' | 'resolve' | 'reject'>, seq: number): Entry => ({
  ...entry,
  seq,
  wants: quantitiesOf(entry.order.lines),
  waitsUntil: undefined,
  missing: NO_PRODUCTS,
  mayBeWritten: false,
  lines: [],
  leads: [],
})

type ParkingDeps = Deps & { drop: (entry: Entry, now?: number) => boolean }

/** Those that wait for a product, in their order of arrival. */
function createParking(lines: Lines, { drop, refuse, onReady }: ParkingDeps) {
  let parked: Entry[] = []
  const alarm = createAlarm(() => {
    const now = Date.now()
    parked = parked.filter((entry) => !drop(entry, now))
    if (parked.length > 0) alarm.setFor(Math.min(...parked.map(({ waitsUntil = now }) => waitsUntil)))
    onReady()
  })

  return {
    length: (): number => parked.length,

    park: (entry: Entry): void => {
      const isNew = entry.waitsUntil === undefined
      entry.waitsUntil ??= Math.min(Date.now() + WAIT_WITHIN_MS, entry.order.deadline - ANSWER_WITHIN_MS)
      lines.join(entry)
      if (drop(entry)) return
      if (isNew && (parked.length >= MAX_PARKED || entry.lines.some(({ length }) => length > MAX_LINE))) {
        const error = heldUp(entry)
        lines.leave(entry)
        refuse(entry, error)
        return
      }
      // Most come last, and those that come back were among the first.
      const after =
        (parked.at(-1)?.seq ?? 0) < entry.seq ? parked.length : parked.findIndex(({ seq }) => seq > entry.seq)
      parked.splice(after, 0, entry)
      alarm.setFor(entry.waitsUntil)
    },

    /** Moves those whose turn it is, or who take nothing from those before them. @returns the products whose turn it is */
    moveInto: (batch: Batch, limit: number, maxLines: number): Set<string> => {
      const led = new Set<string>()
      if (parked.length === 0) return led
      const held = new Set<string>()
      const left: Entry[] = []
      const now = Date.now()
      for (const entry of parked) {
        if (drop(entry, now)) continue
        const standing = lines.standingOf(entry, held, led)
        if (standing.stops.length === 0 && batch.hasRoomFor(entry, limit, maxLines)) {
          takeTurns(entry, standing, led)
          lines.leave(entry)
          batch.add(entry)
          continue
        }
        for (const { productId } of standing.stops.length > 0 ? standing.stops : standing.turns) held.add(productId)
        for (const productId of entry.missing) held.add(productId)
        left.push(entry)
      }
      parked = left
      if (parked.length === 0) alarm.stop()
      return led
    },
  }
}

type Batch = ReturnType<typeof createBatch>

function createBatch() {
  const entries: Entry[] = []
  let lines = 0
  return {
    entries,
    hasRoomFor: ({ order }: Entry, limit: number, maxLines: number): boolean =>
      entries.length < limit && (entries.length === 0 || lines + order.lines.length <= maxLines),
    add: (entry: Entry): void => {
      lines += entry.order.lines.length
      entries.push(entry)
    },
  }
}

/** One timer for the earliest of many instants. */
function createAlarm(ring: () => void) {
  let timer: NodeJS.Timeout | undefined
  let at = Infinity
  const stop = (): void => {
    clearTimeout(timer)
    at = Infinity
  }
  return {
    stop,
    setFor: (instant: number): void => {
      if (instant >= at) return
      stop()
      at = instant
      const act = (): void => {
        at = Infinity
        ring()
      }
      timer = setTimeout(act, Math.max(0, instant - Date.now()))
    },
  }
}

function lapseOf(entry: Entry, now: number): DomainError | undefined {
  if (entry.signal?.aborted === true)
    return new DomainError('DEADLINE_EXCEEDED', 'The call ended before the order was decided.')
  if (entry.waitsUntil !== undefined && entry.waitsUntil <= now) return heldUp(entry)
  if (entry.order.deadline > now) return undefined
  return new DomainError('DEADLINE_EXCEEDED', 'The deadline passed before the order was looked at.')
}

const tooMany = (): DomainError =>
  new DomainError('DATABASE_UNAVAILABLE', 'Too many orders are waiting; try again.', {
    retryAfterMs: RETRY_HINT_MS.contention,
  })

function heldUp({ order, missing, lines }: Entry): DomainError {
  const [first]: readonly Line[] = lines
  if (lines.some(({ isLocked }) => isLocked))
    return new DomainError('DATABASE_UNAVAILABLE', 'The stock is locked by another transaction; try again.', {
      retryAfterMs: RETRY_HINT_MS.outage,
    })
  const productId = [...missing][0] ?? first?.productId ?? order.lines[0]?.productId ?? ''
  return new DomainError('STOCK_BEING_RELEASED', 'Stock is being given back; try again.', {
    metadata: { product_id: productId },
    retryAfterMs: RETRY_HINT_MS.contention,
  })
}
