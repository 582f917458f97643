// The table of edge cases of payments: each of its rows has a test that is named here, or a reason why it has none yet.

import { expect, test } from '@jest/globals'
import { findSources, readSource } from './support/source.ts'

const ROWS = 64
/** Files whose tests are named after the row: «edge 16: …». */
const NAMED_IN = [
  'test/database/payment_edge.int.test.ts',
  'src/chain/ethereum_edge.int.test.ts',
  'src/chain/ignored.int.test.ts',
]

/** Rows that a test of another name proves: its file and name. */
const PROVEN: Readonly<Record<number, readonly [file: string, title: string]>> = {
  13: [
    'src/db/payment_judged.int.test.ts',
    'thousands of outputs to one address end in the right state, a bounded piece at a time',
  ],
  15: ['src/db/accept/accept.int.test.ts', 'has a total between a cent and what fits its column'],
  28: ['src/grpc/payment.int.test.ts', 'a report is refused when its signature, time or size is wrong'],
  38: ['test/database/source.int.test.ts', 'gives no quotes, pays no order and lets none expire'],
  55: [
    'src/grpc/payment.int.test.ts',
    'the same fact many times over many requests is one row, and every answer is the same',
  ],
  56: ['src/chain/ethereum.int.test.ts', 'an address in mixed case is the same address'],
  59: [
    'src/db/payment.int.test.ts',
    "an address is asked of one order, and an output counted once, by the database's own keys",
  ],
  62: ['src/grpc/order.int.test.ts', 'sent many times at once is one order with byte-equal answers'],
  63: ['src/relay/notify.int.test.ts', 'holds up no order, and is told all when it is back'],
  64: [
    'test/database/source.int.test.ts',
    '1,000 validly signed lies of one watcher pay nothing, owe nothing and are told apart',
  ],
}

const OTHER_CHAIN = 'of a chain that the shop does not take yet'
/** Rows without a test, and why. */
const OPEN: Readonly<Record<number, string>> = {
  14: 'Ethereum has neither a dust limit nor a rent; of the others, each is of a chain that the shop does not take yet',
  27: 'an order is paid in one coin and by no other method',
  39: OTHER_CHAIN,
  40: OTHER_CHAIN,
  41: OTHER_CHAIN,
  46: OTHER_CHAIN,
  47: OTHER_CHAIN,
  48: OTHER_CHAIN,
  49: OTHER_CHAIN,
}

const named = new Set(
  NAMED_IN.flatMap((file) => [...readSource(file).matchAll(/'edge (\d+): /g)].map(([, row]) => Number(row))),
)

test('each row of the table of edge cases has a test, or a reason why it has none', () => {
  const rows = Array.from({ length: ROWS }, (_, index) => index + 1)
  expect(rows.filter((row) => !named.has(row) && !(row in PROVEN) && !(row in OPEN))).toEqual([])
})

test('no row that has a test is said to have none', () => {
  expect(Object.keys(OPEN).filter((row) => named.has(Number(row)) || row in PROVEN)).toEqual([])
})

test('the tests that prove a row exist', () => {
  const files = new Set(findSources('{src,test}/**/*.test.ts'))
  const lost = Object.entries(PROVEN).filter(
    ([, [file, title]]) => !files.has(file) || !readSource(file).includes(title),
  )
  expect(lost).toEqual([])
})
