import { expect, test } from '@jest/globals'
import { until } from '../../test/support/until.ts'
import type { Child, Exit } from './child.ts'
import { supervise } from './supervise.ts'

/** A child that ends when told to, and not before. */
function createChild(pid: number): Child {
  const ending = Promise.withResolvers<Exit>()
  const endBy = (signal: NodeJS.Signals) => async (): Promise<void> => {
    ending.resolve({ code: null, signal })
    await ending.promise
  }
  return { name: 'part', pid, logFile: '', exited: ending.promise, stop: endBy('SIGTERM'), kill9: endBy('SIGKILL') }
}

function superviseFakes(failures: readonly number[] = []) {
  const lines: string[] = []
  let launches = 0
  const launch = async (): Promise<Child> => {
    launches += 1
    if (failures.includes(launches)) throw new Error(`launch ${launches} failed`)
    return createChild(launches)
  }
  return { part: supervise('part', launch, (line) => void lines.push(line)), lines, launches: () => launches }
}

test('a child that is killed comes back, and its return can be awaited', async () => {
  const { part, lines } = superviseFakes()
  await part.start()
  await part.kill9()
  expect(part.current()).toBeUndefined()
  await part.ready()
  expect(part.current()?.pid).toBe(2)
  expect(lines).toEqual(['part ended (SIGKILL) and is started again', 'part is back'])
  await part.stop()
})

test('a child that is stopped stays down until it is started', async () => {
  const { part, lines, launches } = superviseFakes()
  await part.start()
  await part.stop()
  await part.ready()
  expect(part.current()).toBeUndefined()
  expect([launches(), lines]).toEqual([1, []])
  await part.start()
  expect(part.current()?.pid).toBe(2)
  await part.stop()
})

test('a return that fails is tried again', async () => {
  const { part, lines } = superviseFakes([2])
  await part.start()
  await part.kill9()
  await part.ready()
  expect(part.current()?.pid).toBe(3)
  expect(lines).toContain('part did not come back: launch 2 failed')
  await part.stop()
})

test('a first start that fails is told to the caller and not tried again', async () => {
  const { part, launches } = superviseFakes([1])
  await expect(part.start()).rejects.toThrow('launch 1 failed')
  await part.ready()
  await part.stop()
  expect(launches()).toBe(1)
})

test('a stop during the pause before a return keeps the child down', async () => {
  const { part, lines, launches } = superviseFakes()
  await part.start()
  await part.kill9()
  await until(() => lines.length > 0)
  await part.stop()
  expect([part.current(), launches()]).toEqual([undefined, 1])
})
