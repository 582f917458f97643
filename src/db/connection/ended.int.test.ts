import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'slonik'
import { z } from 'zod'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { until } from '../../../test/support/until.ts'
import { runShared, untilEnded } from './ended.ts'
import { isDatabaseUnavailable, openDatabase, statement, type Database } from './pool.ts'

const COUNT = statement('test_count', `select nextval('test_count')`)
/** Counts only if it runs to its end. */
const SLOW = statement(
  'test_slow_count',
  `select case when pg_sleep(25) is not null then nextval('test_count') end as slow_count`,
)

let shop: TestDatabase
let api: Database
beforeAll(async () => {
  shop = await createTestDatabase()
  await shop.query('create sequence test_count; grant usage, select on test_count to app_api')
  // Longer than any test waits: only the end of the call can end the statement before.
  await shop.query(
    `do $$ begin execute format('alter role app_api in database %I set statement_timeout = ''60s''', current_database()); end $$`,
  )
  api = await openDatabase({
    url: shop.urlOf('app_api'),
    poolSize: 1,
    applicationName: 'test-api',
    answerWithinMs: 120_000,
  })
})
afterAll(async () => {
  await api.close()
  await shop.drop()
})

test('a call that ends while it waits for a session sends no statement, and the session serves the next', async () => {
  let letGo: (() => void) | undefined
  const held = api.transaction(() => new Promise<void>((resolve) => (letGo = resolve)))
  await until(async () => letGo !== undefined)
  const ending = new AbortController()
  const ended = untilEnded(ending.signal, () => api.run(COUNT)).catch((error: unknown) => error)
  await until(async () => api.stats().waiting === 1)
  ending.abort()
  letGo?.()
  await held
  expect(await ended).toMatchObject({ reason: 'DEADLINE_EXCEEDED' })
  expect(await api.run(COUNT)).toEqual([{ nextval: 1n }])
})

const namesOf = (error: unknown): string[] => (error instanceof Error ? [error.name, ...namesOf(error.cause)] : [])
const runningOf = () =>
  shop.query<{ pid: number }>(
    `select pid from pg_stat_activity where datname = current_database() and state = 'active' and query like '%slow_count%'
       and pid <> pg_backend_pid()`,
  )

test.each([
  ['a constant statement', () => api.run(SLOW)],
  [
    'another statement',
    () =>
      api.sql.any(sql.type(z.unknown())`
    select case when pg_sleep(25) is not null then nextval('test_count') end as slow_count`),
  ],
])(
  'a call that ends while %s of it runs ends that too, also in the database',
  async (_what, run) => {
    const [before] = await shop.query<{ last: bigint }>('select last_value as last from test_count')
    const ending = new AbortController()
    const ended = untilEnded(ending.signal, run).catch((error: unknown) => error)
    await until(async () => (await runningOf()).length === 1)
    ending.abort()
    const error = await ended
    expect(isDatabaseUnavailable(error)).toBe(true)
    // Not a limit of time of the server, or of the client for silent servers.
    expect(namesOf(error)).toContain('CallEndedError')
    await until(async () => (await runningOf()).length === 0)
    expect(await shop.query('select last_value as last from test_count')).toEqual([before])
    // The session is replaced at the next use.
    expect(await api.run(COUNT)).toHaveLength(1)
  },
  90_000,
)

test('a transaction is not cut off: it ends as a whole', async () => {
  const ending = new AbortController()
  const held = untilEnded(ending.signal, () =>
    api.transaction(async (tx) => {
      ending.abort()
      return tx.run(statement('test_short_sleep', 'select pg_sleep(1)::text as slept'))
    }),
  )
  expect(await held).toEqual([{ slept: '' }])
})

test('what callers share does not end with the call that began it', async () => {
  const ended = AbortSignal.abort()
  expect(await untilEnded(ended, () => runShared(() => api.run(COUNT)))).toHaveLength(1)
})
