// Payment chaos: generated lives of payments in a real database, compared with an oracle that is written from the
// requirements alone. `npm run chaos:payments` plays many more.

import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { findViolations } from '../support/invariant.ts'
import { playChaos, rulesOf, shrinkChaos } from '../support/payment/chaos.ts'
import { RARE_LIVES } from '../support/payment/rare_life.ts'
import { openPaymentWorld, type PaymentWorld } from '../support/payment/world.ts'
import { count, seed } from '../support/scale.ts'

const SEQUENCES = count(5_000, 100_000)
/** A minute of one core for 5,000, where nothing else runs. */
const WITHIN_MS = count(600_000, 7_200_000)

jest.setTimeout(WITHIN_MS)

let world: PaymentWorld
beforeAll(async () => {
  world = await openPaymentWorld()
})
afterAll(() => world.close())

describe('payments of generated lives', () => {
  test.each(Object.entries(RARE_LIVES))('a rare life, in which %s', async (_, sequence) => {
    expect(await world.play(new Map([[0, sequence]]), { acceptsLate: false, sources: 1, requiredSources: 1 })).toEqual(
      [],
    )
    expect(await findViolations(world.shop.test)).toEqual([])
  })

  test('whatever watchers say, in whatever order, the money is what the requirements make of it', async () => {
    const { differences, sequences } = await playChaos(world, { seed, sequences: SEQUENCES })
    const [first] = differences
    if (first !== undefined) {
      const report = await shrinkChaos(world, first.seed)
      throw new Error(
        `npm run chaos:payments -- --seed ${first.seed} --sequences 1\n${report ?? JSON.stringify(differences[0], null, 2)}`,
      )
    }
    expect(sequences).toBe(SEQUENCES)
    expect(await findViolations(world.shop.test)).toEqual([])
  })

  test('are played under every rule', () => {
    const rules = new Set(Array.from({ length: SEQUENCES }, (_, at) => JSON.stringify(rulesOf(seed + at))))
    expect(rules.size).toBeGreaterThanOrEqual(5)
  })
})
