// Model-based test of a whole shop: random orders are paid, cancelled, shipped and expire, while stock and prices
// change and sessions are killed during calls. After every call, the shop and a model written from the requirements
// must agree on the answer and on all stored data.

import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import fc from 'fast-check'
import { findViolations } from '../support/invariant.ts'
import { ShopModel } from '../support/model.ts'
import { randomCommand, ShopUnderTest } from '../support/model_play.ts'
import { count, COUNT_WITHIN_MS, seed } from '../support/scale.ts'
import { createTestShop, type TestShop } from '../support/shop.ts'

jest.setTimeout(COUNT_WITHIN_MS * 10)

/** HOLDFAST_TEST_COMMANDS sets another number. */
const COMMANDS = Number(process.env['HOLDFAST_TEST_COMMANDS'] ?? count(10_000, 1_000_000))
/** Shops run side by side, each in its own database, since a sweep covers all orders of a database. */
const LANES = 3
const LONGEST = 100
/** A run's length varies up to the maximum, half of it on average; a few more runs make up for that. */
const LIVES = Math.ceil((COMMANDS / LANES / (LONGEST / 2)) * 1.1) + 2

type Steps = Iterable<fc.AsyncCommand<ShopModel, ShopUnderTest>>
const anyLife = fc.commands([randomCommand], { maxCommands: LONGEST, size: 'max' })
/**
 * In a rough life nearly every call is cut short. A new session plans every statement again, which is most of what a
 * command costs: `npm test` has one rough life in four, the full run has no other.
 */
const isRough = fc.constantFrom(true, ...Array.from({ length: count(3, 0) }, () => false))

let shops: TestShop[]
beforeAll(async () => {
  shops = await Promise.all(Array.from({ length: LANES }, () => createTestShop()))
  for (const shop of shops) await shop.catchUp()
})
afterAll(async () => {
  for (const shop of shops) await shop.close()
})

test(`whatever is asked of a shop, it answers and stores what the requirements say (seed ${seed})`, async () => {
  let played = 0
  let kills = 0
  const live = async (shop: TestShop, steps: Steps, areKilled: boolean): Promise<void> => {
    const [model, real] = [new ShopModel(), new ShopUnderTest(shop, areKilled)]
    await real.open(model)
    await fc.asyncModelRun(() => ({ model, real }), steps)
    played += [...steps].length
    kills += real.kills
  }
  await Promise.all(
    shops.map((shop, lane) =>
      fc.assert(
        fc.asyncProperty(anyLife, isRough, (steps, areKilled) => live(shop, steps, areKilled)),
        { numRuns: LIVES, seed: seed + lane },
      ),
    ),
  )
  expect(played).toBeGreaterThanOrEqual(COMMANDS)
  expect(kills).toBeGreaterThan(COMMANDS / 20)
  for (const shop of shops) expect(await findViolations(shop.test)).toEqual([])
})
