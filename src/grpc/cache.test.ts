import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { assertNotEnded, untilEnded } from '../db/connection/ended.ts'
import { cachedFor } from './cache.ts'

beforeEach(() => {
  jest.useFakeTimers()
})
afterEach(() => {
  jest.useRealTimers()
})

test('all who ask meanwhile share one load, and later ones begin another', async () => {
  let loads = 0
  const value = cachedFor(1_000, async () => (loads += 1))
  expect(await Promise.all([value(), value()])).toEqual([1, 1])
  jest.advanceTimersByTime(999)
  expect(await value()).toBe(1)
  jest.advanceTimersByTime(1)
  expect(await value()).toBe(2)
})

test('a load that failed is tried again by the next who asks', async () => {
  let loads = 0
  const value = cachedFor(1_000, async () => {
    loads += 1
    if (loads === 1) throw new Error('down')
    return loads
  })
  await expect(value()).rejects.toThrow('down')
  expect(await value()).toBe(2)
})

test('a load does not end with the caller that began it', async () => {
  const begun = Promise.withResolvers<void>()
  const value = cachedFor(1_000, async () => {
    await begun.promise
    assertNotEnded()
    return 'loaded'
  })
  const ending = new AbortController()
  const values = [untilEnded(ending.signal, value), value()]
  ending.abort()
  begun.resolve()
  expect(await Promise.all(values)).toEqual(['loaded', 'loaded'])
})
