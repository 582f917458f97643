// CPU contention: busy processes beside the tests. With N of them per core at equal priority, a process that wants all
// of a core gets 1/(N + 1) of it. Any user can have that on any system; a cgroup's quota needs rights and Linux.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'

/** How much of the CPU a process of the tests gets, and by how many busy ones per core. */
export const SHARES = { whole: 0, third: 2 } as const
export type Share = keyof typeof SHARES

/** It looks up between slices, so that none is left when whoever started it was killed. */
const BURN = `
  const parent = Number(process.argv[1])
  while (process.ppid === parent) for (const until = Date.now() + 100; Date.now() < until; );`

/** Starts it. Each is a session of its own, or a system that shares the CPU among sessions first would spare the servers. */
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
