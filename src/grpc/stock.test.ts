import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
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

test('concurrent questions read a product once', async () => {
  const { asked, availabilityOf } = buildAvailability()
  await Promise.all([availabilityOf(['tea']), availabilityOf(['tea', 'cup']), availabilityOf(['cup'])])
  expect(asked).toEqual([['tea'], ['cup']])
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
