import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { assertNotEnded, untilEnded } from '../db/connection/ended.ts'
import type { StockView } from '../db/stock.ts'
import { createAvailability } from './stock.ts'

const stockOf = (productId: string): StockView => ({ productId, onHand: '5', reserved: '2', version: '1' })

/** Every product exists but `none`; asked-for ids are kept. */
function buildAvailability() {
  const asked: (readonly string[])[] = []
  let failure: Error | undefined
  const availabilityOf = createAvailability(async (productIds) => {
    asked.push(productIds)
    if (failure !== undefined) throw failure
    return productIds.filter((id) => id !== 'none').map(stockOf)
  })
  return { asked, availabilityOf, failWith: (error: Error | undefined) => (failure = error) }
}

beforeEach(() => {
  jest.useFakeTimers({ now: 1_000_000 })
})
afterEach(() => {
  jest.useRealTimers()
})

test('products are answered once each, in order, without the unknown ones', async () => {
  const { availabilityOf } = buildAvailability()
  const { stock, asOf } = await availabilityOf(['tea', 'cup', 'tea', 'none'])
  expect(stock.map(({ productId }) => productId)).toEqual(['cup', 'tea'])
  expect(asOf.getTime()).toBe(1_000_000)
})

test('concurrent questions are one query, and those that come while it runs are the next', async () => {
  const release = Promise.withResolvers<void>()
  const asked: (readonly string[])[] = []
  const availabilityOf = createAvailability(async (productIds) => {
    asked.push(productIds)
    await release.promise
    return productIds.map(stockOf)
  })
  const first = [availabilityOf(['tea']), availabilityOf(['tea', 'cup'])]
  await jest.advanceTimersByTimeAsync(0)
  const later = [availabilityOf(['cup', 'pot']), availabilityOf(['jar'])]
  await jest.advanceTimersByTimeAsync(0)
  expect(asked).toEqual([['cup', 'tea']])
  release.resolve()
  const answers = await Promise.all([...first, ...later])
  expect(answers.map(({ stock }) => stock.map(({ productId }) => productId))).toEqual([
    ['tea'],
    ['cup', 'tea'],
    ['cup', 'pot'],
    ['jar'],
  ])
  expect(asked).toEqual([
    ['cup', 'tea'],
    ['jar', 'pot'],
  ])
})

test('a query that callers share does not end with the one that began it', async () => {
  const begun = Promise.withResolvers<void>()
  const availabilityOf = createAvailability(async (productIds) => {
    await begun.promise
    assertNotEnded()
    return productIds.map(stockOf)
  })
  const ending = new AbortController()
  const answers = [untilEnded(ending.signal, () => availabilityOf(['tea'])), availabilityOf(['tea', 'cup'])]
  ending.abort()
  begun.resolve()
  expect((await Promise.all(answers)).map(({ stock }) => stock.length)).toEqual([1, 2])
})

test('a query has a thousand products at most', async () => {
  const { asked, availabilityOf } = buildAvailability()
  const ids = Array.from({ length: 1_500 }, (_, at) => `sku-${at}`)
  expect((await availabilityOf(ids)).stock).toHaveLength(1_500)
  expect(asked.map(({ length }) => length)).toEqual([1_000, 500])
})

test('a reading serves for a second and says how old it is', async () => {
  const { asked, availabilityOf } = buildAvailability()
  await availabilityOf(['tea'])
  jest.advanceTimersByTime(999)
  expect((await availabilityOf(['tea', 'cup'])).asOf.getTime()).toBe(1_000_000)
  jest.advanceTimersByTime(1)
  await availabilityOf(['tea'])
  expect(asked).toEqual([['tea'], ['cup'], ['tea']])
})

test('an unknown product is remembered as unknown, so that asking for it costs no more', async () => {
  const { asked, availabilityOf } = buildAvailability()
  await availabilityOf(['none'])
  expect((await availabilityOf(['none'])).stock).toEqual([])
  expect(asked).toHaveLength(1)
})

test('a failed reading is not kept', async () => {
  const { availabilityOf, failWith } = buildAvailability()
  failWith(new Error('down'))
  await expect(availabilityOf(['tea'])).rejects.toThrow('down')
  failWith(undefined)
  expect((await availabilityOf(['tea'])).stock).toHaveLength(1)
})
