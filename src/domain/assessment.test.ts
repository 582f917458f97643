import { isDeepStrictEqual } from 'node:util'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { count, seed } from '../../test/support/scale.ts'
import {
  assess,
  decisionOf,
  holdOf,
  type AssessedOrder,
  type AssessInput,
  type Assessment,
  type Totals,
} from './assessment.ts'
import { CANCEL_REASONS, HOLDS, ORDER_STATUSES, type CancelReason, type OrderStatus } from './order.ts'
import { minimumOf, PAYMENT_STATES, TRANSFER_STATES, type PaymentState, type TransferState } from './payment.ts'

const DUE = 12_500_000_000_000_000n
const DUST = 10_000n

/** One output as it was credited. */
type Transfer = { amount: bigint; state: TransferState; isInTime: boolean }

/** What the database adds up (begin_assessment in migrations), output by output. */
function totalsOf(transfers: readonly Transfer[]): Totals {
  const totals = {
    seen: 0n,
    final: 0n,
    lateSeen: 0n,
    lateFinal: 0n,
    accepted: 0n,
    isLate: false,
    isReorged: false,
    isReplaced: false,
  }
  for (const { amount, state, isInTime } of transfers) {
    if (['seen', 'reorged', 'final'].includes(state)) totals[isInTime ? 'seen' : 'lateSeen'] += amount
    if (state === 'final') totals[isInTime ? 'final' : 'lateFinal'] += amount
    totals.isLate ||= !isInTime
    totals.isReorged ||= state === 'reorged'
    totals.isReplaced ||= state === 'replaced'
  }
  return totals
}

/** Amounts that make sums land on, just below and far from what is due, and around what is dust. */
const amounts = fc.oneof(
  fc.constantFrom(DUE, DUE / 2n, minimumOf(DUE), minimumOf(DUE) - 1n, DUE + 1n, DUST, DUST + 1n, 1n),
  fc.bigInt({ min: 1n, max: 2n * DUE }),
)
const transferLists = fc.array(
  fc.record({ amount: amounts, state: fc.constantFrom(...TRANSFER_STATES), isInTime: fc.boolean() }),
  { maxLength: 5 },
)
type Scene = Omit<AssessInput, 'totals'> & { transfers: readonly Transfer[] }
const scenes: fc.Arbitrary<Scene> = fc
  .record({
    status: fc.constantFrom(...ORDER_STATUSES),
    paymentState: fc.constantFrom(...PAYMENT_STATES),
    reason: fc.constantFrom(...CANCEL_REASONS),
    transfers: transferLists,
    isSuspended: fc.boolean(),
  })
  .map(({ reason, ...scene }) => ({
    ...scene,
    cancelReason: scene.status === 'cancelled' ? reason : null,
    due: DUE,
    dustFloor: DUST,
  }))
const assessed = ({ transfers, ...rest }: Scene): Assessment => assess({ ...rest, totals: totalsOf(transfers) })

/** The machine of requirements D-1, D-7 and D-9 once more: a table of which sums are there, read from top to bottom. */
function oracle({ status, paymentState, cancelReason, due, dustFloor, transfers, isSuspended }: Scene): Assessment {
  const total = (isLate: boolean, ...states: readonly string[]): bigint => {
    let sum = 0n
    for (const one of transfers) if (states.includes(one.state) && one.isInTime !== isLate) sum += one.amount
    return sum
  }
  const [final, seen] = [total(false, 'final'), total(false, 'final', 'seen', 'reorged')]
  const [lateFinal, everFinal] = [total(true, 'final'), total(true, 'final') + final]
  const waiting = total(false, 'seen', 'reorged') + total(true, 'seen', 'reorged')
  const lacks = (sum: bigint): boolean => (due - sum) * 1_000n > due
  const excess = final > due ? final - due : 0n
  const owed = (status === 'cancelled' ? final : excess) + lateFinal
  const open: [boolean, PaymentState][] = [
    [!lacks(final) && !isSuspended, 'paid'],
    [!lacks(seen), 'confirming'],
    [seen > 0n, 'partial'],
    [true, 'awaiting'],
  ]
  const accepted: [boolean, PaymentState][] = [
    [!lacks(final), 'paid'],
    [!lacks(seen), 'at_risk'],
    [true, 'reversed'],
  ]
  const ended: [boolean, PaymentState][] = [
    [owed > dustFloor, 'unresolved'],
    [waiting > 0n, 'late_confirming'],
    [cancelReason === 'expired', 'expired'],
    [true, 'cancelled'],
  ]
  const table = { pending: open, processing: accepted, shipped: accepted, delivered: accepted, cancelled: ended }[
    status
  ]
  const next = table.find(([applies]) => applies)?.[1] ?? paymentState
  const flags = {
    over: everFinal > due,
    within_tolerance: next === 'paid' && final < due,
    under: status === 'cancelled' && everFinal + waiting > 0n && lacks(everFinal + waiting),
    late: transfers.some(({ isInTime }) => !isInTime),
    reorged: transfers.some(({ state }) => state === 'reorged'),
    replaced: transfers.some(({ state }) => state === 'replaced'),
  }
  return {
    paymentState: next,
    flags: (Object.keys(flags) as (keyof typeof flags)[]).filter((flag) => flags[flag]),
    refundDue: owed > dustFloor ? owed : 0n,
  }
}

