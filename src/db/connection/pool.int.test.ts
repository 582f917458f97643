// Pool and transactions against a real Postgres that refuses connections, blocks, and loses sessions.

import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import { sql } from 'slonik'
import { z } from 'zod'
import { callConcurrently } from '../../../test/support/concurrent.ts'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { count, COUNT_WITHIN_MS, randomOf } from '../../../test/support/scale.ts'
import { until } from '../../../test/support/until.ts'
import {
  databaseFailure,
  findSchemaVersion,
  isDatabaseDown,
  openDatabase,
  sqlStateOf,
  statement,
  type Database,
} from './pool.ts'
import { newestMigration } from '../migrate.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const INSERT = statement('probe_insert', 'insert into probe (i) values ($1)')
const LOCK = statement('probe_lock', 'select i from probe where i = $1 for update')
const BUMP = statement('probe_bump', 'update probe set v = v + 1 where i = $1 returning v')
const MY_PID = statement('probe_pid', 'select pg_backend_pid() as pid')

let shop: TestDatabase
let database: Database

beforeAll(async () => {
  shop = await createTestDatabase()
  await shop.query('create table probe (i int primary key check (i >= 0), v int not null default 0)')
  await shop.query('grant select, insert, update, delete on probe to app_worker')
  database = await openDatabase({ url: shop.urlOf('app_worker'), poolSize: 5, applicationName: 'test-pool' })
})
beforeEach(() => shop.query('truncate probe'))
afterAll(async () => {
  await database.close()
  await shop.drop()
})

const rows = async (): Promise<number> => (await shop.query('select from probe')).length
/** Our sessions with an open transaction. */
const open = () =>
  shop.query(
    `select state from pg_stat_activity where datname = current_database() and application_name = 'test-pool' and state like 'idle in%'`,
  )

describe('values', () => {
  test('of 64 bits and of any precision arrive exactly, by either door', async () => {
    const exact = { big: 9_007_199_254_740_993n, amount: '123456789012345678901234567890.000000000000000001' }
    const text = 'select 9007199254740993::int8 as big, 123456789012345678901234567890.000000000000000001 as amount'
    expect(await database.run(statement('probe_exact', text))).toEqual([exact])
    const row = await database.sql.one(sql.type(z.object({ big: z.bigint(), amount: z.string() }))`
      select 9007199254740993::int8 as big, 123456789012345678901234567890.000000000000000001 as amount`)
    expect(row).toEqual(exact)
  })

  test('of another shape than promised are refused', async () => {
    const wrong = sql.type(z.object({ i: z.string() }))`select 1 as i`
    await expect(database.sql.one(wrong)).rejects.toThrow('do not conform with the schema')
  })
})

