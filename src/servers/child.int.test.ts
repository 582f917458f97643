import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../../test/support/until.ts'
import { spawnChild, type ChildOptions } from './child.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdfast-child-'))
})
afterEach(async () => rm(dir, { recursive: true }))

/** A child that is ready at once and runs a line of shell. */
function shell(script: string, options: Partial<ChildOptions> = {}) {
  return spawnChild({
    name: 'shell',
    command: '/bin/sh',
    args: ['-c', script],
    env: { PATH: '/usr/bin:/bin' },
    logFile: join(dir, 'shell.log'),
    isReady: async () => true,
    readyWithinMs: 60_000,
    stopWithinMs: 60_000,
    ...options,
  })
}

const groupExists = (pid: number) => {
  try {
    return process.kill(-pid, 0)
  } catch {
    return false
  }
}

test('a child that ends before it is ready is reported with the end of its log', async () => {
  const start = shell('echo no such table >&2; exit 3', { isReady: async () => false })
  await expect(start).rejects.toThrow(/shell ended before it was ready \(exit 3\)[^]*no such table$/)
})

test('a child that is not ready in time is ended and reported', async () => {
  const start = shell('echo waiting; sleep 60', { isReady: async () => false, readyWithinMs: 2_000 })
  await expect(start).rejects.toThrow(/shell was not ready within 2000 ms[^]*waiting$/)
})

test('a command that does not exist is reported', async () => {
  await expect(shell('', { command: join(dir, 'missing') })).rejects.toThrow(/shell could not be started: .*ENOENT/)
})

test('a child that ignores the polite signal is forced after its bound', async () => {
  const isReady = async () => (await readFile(join(dir, 'shell.log'), 'utf8')).includes('deaf')
  const child = await shell('trap "" TERM; echo deaf; while :; do sleep 0.05; done', { isReady, stopWithinMs: 200 })
  await child.stop()
  expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' })
})

test('stopping a child takes along what it started', async () => {
  const child = await shell('sleep 60 & wait')
  await child.stop()
  // A killed orphan stays in its group until the system's first process has taken note of it.
  await until(() => !groupExists(child.pid))
})

test('stopping a child that has ended does nothing', async () => {
  const child = await shell('exit 0')
  await child.exited
  await child.stop()
  await child.kill9()
})
