import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { compareFractions, fractionOf, paysEnough } from '../../test/support/payment/oracle.ts'
import { count, randomOf, seed } from '../../test/support/scale.ts'
import { ASSET_POLICY, ASSETS, isEnough, minimumOf } from './payment.ts'

describe('the minimum', () => {
  /** Dues of every size, 18 decimals included, and the smallest ones over and over. */
  const due = fc.oneof(
    fc.bigInt({ min: 1n, max: 10_000n }),
    fc.bigInt({ min: 1n, max: 10n ** 26n }),
    fc.bigInt({ min: 1n, max: 10n ** 78n - 1n }),
    fc.bigInt({ min: 1n, max: 10n ** 20n }).map((thousands) => thousands * 1_000n),
  )

  test('is what the rule of a thousandth says, to the unit, for any amount', () => {
    const delta = fc.bigInt({ min: -3n, max: 3n })
    const property = fc.property(due, delta, (amount, away) => {
      const received = minimumOf(amount) + away
      // Rationals: received / due against 999 / 1000, cross-multiplied.
      const isPaid = received * 1_000n >= amount * 999n
      return isEnough(received, amount) === isPaid && isPaid === away >= 0n
    })
    fc.assert(property, { numRuns: count(50_000, 1_000_000), seed })
  })

  test('agrees with exact fractions on a million amounts, most of them within a few units of the minimum', () => {
    const random = randomOf('tolerance')
    const CASES = 1_000_000
    // 2 ** 26, so that two draws make up to 2 ** 52 of each.
    const draw = (): bigint => BigInt(Math.floor(random() * 67_108_864))
    const wrong: bigint[][] = []
    for (let at = 0; at < CASES; at += 1) {
      const amount = (at % 3 === 0 ? 1n + (draw() % 5_000n) : 1n + draw() * draw()) * 10n ** BigInt(at % 13)
      const away = (draw() % 7n) - 3n
      const received = at % 4 === 0 ? draw() * draw() : amount - amount / 1_000n + away
      if (received >= 0n && isEnough(received, amount) !== paysEnough(received, amount)) wrong.push([received, amount])
    }
    expect(wrong).toEqual([])
    expect(compareFractions(fractionOf(999n, 1_000n), fractionOf(1_998n, 2_000n))).toBe(0)
  })

  test('is never above what is due and never more than a thousandth below', () => {
    fc.assert(
      fc.property(due, (amount) => {
        const missing = amount - minimumOf(amount)
        return missing >= 0n && missing * 1_000n <= amount && (missing + 1n) * 1_000n > amount
      }),
      { numRuns: count(10_000, 1_000_000), seed },
    )
  })

  test.each([
    [1n, 1n],
    [999n, 999n],
    [1_000n, 999n],
    [1_999n, 1_998n],
    [2_000n, 1_998n],
    [10n ** 18n, 10n ** 18n - 10n ** 15n],
  ])('of %s is %s', (amount, minimum) => {
    expect(minimumOf(amount)).toBe(minimum)
    expect(isEnough(minimum - 1n, amount)).toBe(false)
  })
})

describe('the policy of assets', () => {
  test('asks for the depth the requirements name', () => {
    const depths = ASSETS.map((asset) => [asset, ASSET_POLICY[asset].decimals, ASSET_POLICY[asset].confirmations])
    expect(depths).toEqual([
      ['BTC', 8, 3],
      ['LTC', 8, 6],
      ['ETH', 18, 12],
      ['SOL', 9, 32],
    ])
  })

  test('gives transfers longer to become final than the slowest thousandth of blocks takes', () => {
    const minutes = { BTC: 112, LTC: 41, ETH: 19, SOL: 1 }
    for (const asset of ASSETS) expect(ASSET_POLICY[asset].confirmWithinMs).toBeGreaterThan(minutes[asset] * 60_000)
  })
})
