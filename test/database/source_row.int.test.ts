// Row-level security of the watchers' tables: a session writes the rows of its own source and no others, and a login that
// is bound to a source cannot name another.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { findOwnSource } from '../../src/db/chain/source.ts'
import { createTestDatabase, openTestDatabase, type TestDatabase } from '../support/database.ts'

const NETWORK = 'ethereum'
const DENIED = '42501'

let database: TestDatabase
let session: pg.Client
beforeAll(async () => {
  database = await createTestDatabase()
  session = new pg.Client({ connectionString: database.urlOf('watcher') })
  await session.connect()
  for (const source of ['one', 'two']) {
    await database.query(
      `insert into chain_status (network, source, start_height, scanned_height, settled_height, tip_height) values ($1, $2, 0, 9, 9, 9)`,
      [NETWORK, source],
    )
    await database.query(`insert into chain_block (network, source, height, hash) values ($1, $2, 9, '0xab')`, [
      NETWORK,
      source,
    ])
  }
})
afterAll(async () => {
  await session.end()
  await database.drop()
})

const name = (source: string) => session.query(`select set_config('holdfast.source', $1, false)`, [source])
const heightOf = async (source: string): Promise<unknown> =>
  (await database.query('select tip_height from chain_status where source = $1', [source]))[0]

describe('a session of one source', () => {
  beforeEach(() => name('one'))

  test('reads and changes its own rows alone, also by statements that name no source', async () => {
    expect((await session.query('select source from chain_block')).rows).toEqual([{ source: 'one' }])
    const { rowCount } = await session.query('update chain_status set tip_height = tip_height + 1')
    expect(rowCount).toBe(1)
    expect([await heightOf('one'), await heightOf('two')]).toEqual([{ tip_height: 10n }, { tip_height: 9n }])
  })

  test.each([
    [
      'a cursor',
      `insert into chain_status (network, source, start_height, scanned_height, settled_height, tip_height) values ('other', 'two', 0, 0, 0, 0)`,
    ],
    ['a block', `insert into chain_block (network, source, height, hash) values ('${NETWORK}', 'two', 10, '0xcd')`],
    [
      'a balance',
      `insert into chain_balance (network, source, address, height, block_hash, balance, told, unexplained) values ('${NETWORK}', 'two', '0xcd', 9, '0xab', 0, 0, 0)`,
    ],
  ])('writes no row of another: %s', async (_what, text) => {
    await expect(session.query(text)).rejects.toMatchObject({ code: DENIED })
  })

  test('deletes and suspends nothing of another', async () => {
    await session.query(`delete from chain_block where source = 'two'`)
    expect(await database.query(`select source from chain_block where source = 'two'`)).toHaveLength(1)
    await expect(
      session.query(`insert into chain_suspension (network, source) values ('${NETWORK}', 'two')`),
    ).rejects.toMatchObject({ code: DENIED })
  })

  test('cannot give its rows to another', async () => {
    await expect(session.query(`update chain_status set source = 'two'`)).rejects.toMatchObject({ code: DENIED })
  })
})

test('a session that names no source reads the rows of all, and writes none', async () => {
  await name('')
  expect((await session.query('select source from chain_status order by source')).rows).toHaveLength(2)
  expect((await session.query('update chain_status set tip_height = 0')).rowCount).toBe(0)
  const insert = `insert into chain_block (network, height, hash) values ('${NETWORK}', 11, '0xef')`
  await expect(session.query(insert)).rejects.toMatchObject({ code: DENIED })
})

test('a login that is bound to a source writes for no other, whatever its session names', async () => {
  await database.query(`select bind_source('watcher', 'one')`)
  await name('two')
  expect((await session.query('update chain_status set tip_height = 0')).rowCount).toBe(0)
  await name('one')
  expect((await session.query('update chain_status set tip_height = 0')).rowCount).toBe(1)
  const ask = async (source: string) => {
    const own = await openTestDatabase({ url: database.urlOf('watcher'), poolSize: 1, applicationName: 'test', source })
    try {
      return await findOwnSource(own)
    } finally {
      await own.close()
    }
  }
  expect([await ask('one'), await ask('two')]).toEqual(['one', undefined])
  await database.query(`delete from source_login`)
})