const ofOrder = (
  status: OrderStatus,
  transfers: readonly Transfer[],
  paymentState: PaymentState = 'awaiting',
  cancelReason: CancelReason | null = status === 'cancelled' ? 'expired' : null,
) => assessed({ status, paymentState, cancelReason, due: DUE, dustFloor: DUST, transfers, isSuspended: false })
const transfer = (overrides: Partial<Transfer> = {}): Transfer => ({
  amount: DUE,
  state: 'final',
  isInTime: true,
  ...overrides,
})
const LATE = { isInTime: false }

describe('assess', () => {
  const options = { numRuns: count(20_000, 1_000_000), seed }

  test('agrees with an oracle written from the requirements', () => {
    fc.assert(
      fc.property(scenes, (scene) => isDeepStrictEqual(assessed(scene), oracle(scene))),
      options,
    )
  })

  test('moves no order by money that was replaced or dropped', () => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const counted = scene.transfers.filter(({ state }) => state !== 'replaced' && state !== 'dropped')
        const [all, some] = [assessed(scene), assessed({ ...scene, transfers: counted })]
        return all.paymentState === some.paymentState && all.refundDue === some.refundDue
      }),
      options,
    )
  })

  test('never takes late money for the payment of an order, whatever its status', () => {
    fc.assert(
      fc.property(
        scenes.filter(({ status }) => status !== 'cancelled'),
        (scene) => {
          const inTime = scene.transfers.filter(({ isInTime }) => isInTime)
          return assessed(scene).paymentState === assessed({ ...scene, transfers: inTime }).paymentState
        },
      ),
      options,
    )
  })

  test('owes every final unit above the due or after the window, unless it is dust in sum', () => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const { final, lateFinal } = totalsOf(scene.transfers)
        const kept = scene.status === 'cancelled' ? 0n : final < DUE ? final : DUE
        const missing = final + lateFinal - kept - assessed(scene).refundDue
        return missing === 0n || (missing > 0n && missing <= DUST && assessed(scene).refundDue === 0n)
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
    ['one unit more', [transfer({ amount: DUE + 1n })], 'paid', ['over'], 0n],
    ['as much more as is dust', [transfer({ amount: DUE + DUST })], 'paid', ['over'], 0n],
    ['a unit more than dust', [transfer({ amount: DUE + DUST + 1n })], 'paid', ['over'], DUST + 1n],
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
    ['what lost its block and may come back', [transfer({ state: 'reorged' })], 'confirming', ['reorged'], 0n],
    ['all of it too late', [transfer(LATE)], 'awaiting', ['late'], DUE],
    ['all of it too late, seen', [transfer({ ...LATE, state: 'seen' })], 'awaiting', ['late'], 0n],
    [
      'half of it in time and half too late',
      [transfer({ amount: DUE / 2n }), transfer({ ...LATE, amount: DUE / 2n })],
      'partial',
      ['late'],
      DUE / 2n,
    ],
    [
      'what was replaced',
      [transfer({ state: 'replaced' }), transfer({ state: 'seen' })],
      'confirming',
      ['replaced'],
      0n,
    ],
  ] as const)('of an open order that got %s', (_what, transfers, paymentState, flags, refundDue) => {
    expect(ofOrder('pending', transfers)).toEqual({ paymentState, flags, refundDue })
  })

  test.each(['processing', 'shipped', 'delivered'] as const)(
    'puts a %s order at risk while its money may come back, and calls it reversed when that is gone',
    (status) => {
      expect(ofOrder(status, [transfer({ state: 'reorged' })], 'paid')).toMatchObject({
        paymentState: 'at_risk',
        flags: ['reorged'],
      })
      expect(ofOrder(status, [transfer({ state: 'dropped' })], 'at_risk').paymentState).toBe('reversed')
      expect(ofOrder(status, [transfer()], 'at_risk').paymentState).toBe('paid')
      expect(ofOrder(status, [transfer()], 'reversed').paymentState).toBe('paid')
    },
  )

  test('never reopens an order that ended: its money is owed back', () => {
    expect(ofOrder('cancelled', [], 'expired')).toMatchObject({ paymentState: 'expired', refundDue: 0n })
    expect(ofOrder('cancelled', [transfer({ state: 'seen', isInTime: false })], 'expired')).toMatchObject({
      paymentState: 'late_confirming',
      flags: ['late'],
      refundDue: 0n,
    })
    expect(ofOrder('cancelled', [transfer({ amount: DUST + 1n })], 'expired')).toMatchObject({
      paymentState: 'unresolved',
      flags: ['under'],
      refundDue: DUST + 1n,
    })
  })

  test('calls an order that ended underpaid as soon as too little is seen, and no longer once it is lost', () => {
    const part = (state: Transfer['state']) => [transfer({ amount: DUE / 2n, state })]
    for (const state of ['seen', 'reorged', 'final'] as const)
      expect(ofOrder('cancelled', part(state), 'expired').flags).toContain('under')
    expect(ofOrder('cancelled', part('dropped'), 'late_confirming').flags).not.toContain('under')
    expect(ofOrder('cancelled', [...part('final'), ...part('seen')], 'expired').flags).not.toContain('under')
  })

  test('forgets late money that never became final: the order is as it ended', () => {
    const gone = [transfer({ state: 'dropped', isInTime: false })]
    expect(ofOrder('cancelled', gone, 'late_confirming').paymentState).toBe('expired')
    expect(ofOrder('cancelled', gone, 'late_confirming', 'customer').paymentState).toBe('cancelled')
  })

  test('pays no order while its network is suspended, and changes nothing for paid ones', () => {
    const scene = { cancelReason: null, due: DUE, dustFloor: DUST, transfers: [transfer()], isSuspended: true } as const
    expect(assessed({ ...scene, status: 'pending', paymentState: 'confirming' }).paymentState).toBe('confirming')
    expect(assessed({ ...scene, status: 'processing', paymentState: 'paid' }).paymentState).toBe('paid')
  })

  test('asks no person about dust that came to an order that ended', () => {
    expect(ofOrder('cancelled', [transfer({ amount: DUST })], 'expired')).toMatchObject({
      paymentState: 'expired',
      refundDue: 0n,
    })
  })
})

