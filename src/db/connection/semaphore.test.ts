import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { untilEnded } from './ended.ts'
import { createSemaphore } from './semaphore.ts'

beforeEach(() => {
  jest.useFakeTimers()
})
afterEach(() => {
  jest.useRealTimers()
})

/** Calls through a gate, each of which stays inside until it is let out. */
function buildCrowd(width: number, waitMs: number) {
  const gate = createSemaphore(width, waitMs)
  const inside: string[] = []
  const ends = new Map<string, () => void>()
  const come = (name: string): Promise<string> =>
    gate(
      () =>
        new Promise((resolve) => {
          inside.push(name)
          ends.set(name, () => {
            inside.splice(inside.indexOf(name), 1)
            resolve(name)
          })
        }),
    )
  const settle = () => jest.advanceTimersByTimeAsync(0)
  return { gate, inside, come, settle, letOut: async (name: string) => (ends.get(name)?.(), settle()) }
}

test('so many are inside at a time, and who came first goes first', async () => {
  const { inside, come, settle, letOut } = buildCrowd(2, 1_000)
  const all = Promise.all(['a', 'b', 'c', 'd'].map(come))
  await settle()
  expect(inside).toEqual(['a', 'b'])
  await letOut('b')
  expect(inside).toEqual(['a', 'c'])
  await letOut('a')
  await letOut('c')
  await letOut('d')
  expect(await all).toEqual(['a', 'b', 'c', 'd'])
})

test('who has waited for too long is turned away, and takes no place', async () => {
  const { inside, come, settle, letOut } = buildCrowd(1, 1_000)
  const first = come('a')
  const refused = expect(come('b')).rejects.toMatchObject({ reason: 'DATABASE_UNAVAILABLE', retryAfterMs: 1_000 })
  await jest.advanceTimersByTimeAsync(999)
  const late = come('c')
  await jest.advanceTimersByTimeAsync(1)
  await refused
  await letOut('a')
  expect(inside).toEqual(['c'])
  await letOut('c')
  expect(await Promise.all([first, late])).toEqual(['a', 'c'])
  const next = come('d')
  await settle()
  expect(inside).toEqual(['d'])
  await letOut('d')
  await next
})

test('a place is free again after a failure', async () => {
  const { gate } = buildCrowd(1, 1_000)
  await expect(gate(() => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
  expect(await gate(async () => 'in')).toBe('in')
})

test('a call that ended while it waited is not run, and makes room for the next', async () => {
  const { gate, inside, come, settle, letOut } = buildCrowd(1, 1_000)
  const first = come('a')
  const ending = new AbortController()
  const ended = untilEnded(ending.signal, () => gate(() => Promise.resolve('was run'))).catch((error: unknown) => error)
  const last = come('b')
  await settle()
  ending.abort()
  await letOut('a')
  expect(await ended).toMatchObject({ reason: 'DEADLINE_EXCEEDED' })
  expect(inside).toEqual(['b'])
  await letOut('b')
  expect(await Promise.all([first, last])).toEqual(['a', 'b'])
})
