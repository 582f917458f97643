// Rights of the watcher's role: it does its own work by itself, and an operator's only in an operator's name.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'

const NETWORK = 'operated'
const OPERATOR = { actor: 'operator:ann', role: 'admin', reason: 'as the book says' }

let shop: TestShop
let session: pg.Client
let address: string
beforeAll(async () => {
  shop = await createTestShop()
  address = (await shop.order({ network: NETWORK })).address
  await shop.query(
    `insert into chain_status (network, start_height, scanned_height, settled_height, tip_height) values ($1, 5, 9, 7, 9)`,
    [NETWORK],
  )
  session = new pg.Client({ connectionString: shop.test.urlOf('watcher'), options: '-c holdfast.source=watcher-1' })
  await session.connect()
})
beforeEach(async () => {
  await shop.query('delete from chain_balance')
  await shop.query(
    `insert into chain_balance (network, address, height, block_hash, balance, told, set_aside, unexplained, checked_at, found_at)
     values ($1, $2, 9, 'h9', 12, 0, 3, 9, now(), now())`,
    [NETWORK, address],
  )
})
afterAll(async () => {
  await session.end()
  await shop.close()
})

/** The result of statements in one transaction, always rolled back. */
async function outcome(by: unknown, ...texts: string[]): Promise<string> {
  await session.query('begin')
  try {
    await session.query(`select set_config('holdfast.actor', $1, true)`, [JSON.stringify(by)])
    for (const text of texts) await session.query(text)
    await session.query('set constraints all immediate')
    return 'done'
  } catch (error) {
    return (error as { code: string }).code
  } finally {
    await session.query('rollback')
  }
}

const noteHeight = (operation: string, height: number) =>
  `insert into chain_operation (network, operation, height, reason) values ('${NETWORK}', '${operation}', ${height}, 'why')`
const noteAmount = (operation: string, amount: bigint, of = address) =>
  `insert into chain_operation (network, operation, address, amount, reason)
   values ('${NETWORK}', '${operation}', '${of}', ${amount}, 'why')`
const SET_ASIDE = `update chain_balance set set_aside = set_aside + unexplained, unexplained = 0, found_at = null`
const attribute = (isAttributed: boolean) =>
  `insert into chain_output (network, tx_id, output_index, asset, address, amount, state, seq, block_height, block_hash,
     first_seen_at, is_attributed)
   values ('${NETWORK}', '0x${'a'.repeat(64)}', 0, 'ETH', '${address}', 9, 'seen', 1, 9, 'h9', now(), ${isAttributed})`

describe('an operation', () => {
  test.each([
    ['an operator who is an admin', OPERATOR, 'done'],
    ['a customer', { actor: 'user:1', role: 'customer' }, 'HF022'],
    ['an admin of the shop', { actor: 'user:1', role: 'admin' }, 'HF022'],
    ['the watcher itself', { actor: 'watcher:w1', role: 'watcher' }, 'HF022'],
    ['an operator without a name', { actor: 'operator:', role: 'admin' }, 'HF022'],
    ['an operator who is no admin', { actor: 'operator:ann', role: 'watcher' }, 'HF022'],
  ])('is noted by %s: %j, %s', async (_who, by, expected) => {
    expect(await outcome(by, noteHeight('rewind', 5))).toBe(expected)
  })

  const start = 'update chain_status set start_height = 6'
  const leave = 'update chain_status set rewind_to = 5, rewind_given_at = scanned_height'
  test.each<[string, () => string, () => string, () => string]>([
    ['setting money aside', () => SET_ASIDE, () => noteAmount('set_aside', 9n), () => noteAmount('set_aside', 8n)],
    ['attributing money', () => attribute(true), () => noteAmount('attribute', 9n), () => noteAmount('set_aside', 9n)],
    ['another start', () => start, () => noteHeight('start', 6), () => noteHeight('start', 7)],
    ['a leave to rewind', () => leave, () => noteHeight('rewind', 5), () => noteHeight('start', 5)],
  ])('is done behind its note alone: %s', async (_what, change, note, otherNote) => {
    const text = change()
    expect(await outcome(OPERATOR, text)).toBe('HF022')
    expect(await outcome(OPERATOR, otherNote(), text)).toBe('HF022')
    expect(await outcome(OPERATOR, note(), text)).toBe('done')
  })
})

test('what a watcher does by itself needs no note', async () => {
  const by = { actor: 'watcher:w1', role: 'watcher' }
  expect(await outcome(by, `update chain_balance set set_aside = 1, unexplained = 11`)).toBe('done')
  expect(await outcome(by, attribute(false))).toBe('done')
  expect(await outcome(by, `update chain_status set scanned_height = 9, rewind_to = null, start_height = 5`)).toBe(
    'done',
  )
})