const order: AssessedOrder = {
  status: 'pending',
  paymentState: 'awaiting',
  cancelReason: null,
  hold: 'none',
  flags: [],
  hasWrongAsset: false,
  hasEarly: false,
  due: DUE,
  dustFloor: DUST,
  totals: totalsOf([]),
  isSuspended: false,
}
const decided = (overrides: Partial<AssessedOrder> = {}) => decisionOf({ ...order, ...overrides })

describe('a decision', () => {
  test('moves a pending order that is paid to processing, and no other order by money', () => {
    for (const status of ORDER_STATUSES) {
      expect(decided({ status, totals: totalsOf([transfer()]) }).status).toBe(
        status === 'pending' ? 'processing' : status,
      )
      expect(decided({ status, totals: totalsOf([transfer({ state: 'seen' })]) }).status).toBe(status)
    }
  })

  test('says what assess says of the money', () => {
    fc.assert(
      fc.property(scenes, ({ transfers, ...scene }) => {
        const { paymentState, refundDue } = assessed({ ...scene, transfers })
        const made = decided({ ...scene, totals: totalsOf(transfers) })
        return made.paymentState === paymentState && made.refundDue === refundDue
      }),
      { numRuns: count(1_000, 100_000), seed },
    )
  })

  test('recomputes what the sums say, keeps every other flag, and sorts them', () => {
    const flags = ['over', 'within_tolerance', 'under', 'slow_confirm', 'late', 'manual'] as const
    expect(decided({ flags }).flags).toEqual(['late', 'manual', 'slow_confirm', 'within_tolerance'])
    expect(decided({ flags: ['slow_confirm'], totals: totalsOf([transfer({ amount: DUE + 1n })]) }).flags).toEqual([
      'over',
      'slow_confirm',
    ])
  })

  test('notes money of another asset, and asks an operator about money from before the order', () => {
    expect(decided({ hasWrongAsset: true, hasEarly: true }).flags).toEqual(['manual', 'wrong_asset'])
    expect(decided().flags).toEqual([])
  })

  test('stops the shipping of an order whose money may be gone, and releases it when the money is back', () => {
    const paid = { status: 'processing', paymentState: 'paid' } as const
    const lost = decided({ ...paid, totals: totalsOf([transfer({ state: 'reorged' })]) })
    expect(lost).toMatchObject({ paymentState: 'at_risk', hold: 'payment', status: 'processing' })
    expect(decided({ ...paid, ...lost, totals: totalsOf([transfer()]) })).toMatchObject({
      paymentState: 'paid',
      hold: 'none',
    })
  })
})

describe('the hold of an order', () => {
  test('changes in processing alone', () => {
    for (const status of ORDER_STATUSES.filter((one) => one !== 'processing'))
      for (const hold of HOLDS) for (const state of PAYMENT_STATES) expect(holdOf(hold, status, state)).toBe(hold)
  })

  test("is the money's where there was none, and an operator's is left alone", () => {
    for (const state of PAYMENT_STATES) {
      const isGone = state === 'at_risk' || state === 'reversed'
      expect(holdOf('none', 'processing', state)).toBe(isGone ? 'payment' : 'none')
      expect(holdOf('payment', 'processing', state)).toBe(state === 'paid' ? 'none' : 'payment')
      for (const hold of ['fraud', 'manual'] as const) expect(holdOf(hold, 'processing', state)).toBe(hold)
    }
  })
})
