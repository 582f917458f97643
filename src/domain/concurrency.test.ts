import { describe, expect, test } from '@jest/globals'
import { forEachBounded } from './concurrency.ts'

describe('forEachBounded', () => {
  test('takes every item once, in order, so many at a time', async () => {
    const items = Array.from({ length: 50 }, (_, at) => at)
    const taken: number[] = []
    let running = 0
    let most = 0
    await forEachBounded(items, 8, async (item) => {
      taken.push(item)
      running += 1
      most = Math.max(most, running)
      await new Promise(setImmediate)
      running -= 1
    })
    expect(taken).toEqual(items)
    expect([most, running]).toEqual([8, 0])
  })

  test('begins no further item after a failure, and rejects with it', async () => {
    const taken: number[] = []
    const failing = forEachBounded([1, 2, 3, 4, 5, 6], 2, async (item) => {
      taken.push(item)
      await new Promise(setImmediate)
      if (item === 3) throw new Error('the third')
    })
    await expect(failing).rejects.toThrow('the third')
    await new Promise(setImmediate)
    await new Promise(setImmediate)
    expect(taken).toEqual([1, 2, 3, 4])
  })

  test('has nothing to do for nothing', async () => {
    await expect(forEachBounded([], 8, () => Promise.reject(new Error('called')))).resolves.toBeUndefined()
  })
})
