import { isDeepStrictEqual } from 'node:util'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { count, seed } from '../../test/support/scale.ts'
import { ORDER_STATUSES, type OrderStatus } from './order.ts'
import {
  assess,
  ASSET_POLICY,
  ASSETS,
  isEnough,
  minimumOf,
  PAYMENT_STATES,
  TRANSFER_STATES,
  type AssessInput,
  type Assessment,
  type PaymentState,
  type Transfer,
} from './payment.ts'

const DUE = 12_500_000_000_000_000n

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

const transferArbitrary = (amount: fc.Arbitrary<bigint>) =>
  fc.record({ amount, state: fc.constantFrom(...TRANSFER_STATES), isInTime: fc.boolean() })
/** Amounts that make sums land on, just below and far from what is due. */
const amounts = fc.oneof(
  fc.constantFrom(DUE, DUE / 2n, minimumOf(DUE), minimumOf(DUE) - 1n, DUE + 1n, 1n),
  fc.bigInt({ min: 1n, max: 2n * DUE }),
)
const inputs: fc.Arbitrary<AssessInput> = fc.record({
  status: fc.constantFrom(...ORDER_STATUSES),
  paymentState: fc.constantFrom(...PAYMENT_STATES),
  due: fc.constant(DUE),
  transfers: fc.array(transferArbitrary(amounts), { maxLength: 5 }),
})

/** The machine of requirements D-1, D-7 and D-9 once more: a table of which sums are there, read from top to bottom. */
function oracle({ status, paymentState, due, transfers }: AssessInput): Assessment {
  const total = (...states: readonly string[]): bigint => {
    let sum = 0n
    for (const one of transfers) if (states.includes(one.state)) sum += one.amount
    return sum
  }
  const [final, seen] = [total('final'), total('final', 'seen')]
  const lacks = (sum: bigint): boolean => (due - sum) * 1_000n > due
  const open: [boolean, PaymentState][] = [
    [!lacks(final), 'paid'],
    [!lacks(seen), 'confirming'],
    [seen > 0n, 'partial'],
    [true, 'awaiting'],
  ]
  const accepted: [boolean, PaymentState][] = [
    [!lacks(final), 'paid'],
    [true, 'at_risk'],
  ]
  const ended: [boolean, PaymentState][] = [
    [final > 0n, 'unresolved'],
    [seen > 0n, 'late_confirming'],
    [true, paymentState],
  ]
  const table = { pending: open, processing: accepted, shipped: accepted, delivered: accepted, cancelled: ended }[
    status
  ]
  const next = table.find(([applies]) => applies)?.[1] ?? paymentState
  const flags = {
    over: final > due,
    within_tolerance: next === 'paid' && final < due,
    under: status === 'cancelled' && final > 0n && lacks(final),
    late: transfers.some(({ isInTime }) => !isInTime),
    reorged: transfers.some(({ state }) => state === 'reorged'),
    replaced: transfers.some(({ state }) => state === 'replaced'),
  }
  const owed = status === 'cancelled' ? final : final - due
  return {
    paymentState: next,
    flags: (Object.keys(flags) as (keyof typeof flags)[]).filter((flag) => flags[flag]),
    seenTotal: seen,
    finalTotal: final,
    refundDue: owed > 0n ? owed : 0n,
  }
}

const ofOrder = (status: OrderStatus, transfers: readonly Transfer[], paymentState: PaymentState = 'awaiting') =>
  assess({ status, paymentState, due: DUE, transfers })
const transfer = (overrides: Partial<Transfer> = {}): Transfer => ({
  amount: DUE,
  state: 'final',
  isInTime: true,
  ...overrides,
})

describe('assess', () => {
  const options = { numRuns: count(20_000, 1_000_000), seed }

  test('agrees with an oracle written from the requirements', () => {
    fc.assert(
      fc.property(inputs, (input) => isDeepStrictEqual(assess(input), oracle(input))),
      options,
    )
  })

  test('does not depend on the order in which transfers were told', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const turned = { ...input, transfers: input.transfers.toReversed() }
        return isDeepStrictEqual(assess(turned), assess(input))
      }),
      options,
    )
  })

  test('counts no money that was replaced, dropped or lost its block', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const counted = input.transfers.filter(({ state }) => state === 'seen' || state === 'final')
        const [all, some] = [assess(input), assess({ ...input, transfers: counted })]
        return all.paymentState === some.paymentState && all.refundDue === some.refundDue
      }),
      options,
    )
  })

  test.each([
    ['nothing', [], 'awaiting', [], 0n],
    ['all of it, seen', [transfer({ state: 'seen' })], 'confirming', [], 0n],
    ['all of it, final', [transfer()], 'paid', [], 0n],
    ['the least that is enough', [transfer({ amount: minimumOf(DUE) })], 'paid', ['within_tolerance'], 0n],
    ['one unit less', [transfer({ amount: minimumOf(DUE) - 1n })], 'partial', [], 0n],
    ['one unit more', [transfer({ amount: DUE + 1n })], 'paid', ['over'], 1n],
    ['it twice', [transfer(), transfer()], 'paid', ['over'], DUE],
    [
      'two halves, one of them not final',
      [transfer({ amount: DUE / 2n }), transfer({ amount: DUE / 2n, state: 'seen' })],
      'confirming',
      [],
      0n,
    ],
    ['two final halves', [transfer({ amount: DUE / 2n }), transfer({ amount: DUE / 2n })], 'paid', [], 0n],
    ['what is gone again', [transfer({ state: 'dropped' })], 'awaiting', [], 0n],
    [
      'what was replaced',
      [transfer({ state: 'replaced' }), transfer({ state: 'seen' })],
      'confirming',
      ['replaced'],
      0n,
    ],
  ] as const)('of an open order that got %s', (_what, transfers, paymentState, flags, refundDue) => {
    expect(ofOrder('pending', transfers)).toMatchObject({ paymentState, flags, refundDue })
  })

  test.each(['processing', 'shipped', 'delivered'] as const)(
    'puts a %s order at risk while its money is gone',
    (status) => {
      expect(ofOrder(status, [transfer({ state: 'reorged' })], 'paid')).toMatchObject({
        paymentState: 'at_risk',
        flags: ['reorged'],
      })
      expect(ofOrder(status, [transfer()], 'at_risk').paymentState).toBe('paid')
    },
  )

  test('never reopens an order that ended: its money is owed back', () => {
    expect(ofOrder('cancelled', [], 'expired')).toMatchObject({ paymentState: 'expired', refundDue: 0n })
    expect(ofOrder('cancelled', [transfer({ state: 'seen', isInTime: false })], 'expired')).toMatchObject({
      paymentState: 'late_confirming',
      flags: ['late'],
      refundDue: 0n,
    })
    expect(ofOrder('cancelled', [transfer({ amount: 5n })], 'expired')).toMatchObject({
      paymentState: 'unresolved',
      flags: ['under'],
      refundDue: 5n,
    })
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
