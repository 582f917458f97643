// Admission control (load shedding): a limit of unary calls in progress that adapts to the delay of the event loop. When
// the process falls behind, it refuses new calls before any work is done for them, and finishes those it has begun.

/** Enough for a database that answers within moments; beyond it, calls only wait for sessions. */
const MAX_CALLS = 1_024
/** Work of some ten milliseconds: with no more than this in progress, the process does not refuse. */
const MIN_CALLS = 64
/** Essential calls are refused only at this multiple of MAX_CALLS: then memory is at stake. */
const ESSENTIAL_FACTOR = 2
const TICK_MS = 20
/** The limit changes once in so many ticks, by the shortest delay among them: one pause is no overload. */
const TICKS_PER_CHANGE = 5
/** A delay that persists for all ticks and is longer than this is a queue. */
const TARGET_DELAY_MS = 50
const DECREASE = 0.8
const INCREASE = 1.1

export type Admission = {
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

export function createAdmission(): Admission {
  let limit = MAX_CALLS
  let inFlight = 0
  /** The most calls in progress since the last change. */
  let peak = 0
  let shortestMs = Number.POSITIVE_INFINITY
  let ticks = 0

  function change(): void {
    // Above the calls that there were, the limit has no effect: it is lowered from where it bites.
    if (shortestMs > TARGET_DELAY_MS) limit = Math.max(MIN_CALLS, Math.floor(Math.min(limit, peak) * DECREASE))
    else limit = Math.min(MAX_CALLS, Math.ceil(limit * INCREASE))
    shortestMs = Number.POSITIVE_INFINITY
    ticks = 0
    peak = inFlight
  }

  return {
    enter: (isEssential) => {
      if (inFlight >= (isEssential ? MAX_CALLS * ESSENTIAL_FACTOR : limit)) return false
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
