// A process of a benchmark that answers each line on its stdin with one line of JSON, and ends when stdin closes.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { pinned } from './pin.ts'

export type AskedProcess = {
  ask: <Reply>(question: object) => Promise<Reply>
  stop: () => Promise<void>
}

/** @param path of its entry, from this folder. @param core it runs on this one alone, where that can be; else on any */
export function startAsked(path: string, core?: number): AskedProcess {
  const entry = fileURLToPath(new URL(path, import.meta.url))
  const words = [...process.execArgv, entry]
  const [command, args] = core === undefined ? [process.execPath, words] : pinned(core, process.execPath, words)
  // Its log costs what a log costs, and is dropped.
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    ask: async <Reply>(question: object) => {
      child.stdin.write(`${JSON.stringify(question)}\n`)
      const { value, done } = await lines.next()
      if (done === true) throw new Error(`${path} has ended`)
      return JSON.parse(value) as Reply
    },
    stop: async () => {
      child.stdin.end()
      await exited
    },
  }
}
