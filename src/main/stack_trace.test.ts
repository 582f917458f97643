import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from '@jest/globals'

/** In a process of its own: the setting is for good. */
const CODE = `
  import { Worker } from 'node:worker_threads'
  import { limitStackTraces } from '${new URL('stack_trace.ts', import.meta.url).href}'
  const limitOfThread = () => new Promise((resolve) =>
    new Worker("require('node:worker_threads').parentPort.postMessage(Error.stackTraceLimit)", { eval: true, execArgv: [] }).once('message', resolve))
  const before = await limitOfThread()
  limitStackTraces()
  console.log(JSON.stringify({ before, thread: await limitOfThread(), own: Error.stackTraceLimit }))
`

test('threads begun afterwards write down two frames; the process keeps its ten', async () => {
  const cwd = fileURLToPath(new URL('../..', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', CODE], { cwd })
  expect(JSON.parse(stdout)).toEqual({ before: 10, thread: 2, own: 10 })
})
