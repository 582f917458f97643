import { randomInt } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { minimumOf } from './payment.ts'
import {
  isLookAlike,
  refundAmountOf,
  refundRefusalOf,
  refundStateOf,
  unitsOfFiat,
  type Refundable,
  type RefundedOrder,
  type RefundStanding,
} from './refund.ts'

const CASES = 20_000
const ETHER = 10n ** 18n
const random = (below: bigint): bigint => (BigInt(randomInt(2 ** 47)) * BigInt(randomInt(2 ** 47))) % below
const order = (overrides: Partial<Refundable> = {}): Refundable => ({
  status: 'processing',
  available: ETHER,
  decimals: 18,
  orderRateMinor: 200_000n,
  todayRateMinor: 250_000n,
  ...overrides,
})

describe('the amount of a refund', () => {
  test('is all that is left, or the coin that was named', () => {
    expect(refundAmountOf({ kind: 'everything' }, order())).toEqual({ units: ETHER, namedIn: 'coin' })
    expect(refundAmountOf({ kind: 'coin', units: 5n }, order())).toEqual({ units: 5n, namedIn: 'coin' })
  })

  test.each([
    [{ kind: 'fiat', minor: 100_000n, basis: 'order' }, ETHER / 2n, 200_000n],
    [{ kind: 'fiat', minor: 100_000n, basis: 'today' }, (ETHER * 2n) / 5n, 250_000n],
    [{ kind: 'fiat', minor: 100_000n, basis: 'stated', rateMinor: 400_000n }, ETHER / 4n, 400_000n],
  ] as const)('named in fiat is turned into coin at the rate of %o, which is kept', (wish, units, rateMinor) => {
    expect(refundAmountOf(wish, order())).toEqual({
      ...{ units, rateMinor },
      ...{ namedIn: 'fiat', fiatMinor: 100_000n, basis: wish.basis },
    })
  })

  test('is never more than what is left, nor nothing', () => {
    expect(refundAmountOf({ kind: 'coin', units: ETHER + 1n }, order())).toEqual({
      ...{ reason: 'REFUND_TOO_LARGE', available: ETHER },
    })
    expect(refundAmountOf({ kind: 'everything' }, order({ available: 0n }))).toMatchObject({
      reason: 'REFUND_TOO_LARGE',
    })
    for (let at = 0; at < CASES; at += 1) {
      const available = random(10n * ETHER)
      const minor = 1n + random(10_000_000n)
      const amount = refundAmountOf({ kind: 'fiat', minor, basis: 'order' }, order({ available }))
      if ('units' in amount) expect(amount.units <= available && amount.units > 0n).toBe(true)
      else expect(unitsOfFiat(minor, 200_000n, 18)).toBeGreaterThan(available)
    }
  })

  test('is rounded up to one base unit: the total at the order’s rate is what was due, to the unit', () => {
    for (let at = 0; at < CASES; at += 1) {
      const [minor, rate] = [1n + random(99_999_999n), 1n + random(99_999_999n)]
      const units = unitsOfFiat(minor, rate, 18)
      expect(units * rate >= minor * ETHER && (units - 1n) * rate < minor * ETHER).toBe(true)
    }
  })

  test('waits for a rate, and for the end of an order that may yet be paid', () => {
    const wish = { kind: 'fiat', minor: 1n, basis: 'today' } as const
    expect(refundAmountOf(wish, order({ todayRateMinor: undefined }))).toEqual({ reason: 'RATE_UNAVAILABLE' })
    expect(refundAmountOf({ kind: 'everything' }, order({ status: 'pending' }))).toMatchObject({
      reason: 'ORDER_STATUS',
    })
  })
})