describe('a transaction', () => {
  test('commits all of it, and gives its answer', async () => {
    const answer = await database.transaction(async (tx) => {
      await tx.run(INSERT, [1])
      await tx.run(INSERT, [2])
      return 'both'
    })
    expect([answer, await rows()]).toEqual(['both', 2])
  })

  test('that fails anywhere leaves nothing, and its connection is as good as new', async () => {
    const random = randomOf('injected')
    const times = count(500, 50_000)
    const faults = ['select 1 / 0', 'insert into probe (i) values (-1)', 'select * from nowhere', `select 'x'::int`]
    let committed = 0
    await callConcurrently(times, async (at) => {
      const failAt = random() < 0.3 ? Math.floor(random() * 4) : -1
      const text = faults[Math.floor(random() * faults.length)] ?? ''
      const work = database.transaction(async (tx) => {
        for (let step = 0; step < 4; step += 1) {
          if (step === failAt) await tx.run(statement(`probe_fault_${faults.indexOf(text)}`, text))
          await tx.run(INSERT, [at * 4 + step])
        }
      })
      const failed = await work.then(
        () => false,
        () => true,
      )
      expect(failed).toBe(failAt >= 0)
      if (!failed) committed += 1
    })
    expect(await rows()).toBe(committed * 4)
    expect(await open()).toEqual([])
    expect(database.stats()).toMatchObject({ waiting: 0 })
  })

  test('whose failure the work itself swallowed is not taken for a success', async () => {
    const work = database.transaction(async (tx) => {
      await tx.run(INSERT, [1])
      await tx.run(INSERT, [1]).catch(() => undefined)
      return 'done'
    })
    await expect(work).rejects.toThrow('rolled back')
    expect(await rows()).toBe(0)
  })

  test('keeps all else when an optional part of it fails, and nothing of the part', async () => {
    const negative = [-1]
    const answer = await database.transaction(async (tx) => {
      await tx.run(INSERT, [1])
      const isLost = await tx
        .savepoint(async (part) => {
          await part.run(INSERT, [2])
          await part.savepoint((inner) => inner.run(INSERT, [3]))
          await part.run(INSERT, negative)
        })
        .then(
          () => false,
          () => true,
        )
      await tx.savepoint((part) => part.run(INSERT, [4]))
      await tx.savepoint(() => Promise.reject(new Error('ours'))).catch(() => undefined)
      await tx.run(INSERT, [5])
      return isLost
    })
    expect(answer).toBe(true)
    expect(await shop.query('select i from probe order by i')).toEqual([{ i: 1 }, { i: 4 }, { i: 5 }])
    expect(await open()).toEqual([])
  })

  test('is lost whole when its session goes within an optional part, whatever the work makes of it', async () => {
    const work = database.transaction(async (tx) => {
      await tx.run(INSERT, [1])
      await tx
        .savepoint(async (part) => {
          const [{ pid } = { pid: 0 }] = await part.run<{ pid: number }>(MY_PID)
          await shop.query('select pg_terminate_backend($1)', [pid])
          await part.run(INSERT, [2])
        })
        .catch(() => undefined)
      return 'done'
    })
    expect(isDatabaseDown(await work.catch((error: unknown) => error))).toBe(true)
    expect(await rows()).toBe(0)
    expect(await open()).toEqual([])
  })

  test('that deadlocks with another is run again', async () => {
    await shop.query('insert into probe (i) values (1), (2)')
    const both = Promise.withResolvers<void>()
    let holding = 0
    const cross = (first: number, second: number) =>
      database.transaction(async (tx) => {
        await tx.run(LOCK, [first])
        if ((holding += 1) === 2) both.resolve()
        await both.promise
        await tx.run(LOCK, [second])
        await tx.run(BUMP, [first])
      })
    await Promise.all([cross(1, 2), cross(2, 1)])
    expect(await shop.query('select v from probe order by i')).toEqual([{ v: 1 }, { v: 1 }])
    expect(holding).toBeGreaterThan(2)
  })

  test('whose session is killed fails once, is not run again, and the next one works', async () => {
    let attempts = 0
    const work = database.transaction(async (tx) => {
      attempts += 1
      await tx.run(INSERT, [1])
      const [{ pid } = { pid: 0 }] = await tx.run<{ pid: number }>(MY_PID)
      await shop.query('select pg_terminate_backend($1)', [pid])
      await tx.run(INSERT, [2])
    })
    const error: unknown = await work.catch((failure: unknown) => failure)
    expect(isDatabaseDown(error)).toBe(true)
    expect(attempts).toBe(1)
    expect(await rows()).toBe(0)
    await database.transaction((tx) => tx.run(INSERT, [1]))
    expect(await rows()).toBe(1)
  })
})

describe('waiting', () => {
  test('for a lock ends after a second, by either door', async () => {
    await shop.query('insert into probe (i) values (1), (2)')
    // Connects first, so that the wait is only for the lock.
    await Promise.all([database.run(MY_PID), database.sql.any(sql.type(z.unknown())`select 1`)])
    const blocker = new pg.Client({ connectionString: shop.url, options: '-c search_path=holdfast' })
    await blocker.connect()
    await blocker.query('begin')
    await blocker.query('select from probe for update')
    try {
      const waits = [
        database.run(BUMP, [1]),
        database.sql.any(sql.type(z.unknown())`update probe set v = 1 where i = 2`),
      ]
      for (const result of await Promise.allSettled(waits)) {
        expect(result.status).toBe('rejected')
        const { reason } = result as PromiseRejectedResult
        expect(sqlStateOf(reason)).toBe('55P03')
        expect(databaseFailure(reason)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' })
      }
    } finally {
      await blocker.query('rollback')
      await blocker.end()
    }
  })

  test('for a connection ends after a second, and the connections are never more than the pool may have', async () => {
    const release = Promise.withResolvers<void>()
    const holders = Array.from({ length: 3 }, () => database.transaction(() => release.promise))
    await until(() => database.stats().idle === 0 && database.stats().total === 3)
    const error: unknown = await database.run(MY_PID).catch((failure: unknown) => failure)
    expect(databaseFailure(error)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' })
    const [{ sessions } = { sessions: 0n }] = await shop.query<{ sessions: bigint }>(
      `select count(*) as sessions from pg_stat_activity where datname = current_database() and usename = 'app_worker'`,
    )
    expect(sessions).toBeLessThanOrEqual(5n)
    release.resolve()
    await Promise.all(holders)
  })

  test('for a statement ends after two seconds', async () => {
    const error: unknown = await database
      .run(statement('probe_slow', 'select pg_sleep(10)'))
      .catch((failure: unknown) => failure)
    expect(sqlStateOf(error)).toBe('57014')
    expect(databaseFailure(error)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' })
  })
})

test('a database says which migration it is at', async () => {
  expect(await findSchemaVersion(database)).toBe(await newestMigration())
})
