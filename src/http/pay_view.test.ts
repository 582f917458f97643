import { describe, expect, test } from '@jest/globals'
import type { PaymentFacts } from '../db/payment_page.ts'
import { PAYMENT_STATES } from '../domain/payment.ts'
import { ENGLISH } from './message/en.ts'
import { PAY_STAGES, payViewOf, type PayStage } from './pay_view.ts'

const NOW = new Date('2026-11-27T12:00:00Z')
const buildFacts = (overrides: Partial<PaymentFacts> = {}): PaymentFacts => ({
  orderId: '5c1f6c8e-7f0e-4d55-9d5c-8a2f6f1f0b11',
  status: 'pending',
  paymentState: 'awaiting',
  flags: [],
  cancelReason: null,
  currency: 'EUR',
  totalMinor: 2_500n,
  network: 'ethereum',
  asset: 'ETH',
  address: `0x${'ab'.repeat(20)}`,
  due: 1_000_000n,
  expiresAt: new Date(NOW.getTime() + 60_000),
  endsAt: new Date(NOW.getTime() + 120_000),
  seen: 0n,
  final: 0n,
  refunds: [],
  replacedBy: null,
  depth: null,
  needed: null,
  now: NOW,
  ...overrides,
})

describe('the stage', () => {
  test.each<[string, Partial<PaymentFacts>, PayStage]>([
    ['nothing was seen', {}, 'awaiting'],
    ['nothing was seen, within the grace', { expiresAt: NOW }, 'awaiting'],
    ['nothing was seen, and the time is over', { endsAt: NOW }, 'ended'],
    ['a part was seen, and not assessed yet', { seen: 1n }, 'partial'],
    ['a part was seen', { paymentState: 'partial', seen: 500_000n }, 'partial'],
    ['a part was seen, and the time is over', { paymentState: 'partial', seen: 500_000n, endsAt: NOW }, 'ended'],
    ['the part was replaced', { paymentState: 'partial' }, 'awaiting'],
    ['enough was seen, and not assessed yet', { seen: 999_000n }, 'seen'],
    ['one unit less than enough was seen', { seen: 998_999n }, 'partial'],
    ['enough was seen at the very end', { seen: 1_000_000n, endsAt: NOW }, 'seen'],
    ['enough was seen, in no block', { paymentState: 'confirming', seen: 1_000_000n }, 'seen'],
    ['enough was seen, in a block', { paymentState: 'confirming', seen: 1_000_000n, depth: 1 }, 'confirming'],
    [
      'too little at the end',
      { paymentState: 'unresolved', cancelReason: 'underpaid', flags: ['under'] },
      'too_little',
    ],
    ['all came late', { paymentState: 'unresolved', cancelReason: 'expired', flags: ['late'] }, 'too_late'],
    ['cancelled after payment', { paymentState: 'unresolved', cancelReason: 'customer' }, 'cancelled_paid'],
    [
      'cancelled, then paid late',
      { paymentState: 'unresolved', cancelReason: 'admin', flags: ['late'] },
      'cancelled_paid',
    ],
    [
      'its late money pays another order',
      {
        paymentState: 'expired',
        cancelReason: 'expired',
        flags: ['late'],
        replacedBy: { orderId: 'x', createdAt: NOW },
      },
      'replaced',
    ],
    ['out of stock', { paymentState: 'unresolved', cancelReason: 'out_of_stock' }, 'cancelled_paid'],
  ])('if %s', (_what, facts, stage) => {
    expect(payViewOf(buildFacts(facts)).stage).toBe(stage)
  })

  test('is one with texts, for every state of a payment', () => {
    for (const paymentState of PAYMENT_STATES) {
      const { stage } = payViewOf(buildFacts({ paymentState }))
      expect(PAY_STAGES).toContain(stage)
    }
    const keys = PAY_STAGES.flatMap((stage) => [`stage.${stage}.title`, `stage.${stage}.text`])
    expect(keys.filter((key) => !Object.hasOwn(ENGLISH, key))).toEqual([])
  })
})

describe('what is asked for', () => {
  test('is the amount due, then exactly the rest', () => {
    expect(payViewOf(buildFacts()).asks).toBe(1_000_000n)
    expect(payViewOf(buildFacts({ paymentState: 'partial', seen: 998_999n })).asks).toBe(1_001n)
  })

  test.each(PAYMENT_STATES.filter((state) => state !== 'awaiting' && state !== 'partial'))(
    'is nothing once the payment is %s: no page asks for money twice, or too late',
    (paymentState) => {
      expect(payViewOf(buildFacts({ paymentState })).asks).toBeUndefined()
    },
  )

  test('is nothing once enough was seen, or the time is over', () => {
    expect(payViewOf(buildFacts({ seen: 1_000_000n })).asks).toBeUndefined()
    expect(payViewOf(buildFacts({ endsAt: NOW })).asks).toBeUndefined()
  })
})

test.each([
  [null, 0],
  [1, 1],
  [12, 12],
  [500, 12],
])('a depth of %s is shown as %i of 12 confirmations', (depth, confirmations) => {
  expect(payViewOf(buildFacts({ depth }))).toMatchObject({ confirmations, needed: 12 })
})
