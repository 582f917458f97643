// Child processes as a supervisor sees them: started with an environment, checked for health, ended with an exit code.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { compileCache } from './bundle.ts'

export type Health = { healthz: number; readyz: number }
export type Ended = { code: number | null; output: string }

export type RunningProcess = {
  child: ChildProcess
  /** Output written so far. */
  output: () => string
  /** A page of its metrics port. */
  get: (path: string) => Promise<Response>
  /** Status codes of its two health pages; undefined while nothing listens. */
  health: () => Promise<Health | undefined>
  ended: Promise<Ended>
  /** Sends SIGTERM and waits for the exit. */
  stop: () => Promise<Ended>
}

/** @param metricsPort the port of its health pages */
export function startProcess(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  metricsPort: number,
): RunningProcess {
  const child = spawn(process.execPath, [...args], {
    env: { ...compileCache(), ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let output = ''
  child.stderr.on('data', (chunk: Buffer) => void (output += chunk.toString('utf8')))
  const ended = Promise.all([once(child, 'exit') as Promise<[number | null]>, text(child.stderr)]).then(
    ([[code], whole]) => ({ code, output: whole }),
  )
  const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${metricsPort}${path}`)
  const statusOf = async (path: string): Promise<number> => (await get(path)).status
  return {
    child,
    output: () => output,
    get,
    health: async () => {
      try {
        return { healthz: await statusOf('/healthz'), readyz: await statusOf('/readyz') }
      } catch {
        return undefined
      }
    },
    ended,
    stop: async () => {
      child.kill('SIGTERM')
      return ended
    },
  }
}

/** Kills all of them. For `afterEach`: no process outlives its test. */
export async function killAll(processes: RunningProcess[]): Promise<void> {
  for (const { child, ended } of processes.splice(0)) {
    child.kill('SIGKILL')
    await ended
  }
}
