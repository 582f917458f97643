import { describe, expect, test } from '@jest/globals'
import { explainOrderMoney, type OrderFacts } from './explanation.ts'
import { CANCEL_REASONS, HOLDS } from './order.ts'
import { PAYMENT_STATES, type PaymentState } from './payment.ts'
import { REFUND_STATUSES } from './refund.ts'

const ETH = 10n ** 18n
const ENDS_AT = new Date('2026-05-01T12:00:00Z')
const NO_MONEY = { seen: 0n, final: 0n, lateSeen: 0n, lateFinal: 0n, owed: 0n }

const WAITING: OrderFacts = {
  ...{ status: 'pending', paymentState: 'awaiting', hold: 'none', cancelReason: null },
  ...{ network: 'ethereum', asset: 'ETH', due: ETH, endsAt: ENDS_AT, now: new Date('2026-05-01T11:30:00Z') },
  ...{ money: NO_MONEY, confirmations: undefined, waitingReports: 0n, doubts: [], hasWrongAsset: false },
  ...{ hasEarly: false, late: null, replacesOrderId: null, suspensions: [], isSuspended: false, refunds: [] },
}
const AFTER = { now: new Date('2026-05-01T12:30:00Z') }
const PAID: Partial<OrderFacts> = {
  ...{ status: 'processing', paymentState: 'paid' },
  money: { ...NO_MONEY, seen: ETH, final: ETH },
}
const EXPIRED: Partial<OrderFacts> = { ...AFTER, status: 'cancelled', cancelReason: 'expired', paymentState: 'expired' }
const explained = (...changes: Partial<OrderFacts>[]): string =>
  explainOrderMoney(Object.assign({}, WAITING, ...changes) as OrderFacts)
const money = (change: Partial<OrderFacts['money']>) => ({ money: { ...NO_MONEY, ...change } })

const STATES: Readonly<Record<PaymentState, readonly [Partial<OrderFacts>, string][]>> = {
  awaiting: [
    [{}, 'It waits for 1 ETH until 2026-05-01 12:00 UTC; no money was seen yet.'],
    [
      AFTER,
      'No money was seen until 2026-05-01 12:00 UTC, its last moment. It expires once the watcher has read the chain ' +
        'past that moment, unless a payment from before is found until then.',
    ],
  ],
  partial: [
    [
      money({ seen: ETH / 4n }),
      '0.25 ETH of 1 ETH was seen. 0.75 ETH is missing, and may come to the same address until 2026-05-01 12:00 UTC.',
    ],
    [
      { ...AFTER, ...money({ seen: ETH / 4n }) },
      'Only 0.25 ETH of 1 ETH was seen. Its last moment was 2026-05-01 12:00 UTC. It expires once the watcher has read ' +
        'the chain past that moment, unless a payment from before is found until then.',
    ],
  ],
  confirming: [
    [
      money({ seen: ETH }),
      'Enough money was seen: 1 ETH of 1 ETH. 0 ETH of it is final. The rest is in no block yet; it needs 12 confirmations.',
    ],
    [
      { ...money({ seen: ETH, final: ETH / 2n }), confirmations: 5 },
      'Enough money was seen: 1 ETH of 1 ETH. 0.5 ETH of it is final. The rest has 5 of at least 12 confirmations.',
    ],
    [
      { ...money({ seen: ETH, final: ETH }), isSuspended: true, suspensions: [{ cause: 'deep_reorg' }] },
      'Enough money is final: 1 ETH. No order of ethereum becomes paid at the moment: a reorganisation went below final ' +
        'blocks, and an operator must look at it.',
    ],
  ],
  paid: [
    [PAID, 'It is paid: 1 ETH is final. It waits to be shipped.'],
    [
      { ...PAID, status: 'shipped', ...money({ final: 2n * ETH }) },
      'It is paid: 2 ETH is final, 1 ETH more than was due. It is shipped.',
    ],
    [
      { ...PAID, status: 'delivered', ...money({ final: ETH - ETH / 1000n }) },
      'It is paid: 0.999 ETH is final, which is accepted although 0.001 ETH is missing. It is delivered.',
    ],
    [{ ...PAID, hold: 'fraud' }, 'It is paid: 1 ETH is final. A fraud review stops it from being shipped.'],
  ],
  at_risk: [
    [
      { ...PAID, hold: 'payment', ...money({ seen: ETH }) },
      'It was paid, and a reorganisation took money out of the chain again: 0 ETH of 1 ETH is final. It is not shipped ' +
        'meanwhile. It is paid again once that money is final, and reversed if it is lost.',
    ],
    [
      { ...PAID, status: 'shipped', ...money({ seen: ETH }) },
      'It was paid, and a reorganisation took money out of the chain again: 0 ETH of 1 ETH is final. The goods have ' +
        'left. It is paid again once that money is final, and reversed if it is lost.',
    ],
  ],
  reversed: [
    [
      { ...PAID, hold: 'payment', ...NO_MONEY, ...money({}) },
      'It was paid, and the money is lost: 0 ETH of 1 ETH is final. It is not shipped meanwhile. Ask the customer to pay ' +
        'again, or cancel the order.',
    ],
  ],
  expired: [[EXPIRED, 'It expired: no money is owed for it.']],
  late_confirming: [
    [
      { ...EXPIRED, ...money({ lateSeen: ETH }) },
      'It expired, and money came that is not final yet: 1 ETH was seen. What becomes of it is decided once it is final.',
    ],
  ],
  unresolved: [
    [
      {
        ...{
          ...EXPIRED,
          ...money({ lateFinal: ETH, owed: ETH }),
          late: { replacementId: null, refusal: 'out_of_stock' },
        },
        refunds: [{ status: 'awaiting_destination', asset: 'ETH', amount: ETH, approvals: 0 }],
      },
      'It expired, and has money that goes back: 1 ETH. Its late money could not buy it again: the stock was gone. A ' +
        'refund of 1 ETH waits for an address, which the customer gives and confirms.',
    ],
  ],
  cancelled: [
    [{ status: 'cancelled', cancelReason: 'customer' }, 'The customer cancelled it, and no money is owed for it.'],
  ],
  refunding: [
    [
      {
        ...{ status: 'cancelled', cancelReason: 'admin' },
        refunds: [{ status: 'paying', asset: 'ETH', amount: ETH, approvals: 2 }],
      },
      'Its money is being sent back. A refund of 1 ETH is being sent.',
    ],
  ],
  partially_refunded: [
    [
      {
        status: 'cancelled',
        refunds: [
          { status: 'paid', asset: 'ETH', amount: ETH / 2n, approvals: 2 },
          { status: 'awaiting_approval', asset: 'ETH', amount: ETH / 2n, approvals: 1 },
        ],
      },
      'A part of its money was sent back. A refund of 0.5 ETH waits for approval by two people; it has 1. A refund of ' +
        '0.5 ETH was sent, and is final.',
    ],
  ],
  refunded: [
    [
      { status: 'cancelled', refunds: [{ status: 'paid', asset: 'ETH', amount: ETH, approvals: 2 }] },
      'All of its money was sent back. A refund of 1 ETH was sent, and is final.',
    ],
  ],
}

