// The liveness of a process: each of its loops says that it turns, and one that has not for too long is dead.

export type Pulse = {
  /** Says that this loop turns; from the first time on it must go on doing so. */
  beat: (loop: string) => void
  /** Says that this loop has ended as it should. */
  end: (loop: string) => void
  isAlive: () => boolean
}

/**
 * @param withinMs how long a turn may last
 * @param now monotonic milliseconds
 */
export function createPulse(withinMs: number, now: () => number = () => performance.now()): Pulse {
  const turnedAtMs = new Map<string, number>()
  return {
    beat: (loop) => void turnedAtMs.set(loop, now()),
    end: (loop) => void turnedAtMs.delete(loop),
    isAlive: () => [...turnedAtMs.values()].every((at) => now() - at <= withinMs),
  }
}
