// Starts a server of the front benchmark on a core of its own, and asks for its CPU time.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { pinned, SERVER_CORE } from '../pin.ts'
import type { ServerConfig, ServerCpu, ServerReady } from './process.ts'

export type BenchServer = ServerReady & {
  /** CPU time that it has used so far. */
  cpuMs: () => Promise<number>
  stop: () => Promise<void>
}

export async function startServer(config: ServerConfig): Promise<BenchServer> {
  const entry = fileURLToPath(new URL('process.ts', import.meta.url))
  const [command, args] = pinned(SERVER_CORE, process.execPath, [...process.execArgv, entry])
  // Its log costs what a log costs; nobody reads it.
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const ask = async <Reply>(question: string): Promise<Reply> => {
    child.stdin.write(`${question}\n`)
    const { value, done } = await lines.next()
    if (done === true) throw new Error('a server of the benchmark has ended')
    return JSON.parse(value) as Reply
  }
  const ready = await ask<ServerReady>(JSON.stringify(config))
  return {
    ...ready,
    cpuMs: async () => (await ask<ServerCpu>('cpu')).cpuMs,
    stop: async () => {
      child.stdin.end()
      await exited
    },
  }
}
