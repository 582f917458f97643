// Admission control (load shedding). When the process falls behind, it refuses new calls before any work is done for
// them, and finishes those it has begun. Calls wait in two places: in progress, for others to answer, and unread in their
// sockets, for the event loop. So there is a limit of calls in progress, which adapts to the delay of the event loop, and
// one of the time that a turn of it may spend before it refuses what else it reads.

/** Enough for a database that answers within moments; beyond it, calls only wait for sessions. */
const MAX_CALLS = 1_024
/**
 * Work of some ten milliseconds: no more than this in progress, or read in one turn of the event loop, is refused. Fewer
 * calls that are slow, as those of a process that has just started, are no overload.
 */
const MIN_CALLS = 64
/** Essential calls are refused only at this multiple of MAX_CALLS: then memory is at stake. */
const ESSENTIAL_FACTOR = 2
const TICK_MS = 20
/** The limit changes once in so many ticks, by the shortest delay among them: one pause is no overload. */
const TICKS_PER_CHANGE = 5
/** A delay that persists for all ticks and is longer than this is a queue. */
const TARGET_DELAY_MS = 50
/** A queue is shortened towards the target, by at least and at most this. */
const DECREASE = 0.8
const FASTEST_DECREASE = 0.5
const INCREASE = 1.1
/** A turn this long is followed by one in which calls are refused after as much time. One long turn is no overload. */
const TURN_MS = 50

export type Admission = {
  /** Should a call be refused before anything is done for it? */
  isFull: (isEssential: boolean) => boolean
  /** @returns whether the call may begin. Then `leave` must follow */
  enter: (isEssential: boolean) => boolean
  leave: () => void
  /** Counts a call that was admitted and had left, whatever the limit. Then `leave` must follow again. */
  rejoin: () => void
  /** Feeds one measured delay of the event loop, in milliseconds. */
  measure: (delayMs: number) => void
  limit: () => number
  inFlight: () => number
}

export type AdmissionOptions = {
  /** Monotonic milliseconds. */
  now?: () => number
  /** Calls back once the event loop has handled what it found to read. */
  afterTurn?: (end: () => void) => void
}

export function createAdmission({
  now = () => performance.now(),
  afterTurn = setImmediate,
}: AdmissionOptions = {}): Admission {
  const isTurnSpent = createTurn(now, afterTurn)
  let limit = MAX_CALLS
  let inFlight = 0
  /** The most calls in progress since the last change. */
  let peak = 0
  let shortestMs = Number.POSITIVE_INFINITY
  let ticks = 0

  function change(): void {
    // Above the calls that there were, the limit has no effect: it is lowered from where it bites.
    if (shortestMs > TARGET_DELAY_MS) {
      const share = Math.max(FASTEST_DECREASE, Math.min(DECREASE, TARGET_DELAY_MS / shortestMs))
      limit = Math.max(MIN_CALLS, Math.floor(Math.min(limit, peak) * share))
    } else limit = Math.min(MAX_CALLS, Math.ceil(limit * INCREASE))
    shortestMs = Number.POSITIVE_INFINITY
    ticks = 0
    peak = inFlight
  }

  const hasRoom = (isEssential: boolean): boolean => inFlight < (isEssential ? MAX_CALLS * ESSENTIAL_FACTOR : limit)

  return {
    isFull: (isEssential) => {
      const isSpent = isTurnSpent()
      return !hasRoom(isEssential) || (isSpent && !isEssential)
    },
    enter: (isEssential) => {
      if (!hasRoom(isEssential)) return false
      inFlight += 1
      peak = Math.max(peak, inFlight)
      return true
    },
    leave: () => void (inFlight -= 1),
    rejoin: () => {
      inFlight += 1
      peak = Math.max(peak, inFlight)
    },
    measure: (delayMs) => {
      shortestMs = Math.min(shortestMs, delayMs)
      ticks += 1
      if (ticks >= TICKS_PER_CHANGE) change()
    },
    limit: () => limit,
    inFlight: () => inFlight,
  }
}

/** Returns whether this turn of the event loop has taken its time, after one that had taken too much. */
function createTurn(now: () => number, afterTurn: (end: () => void) => void): () => boolean {
  let beganAt: number | undefined
  let endedAt = Number.NEGATIVE_INFINITY
  let wasLong = false
  let calls = 0

  function begin(at: number): number {
    calls = 0
    if (at - endedAt > TURN_MS) wasLong = false
    afterTurn(() => {
      endedAt = now()
      wasLong = endedAt - at > TURN_MS
      beganAt = undefined
    })
    return at
  }

  return () => {
    const at = now()
    beganAt ??= begin(at)
    calls += 1
    return wasLong && calls > MIN_CALLS && at - beganAt > TURN_MS
  }
}

/** Measures the delay of the event loop until the returned function is called. */
export function watchEventLoop(measure: (delayMs: number) => void): () => void {
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    measure(Math.max(0, now - last - TICK_MS))
    last = now
  }, TICK_MS).unref()
  return () => clearInterval(timer)
}
