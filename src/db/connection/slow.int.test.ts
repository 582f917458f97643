// Slow transactions and lock waits are logged by name while they last, without any value.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { sql } from 'slonik'
import { z } from 'zod'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { until } from '../../../test/support/until.ts'
import { openDatabase, statement, type Database } from './pool.ts'
import type { SlowEvent } from './slow.ts'

const CANARY = 'Harbour Street 1'
const NOTE = statement('slow_note', 'insert into probe (i, t) values ($1, $2)')
const LOCK = statement('slow_lock', 'select i from probe where i = $1 and t <> $2 for update')
const ONE = statement('slow_one', 'select 1')

let shop: TestDatabase
let database: Database
let events: SlowEvent[]

beforeAll(async () => {
  shop = await createTestDatabase()
  await shop.query('create table probe (i int primary key, t text not null)')
  await shop.query('grant select, insert, update, delete on probe to app_worker')
  database = await openDatabase({
    url: shop.urlOf('app_worker'),
    poolSize: 5,
    applicationName: 'test-slow',
    report: (event) => void events.push(event),
  })
})
beforeEach(async () => {
  await shop.query('truncate probe')
  events = []
})
afterAll(async () => {
  await database.close()
  await shop.drop()
})

const isTold = (kind: SlowEvent['kind']) => until(() => events.find((event) => event.kind === kind))

describe('a transaction of more than a second', () => {
  test('is told once, while it lasts, by the name of its statement', async () => {
    await database.transaction(async (tx) => {
      await tx.run(ONE)
      await tx.run(NOTE, [1, CANARY])
      const event = await isTold('transaction')
      expect(event).toMatchObject({ statement: 'slow_note', text: 'insert into probe (i, t) values ($1, $2)' })
      expect(event).toHaveProperty('ageMs', expect.any(Number))
      // Not logged yet: it still lasts.
      expect(await shop.query('select from probe')).toEqual([])
    })
    expect(events).toHaveLength(1)
    expect(JSON.stringify(events)).not.toContain(CANARY)
  })

  test('of the other door is told by a hash of its text', async () => {
    await database.sql.transaction(async (tx) => {
      await tx.query(sql.type(z.unknown())`insert into probe (i, t) values (2, ${CANARY})`)
      const event = await isTold('transaction')
      expect(event.statement).toMatch(/^sql:[0-9a-f]{12}$/)
      expect(event.text).toBe('insert into probe (i, t) values (2, $1)')
    })
    expect(events).toHaveLength(1)
  })

  test('is told although it is one statement, and its end brings no second word', async () => {
    const slow = database.run(statement('slow_sleep', 'select pg_sleep(1.5), $1::text'), [CANARY])
    expect(await isTold('transaction')).toMatchObject({ statement: 'slow_sleep' })
    await slow
    expect(events).toHaveLength(1)
  })

  test('is no other: those that end in time are not told', async () => {
    for (let at = 0; at < 50; at += 1) {
      await database.transaction(async (tx) => {
        await tx.run(NOTE, [at, CANARY])
      })
      await database.sql.any(sql.type(z.unknown())`select 1`)
    }
    expect(events).toEqual([])
  })
})

describe('a lock that is not acquired', () => {
  test('is told by the statement that waited for it', async () => {
    await shop.query(`insert into probe values (1, 'x'), (2, 'y')`)
    const blocker = new pg.Client({ connectionString: shop.url, options: '-c search_path=holdfast' })
    await blocker.connect()
    await blocker.query('begin')
    await blocker.query('select from probe for update')
    const waits = [
      database.transaction((tx) => tx.run(LOCK, [1, CANARY]), { deadline: 0 }),
      database.run(LOCK, [2, CANARY]),
      database.sql.any(sql.type(z.unknown())`update probe set t = ${CANARY} where i = 2`),
    ]
    for (const { status } of await Promise.allSettled(waits)) expect(status).toBe('rejected')
    await blocker.query('rollback')
    await blocker.end()
    const locks = events.filter(({ kind }) => kind === 'lock')
    expect(locks).toHaveLength(3)
    expect(locks.map(({ statement: name }) => name).toSorted()).toEqual([
      'slow_lock',
      'slow_lock',
      expect.stringMatching(/^sql:/),
    ])
    for (const event of locks) expect(event).toMatchObject({ state: '55P03' })
    expect(JSON.stringify(events)).not.toContain(CANARY)
  })
})
