// The judge of kill chaos sees each kind of fault, and a seed makes the same plan again.

import { describe, expect, test } from '@jest/globals'
import type { Transfer } from './chain_truth.ts'
import { differencesOf, type Books } from './judge.ts'
import { planOf, VICTIMS, WAYS, type Way } from './plan.ts'

const SIZE = { payments: 500, refunds: 200, kills: 100 }

describe('a plan', () => {
  test('has as many payments and refunds as it should, and every process is killed', () => {
    const { ways, kills } = planOf(1, SIZE)
    expect(ways.reduce((sum, way) => sum + WAYS[way].outputs, 0)).toBe(SIZE.payments)
    expect(ways.filter((way) => WAYS[way].isOwed)).toHaveLength(SIZE.refunds)
    expect(new Set(ways)).toEqual(new Set(Object.keys(WAYS) as Way[]))
    expect(kills).toHaveLength(SIZE.kills)
    expect(new Set(kills.map(({ victim }) => victim))).toEqual(new Set(VICTIMS))
  })

  test('is the same again for the same seed, and another for another', () => {
    expect(planOf(7, SIZE)).toEqual(planOf(7, SIZE))
    expect(planOf(8, SIZE)).not.toEqual(planOf(7, SIZE))
  })
})

const WALLET = '0xw'
const FEE = 21n
const ETHER = 10n ** 18n
const transfer = (txId: string, to: string, value: bigint, from = WALLET): Transfer => ({
  ...{ txId, from, to, value, fee: FEE },
})

/** An order that was paid two ether for one, and the ether too much that went back. */
function rightBooks(): { books: Books; transfers: Transfer[] } {
  const order = { order_id: 'o', status: 'processing', payment_state: 'paid', address: '0xa', due: String(ETHER) }
  return {
    books: {
      orders: [{ ...order, replacement_id: null, replaces: null }],
      payments: [{ order_id: 'o', tx_id: 't1', amount: String(2n * ETHER), state: 'final' }],
      refunds: [
        { refund_id: 'r', order_id: 'o', user_id: '1', status: 'paid', amount: String(ETHER), destination: '0xd' },
      ],
      ledger: {
        zero: '0',
        received: String(2n * ETHER),
        refunded: String(-ETHER - FEE),
        fees: String(FEE),
      },
    },
    transfers: [transfer('t1', '0xa', 2n * ETHER), transfer('t2', '0xd', ETHER, '0xp')],
  }
}

type Right = ReturnType<typeof rightBooks>
const FAULTS: readonly [string, (right: Right) => Right, RegExp][] = [
  [
    'an output that was credited twice',
    ({ books, transfers }) => ({ transfers, books: { ...books, payments: [...books.payments, ...books.payments] } }),
    /credited \[t1 .*,t1 /,
  ],
  [
    'an output that was not credited',
    ({ books, transfers }) => ({ transfers, books: { ...books, payments: [] } }),
    /credited \[\], the chain has \[t1 /,
  ],
  [
    'a refund that was sent twice',
    ({ books, transfers }) => ({ books, transfers: [...transfers, transfer('t3', '0xd', ETHER, '0xp')] }),
    /refund r \(paid\) .* was sent as \[t2 .*,t3 /,
  ],
  [
    'a refund that is paid and was never sent',
    ({ books, transfers }) => ({ books, transfers: transfers.slice(0, 1) }),
    /refund r \(paid\) .* was sent as \[\]/,
  ],
  [
    'money that is owed and was not given back',
    ({ books, transfers }) => ({ transfers: transfers.slice(0, 1), books: { ...books, refunds: [] } }),
    /is owed back, 0 was/,
  ],
  [
    'an order that goes on without its money',
    ({ books, transfers: [, refund] }) => ({ books, transfers: refund === undefined ? [] : [refund] }),
    /it goes on with 0 of/,
  ],
  [
    'a transfer to an unknown address',
    ({ books, transfers }) => ({ books, transfers: [...transfers, transfer('t4', '0xe', 1n, '0xp')] }),
    /t4 went to an unknown address/,
  ],
  [
    'a ledger that does not say what the chain says',
    ({ books, transfers }) => ({ transfers, books: { ...books, ledger: { ...books.ledger, received: '1' } } }),
    /the ledger says/,
  ],
]

describe('the judge', () => {
  test('says nothing about books that are right', () => {
    const { books, transfers } = rightBooks()
    expect(differencesOf(books, transfers, WALLET)).toEqual([])
  })

  test.each(FAULTS)('names %s', (_fault, change, message) => {
    const { books, transfers } = change(rightBooks())
    expect(differencesOf(books, transfers, WALLET).join('\n')).toMatch(message)
  })

  test('counts late money at the order that it buys, and its excess as owed by the order that expired', () => {
    const { books, transfers } = rightBooks()
    const [order] = books.orders
    if (order === undefined) throw new Error('there is an order')
    const expired = { ...order, status: 'cancelled', payment_state: 'expired', replacement_id: 'o2' }
    const bought = { ...order, order_id: 'o2', address: '0xb', replaces: 'o' }
    expect(differencesOf({ ...books, orders: [expired, bought] }, transfers, WALLET)).toEqual([])
    // Once that is cancelled too, all of the money is owed back.
    const given = { ...bought, status: 'cancelled', payment_state: 'cancelled' }
    expect(differencesOf({ ...books, orders: [expired, given] }, transfers, WALLET)).toEqual([
      expect.stringContaining(`order o (cancelled, expired): ${2n * ETHER} is owed back, ${ETHER} was`),
    ])
  })
})
