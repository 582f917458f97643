// Watchdog of a process: ends it after it has not been alive for too long. Some supervisors, Compose among them, restart
// only what has ended. Others ask for the liveness, and restart it before.

/** A loop of the process takes no turns any more. Its work goes on in a new process. */
export class StuckError extends Error {
  override readonly name = 'StuckError'
}

/** How many looks fit into the time. Several, so that a pause of the whole machine is not taken for a stuck loop. */
const LOOKS = 6

export type Watchdog = {
  isAlive: () => boolean
  /** How long the process may be without life. */
  withinMs: number
  onStuck: (error: StuckError) => void
  signal: AbortSignal
}

/** Looks until the signal is aborted. It calls `onStuck` once, and keeps no process running. */
export function startWatchdog({ isAlive, withinMs, onStuck, signal }: Watchdog): void {
  let looks = 0
  const timer = setInterval(() => {
    looks = isAlive() ? 0 : looks + 1
    if (looks <= LOOKS) return
    clearInterval(timer)
    onStuck(new StuckError('a loop of this process takes no turns any more'))
  }, withinMs / LOOKS).unref()
  signal.addEventListener('abort', () => clearInterval(timer), { once: true })
}