describe('a refund is approved', () => {
  const refund = (overrides: Partial<RefundStanding> = {}): RefundStanding => ({
    ...{ status: 'awaiting_approval', version: 3n, requestedBy: 'user:5', customer: 'user:7', approvers: [] },
    ...overrides,
  })
  test.each([
    ['by another person', 'user:8', refund(), undefined],
    ['not by who asked for it', 'user:5', refund(), 'REFUND_APPROVER'],
    ['not by its customer', 'user:7', refund(), 'REFUND_APPROVER'],
    ['not twice by one person', 'user:8', refund({ approvers: ['user:8'] }), 'REFUND_APPROVER'],
    ['not as another version', 'user:8', refund({ version: 4n }), 'VERSION_MISMATCH'],
    ['not before its destination is known', 'user:8', refund({ status: 'awaiting_destination' }), 'REFUND_STATUS'],
    ['not once it is being paid', 'user:8', refund({ status: 'paying' }), 'REFUND_STATUS'],
  ])('%s', (_how, actor, standing, reason) => {
    expect(refundRefusalOf('approve', { actor, version: 3n }, standing)?.reason).toBe(reason)
  })

  test('and neither rejected nor sent elsewhere once it is being paid', () => {
    for (const status of ['paying', 'paid', 'rejected', 'cancelled'] as const)
      for (const act of ['reject', 'set address'] as const)
        expect(refundRefusalOf(act, { actor: 'user:8' }, refund({ status }))?.reason).toBe('REFUND_STATUS')
    expect(refundRefusalOf('set address', { actor: 'user:7' }, refund({ status: 'approved' }))).toBeDefined()
  })
})

describe('the payment state with refunds', () => {
  const of = (overrides: Partial<RefundedOrder>) =>
    refundStateOf({
      ...{ status: 'cancelled', paymentState: 'unresolved', due: 1_000n, dustFloor: 5n },
      ...{ received: 1_000n, paying: 0n, paid: 0n, owed: 0n },
      ...overrides,
    })
  test.each([
    ['without any is that of the payments', {}, 'unresolved'],
    ['in progress is refunding', { paying: 400n }, 'refunding'],
    ['of a part is partially refunded', { paid: 400n }, 'partially_refunded'],
    ['of all but dust is refunded', { paid: 995n }, 'refunded'],
    ['of an excess stays paid', { status: 'shipped', paymentState: 'paid', received: 1_200n, paying: 200n }, 'paid'],
    ['of a paid order is refunding', { status: 'shipped', paymentState: 'paid', paying: 200n }, 'refunding'],
    ['of a paid order, in part', { status: 'shipped', paymentState: 'paid', paid: 200n }, 'partially_refunded'],
    ['of a paid order, whole', { status: 'shipped', paymentState: 'paid', paid: 1_000n }, 'refunded'],
    [
      'of an excess is no goodwill once money is lost',
      { status: 'processing', paymentState: 'paid', paid: 200n, owed: 200n },
      'reversed',
    ],
    ['stops no alarm about lost money', { status: 'shipped', paymentState: 'at_risk', paid: 200n }, 'at_risk'],
    ['of an open order is that of the payments', { status: 'pending', paymentState: 'partial', paid: 200n }, 'partial'],
  ] as const)('%s', (_what, overrides, state) => {
    expect(of(overrides)).toBe(state)
  })

  test('stays paid for exactly as long as the order keeps enough', () => {
    const kept = minimumOf(1_000n)
    const paid = { status: 'delivered', paymentState: 'paid', received: 5_000n } as const
    expect(of({ ...paid, paid: 5_000n - kept })).toBe('paid')
    expect(of({ ...paid, paid: 5_001n - kept })).toBe('partially_refunded')
  })
})

describe('a look-alike', () => {
  test.each([
    ['0x1234aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa5678', '0x1234bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb5678', true],
    ['0x1234aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa5678', '0x1234aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa5678', false],
    ['0x1235aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa5678', '0x1234bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb5678', false],
    ['bc1qabcdxxxxxxxxxxxxxxxxxxwxyz', 'bc1qabcdyyyyyyyyyyyyyyyyyywxyz', true],
    ['bc1qabcdxxxxxxxxxxxxxxxxxxwxyz', 'bc1qabceyyyyyyyyyyyyyyyyyywxyz', false],
  ])('%s and %s: %s', (one, other, answer) => {
    expect(isLookAlike(one, other)).toBe(answer)
    expect(isLookAlike(other, one)).toBe(answer)
  })
})
