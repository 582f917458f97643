import { expect, test } from '@jest/globals'
import { readTokenTransfers } from './ethereum_token.ts'

const TRANSFER = '0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef'
const word = (text: string): string => `0x${text.padStart(64, '0')}`
const [TOKEN, FROM, TO, TX] = ['aa', 'bb', 'cc', '11'].map((byte) => byte.repeat(20)) as [
  string,
  string,
  string,
  string,
]
const txId = `0x${TX.padEnd(64, '1')}`
const LOG = {
  address: `0x${TOKEN.toUpperCase()}`,
  topics: [TRANSFER, word(FROM), word(TO)],
  data: word('7'),
  logIndex: '0x5',
}
const read = (log: unknown) => readTokenTransfers([{ transactionHash: txId, logs: [log] }])

test('a transfer is read with its contract, its log and the accounts that the contract claims', () => {
  expect(read(LOG)).toEqual([
    { txId, logIndex: 5, token: `0x${TOKEN}`, sender: `0x${FROM}`, address: `0x${TO}`, amount: 7n },
  ])
})

test('the greatest amount of a token fits its column of 78 digits', () => {
  const [found] = read({ ...LOG, data: word('f'.repeat(64)) })
  expect(found?.amount).toBe(2n ** 256n - 1n)
  expect(found?.amount.toString()).toHaveLength(78)
})

test('a token that is one of a kind counts as one, whatever its number', () => {
  expect(read({ ...LOG, topics: [...LOG.topics, word('0')], data: '0x' })).toMatchObject([{ amount: 1n }])
})

test.each<[string, unknown]>([
  ['of nothing', { ...LOG, data: word('0') }],
  ['of another event', { ...LOG, topics: [word('1'), word(FROM), word(TO)] }],
  ['without a recipient', { ...LOG, topics: [TRANSFER, word(FROM)] }],
  ['to no address', { ...LOG, topics: [TRANSFER, word(FROM), `0x1${'0'.repeat(63)}`] }],
  ['with too short data', { ...LOG, data: '0x07' }],
  ['with a long index', { ...LOG, logIndex: '0x100000000' }],
  ['with more topics than there can be', { ...LOG, topics: Array(9).fill(TRANSFER) }],
  ['that is no object', 7],
  ['that is nothing', null],
])('a log %s is left out, and is no error', (_what, log) => {
  expect(read(log)).toEqual([])
})

test('a receipt without logs, or with logs that are no list, has no transfers', () => {
  expect(readTokenTransfers([{ transactionHash: txId }, { transactionHash: txId, logs: 'all' }])).toEqual([])
})
