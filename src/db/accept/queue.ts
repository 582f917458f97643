// Queue of orders to be decided, in order of arrival. While orders wait for a product, later orders of that product park
// behind them, for a bounded time. Orders of other products do not wait for them, and get half of every batch.

import { DomainError, RETRY_HINT_MS } from '../../domain/failure.ts'
import { quantitiesOf } from '../../domain/stock.ts'
import {
  createWaitLists,
  takeTurns,
  type Entry,
  type WaitList,
  type WaitListDeps,
  type Shortfall,
} from './wait_list.ts'

/** Larger batches hold the hot rows longer than the shared commit saves. */
export const MAX_BATCH_ORDERS = 64
const MAX_BATCH_LINES = 512
/** A smaller queue is not shared between batches: a second commit would cost more than it saves. */
const MIN_SHARE_ORDERS = 32
/** Beyond this, callers are refused with «try again». Parked orders have a limit of their own. */
const MAX_QUEUED = 4_096
const MAX_PARKED = 4_096
/** Parked orders of one product, so that one product cannot take all places. */
const MAX_WAIT_LIST = 1_024
/** The longest wait for a product. No transaction lasts longer (role.sql), so one that still holds the rows is stuck. */
const WAIT_WITHIN_MS = 5_000
/** Part of the caller's deadline that is reserved for the answer «try again». */
const ANSWER_WITHIN_MS = 100

type Deps = WaitListDeps & { refuse: (entry: Entry, error: DomainError) => void }
type WaitLists = ReturnType<typeof createWaitLists>

export type Queue = {
  length: () => number
  /** Adds an order. @returns whether it is the first in the queue */
  push: (entry: Pick<Entry, 'order' | 'signal' | 'resolve' | 'reject'>) => boolean
  /**
   * The next batch; empty when no order can be decided.
   * @param most orders in it
   * @param places batches that could be decided in parallel
   */
  take: (most: number, places: number) => Entry[]
  /** Refuses an order whose caller no longer waits, or whose time to wait for a product is over. @returns whether it did */
  drop: (entry: Entry) => boolean
  /** Parks an order whose stock must be released first. @param shortfalls empty: it waits behind others of its batch */
  wait: (entry: Entry, shortfalls: readonly Shortfall[]) => void
  /** Parks an order whose stock rows other sessions have locked. */
  waitForLock: (entry: Entry, productIds: ReadonlySet<string>) => void
  /** Reports that an order was decided, or failed. */
  settled: (entry: Entry, isDecided: boolean) => void
}

export function createQueue(deps: Deps): Queue {
  const waitLists = createWaitLists(deps)
  const queue: Entry[] = []
  let arrived = 0

  const drop = (entry: Entry, now = Date.now()): boolean => {
    const error = lapseOf(entry, now)
    if (error === undefined) return false
    waitLists.leave(entry)
    waitLists.settled(entry, false)
    deps.refuse(entry, error)
    return true
  }
  const parking = createParking(waitLists, { ...deps, drop })

  function take(most: number, places: number): Entry[] {
    const batch = createBatch()
    const isShared = queue.length > 0
    const led = parking.moveInto(
      batch,
      isShared ? Math.floor(most / 2) : most,
      isShared ? MAX_BATCH_LINES / 2 : MAX_BATCH_LINES,
    )
    // In equal shares: one batch of all orders would leave the other place empty until it ends.
    const share = Math.max(MIN_SHARE_ORDERS, Math.ceil(queue.length / places))
    const limit = Math.min(most, batch.entries.length + share)
    let isTurnParked = false
    const now = Date.now()
    for (let next = queue[0]; next !== undefined && batch.hasRoomFor(next, limit, MAX_BATCH_LINES); next = queue[0]) {
      queue.shift()
      if (drop(next, now)) continue
      if (waitLists.count() > 0) {
        const standing = waitLists.standingOf(next, NO_PRODUCTS, led)
        // The orders in a wait list arrived earlier.
        if (standing.stops.length + standing.turns.length > 0) {
          parking.park(next)
          isTurnParked ||= standing.stops.length === 0
          continue
        }
        takeTurns(next, standing, led)
      }
      batch.add(next)
    }
    // Decided now, since nothing else would trigger it: the other orders of its wait list are gone or wait for other
    // products too.
    if (isTurnParked && batch.entries.length === 0) parking.moveInto(batch, most, MAX_BATCH_LINES)
    return batch.entries
  }

  function waitFor(entry: Entry, missing: ReadonlySet<string>, awaited = missing): void {
    entry.missing = missing
    parking.park(entry)
    waitLists.settled(entry, false)
    waitLists.lookAfter(entry, awaited)
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
      waitLists.noteShort(shortfalls)
      waitFor(entry, new Set(shortfalls.map(({ p }) => p)))
    },
    waitForLock: (entry, productIds) => {
      waitLists.noteLocked(productIds)
      waitFor(entry, NO_PRODUCTS, productIds)
    },
    settled: waitLists.settled,
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
  waitLists: [],
  leads: [],
})

type ParkingDeps = Deps & { drop: (entry: Entry, now?: number) => boolean }

/** Parked orders: those that wait for a product, in order of arrival. */
function createParking(waitLists: WaitLists, { drop, refuse, onReady }: ParkingDeps) {
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
      waitLists.join(entry)
      if (drop(entry)) return
      if (isNew && (parked.length >= MAX_PARKED || entry.waitLists.some(({ length }) => length > MAX_WAIT_LIST))) {
        const error = heldUp(entry)
        waitLists.leave(entry)
        refuse(entry, error)
        return
      }
      // Most are appended; an order that was parked before goes back to its position.
      const after =
        (parked.at(-1)?.seq ?? 0) < entry.seq ? parked.length : parked.findIndex(({ seq }) => seq > entry.seq)
      parked.splice(after, 0, entry)
      alarm.setFor(entry.waitsUntil)
    },

    /** Moves orders whose turn it is, or that take nothing from earlier ones. @returns the products whose turn they took */
    moveInto: (batch: Batch, limit: number, maxLines: number): Set<string> => {
      const led = new Set<string>()
      if (parked.length === 0) return led
      const held = new Set<string>()
      const left: Entry[] = []
      const now = Date.now()
      for (const entry of parked) {
        if (drop(entry, now)) continue
        const standing = waitLists.standingOf(entry, held, led)
        if (standing.stops.length === 0 && batch.hasRoomFor(entry, limit, maxLines)) {
          takeTurns(entry, standing, led)
          waitLists.leave(entry)
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
  return new DomainError('DEADLINE_EXCEEDED', 'The deadline passed before the order was decided.')
}

const tooMany = (): DomainError =>
  new DomainError('DATABASE_UNAVAILABLE', 'Too many orders are waiting; try again.', {
    retryAfterMs: RETRY_HINT_MS.contention,
  })

function heldUp({ order, missing, waitLists }: Entry): DomainError {
  const [first]: readonly WaitList[] = waitLists
  if (waitLists.some(({ isLocked }) => isLocked))
    return new DomainError('DATABASE_UNAVAILABLE', 'The stock is locked by another transaction; try again.', {
      retryAfterMs: RETRY_HINT_MS.outage,
    })
  const productId = [...missing][0] ?? first?.productId ?? order.lines[0]?.productId ?? ''
  return new DomainError('STOCK_BEING_RELEASED', 'Stock of expired orders is being released; try again.', {
    metadata: { product_id: productId },
    retryAfterMs: RETRY_HINT_MS.contention,
  })
}