describe('an order is explained', () => {
  test.each(
    PAYMENT_STATES.flatMap((state) =>
      STATES[state].map(([change, text]): [string, PaymentState, Partial<OrderFacts>] => [text, state, change]),
    ),
  )('%s', (text, paymentState, change) => {
    expect(explained(change, { paymentState })).toBe(text)
  })

  test('in one sentence at least for each state, status reason and hold', () => {
    for (const paymentState of PAYMENT_STATES)
      for (const cancelReason of [null, ...CANCEL_REASONS])
        for (const hold of HOLDS)
          for (const status of ['pending', 'processing', 'shipped', 'delivered', 'cancelled'] as const)
            expect(explained({ paymentState, cancelReason, hold, status })).toMatch(/^[A-Z0-9].*\.$/s)
  })
})

describe('the explanation says also', () => {
  test('which order its late money pays, and which pays it', () => {
    expect(explained(EXPIRED, { late: { replacementId: 'b', refusal: null } })).toBe(
      'It expired: no money is owed for it. Its late money pays order b.',
    )
    expect(explained(PAID, { replacesOrderId: 'a' })).toContain('The late money of order a pays it.')
  })

  test('that money came which pays nothing', () => {
    expect(explained({ hasWrongAsset: true })).toContain('in another asset than ETH')
    expect(explained({ hasEarly: true })).toContain('before the order was made')
  })

  test('that reports wait for a worker', () => {
    expect(explained({ waitingReports: 1n })).toContain('1 report waits to be assessed')
    expect(explained({ waitingReports: 3n })).toContain('3 reports wait to be assessed')
  })

  test('that its sources are too few, or contradict each other', () => {
    expect(explained({ doubts: [{ kind: 'lone' }] })).toContain('waits for another source')
    expect(explained({ doubts: [{ kind: 'differing' }] })).toContain('contradict each other')
  })

  test('that its network is suspended, unless nothing can change any more', () => {
    const suspended = { suspensions: [{ cause: 'sources_differ' }] }
    expect(explained(suspended)).toContain('No order of ethereum becomes paid at the moment: two sources contradict')
    expect(explained(suspended, { paymentState: 'refunded' })).not.toContain('at the moment')
  })

  test('what each open refund waits for, and of many how many more there are', () => {
    const refund = { asset: 'ETH' as const, amount: ETH, approvals: 0 }
    for (const status of REFUND_STATUSES) {
      const told = explained(PAID, { refunds: [{ ...refund, status }] })
      expect(told.includes('A refund of 1 ETH')).toBe(status !== 'rejected' && status !== 'cancelled')
    }
    const many = Array.from({ length: 9 }, () => ({ ...refund, status: 'approved' as const }))
    expect(explained(PAID, { refunds: many })).toContain('There are 6 more refunds.')
  })
})
