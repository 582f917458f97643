import { expect, it, jest } from '@jest/globals'
import { createExpiringCache } from './cache.ts'

function cacheOf(capacity: number) {
  const clock = { nowMs: 0 }
  const evicted: string[] = []
  const cache = createExpiringCache<string>({
    capacity,
    now: () => clock.nowMs,
    onEvict: (value) => void evicted.push(value),
  })
  return { cache, clock, evicted }
}

it('forgets the least recently used entry first', () => {
  const { cache, evicted } = cacheOf(2)
  cache.put('a', 'A', 10)
  cache.put('b', 'B', 10)
  cache.find('a')
  cache.put('c', 'C', 10)
  expect([cache.find('a'), cache.find('b'), cache.find('c')]).toEqual(['A', undefined, 'C'])
  expect(evicted).toEqual(['B'])
})

it('never gives an entry from its end on', () => {
  const { cache, clock, evicted } = cacheOf(2)
  cache.put('a', 'A', 10)
  clock.nowMs = 9
  expect(cache.find('a')).toBe('A')
  clock.nowMs = 10
  expect(cache.find('a')).toBeUndefined()
  expect(evicted).toEqual(['A'])
})

it('lets go of replaced entries, and of all when cleared', () => {
  const { cache, evicted } = cacheOf(2)
  cache.put('a', 'A', 10)
  cache.put('a', 'B', 10)
  cache.put('c', 'C', 10)
  cache.clear()
  expect(evicted).toEqual(['A', 'B', 'C'])
})

it('sweeps out ended entries that nobody asks for', () => {
  jest.useFakeTimers()
  try {
    const { cache, clock, evicted } = cacheOf(2)
    cache.put('a', 'A', 10)
    clock.nowMs = 10
    jest.advanceTimersByTime(5_000)
    expect(evicted).toEqual(['A'])
    expect(jest.getTimerCount()).toBe(0)
  } finally {
    jest.useRealTimers()
  }
})
