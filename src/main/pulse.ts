// Liveness of a process by heartbeats of its loops: it is dead when one of them has not beaten for too long.

export type Pulse = {
  /** The heartbeat of a loop. From the first one on it must keep coming. */
  beat: (loop: string) => void
  /** For a loop that has ended in order. */
  end: (loop: string) => void
  isAlive: () => boolean
}

/**
 * @param withinMs the longest that a turn may last
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
