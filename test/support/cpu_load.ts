// CPU contention: busy processes beside the tests. With N of them per core at equal priority, a process that wants a
// whole core gets 1/(N + 1) of it. This works for any user on any system; a cgroup quota needs rights and Linux.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'

/** The share of CPU that a test process gets, with the number of busy processes per core. */
export const SHARES = { whole: 0, third: 2 } as const
export type Share = keyof typeof SHARES

/** Checks its parent between slices, so that none is left when the parent is killed. */
const BURN = `
  const parent = Number(process.argv[1])
  while (process.ppid === parent) for (const until = Date.now() + 100; Date.now() < until; );`

/** Starts the load, each process in its own session: a scheduler that shares CPU by session would spare the servers. */
export function startCpuLoad(share: Share): { stop: () => Promise<void> } {
  const burners = Array.from({ length: SHARES[share] * availableParallelism() }, () =>
    spawn(process.execPath, ['-e', BURN, String(process.pid)], { detached: true, stdio: 'ignore' }),
  )
  return {
    stop: async () => {
      const left = burners.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
      const ended = Promise.all(left.map((burner) => once(burner, 'exit')))
      for (const burner of left) burner.kill('SIGKILL')
      await ended
    },
  }
}
