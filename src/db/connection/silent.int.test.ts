// Sessions whose server hangs, or whose connection is silent while new connections work.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'slonik'
import { z } from 'zod'
import { createTcpProxy, type TcpProxy } from '../../../test/support/tcp_proxy.ts'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { testServers } from '../../../test/support/servers.ts'
import { until } from '../../../test/support/until.ts'
import { databaseFailure, openDatabase, statement, type Database } from './pool.ts'

const ANSWER_WITHIN_MS = 600
/** The time limit, the wait for a connection, and a wide margin for slow machines: without a limit there is no end. */
const ENDS_WITHIN_MS = 30_000
/** Long enough for ten sessions at once on a slow machine. */
const CONNECTS_WITHIN_MS = 3_000
const POOL_SIZE = 10
const MY_PID = statement('silent_pid', 'select pg_backend_pid() as pid')
const BUMP = statement('silent_bump', `update duty set items = items where duty = 'none'`)

let shop: TestDatabase
let proxy: TcpProxy
let database: Database
const open = (url = proxy.urlOf(shop.urlOf('app_worker'))): Promise<Database> =>
  openDatabase({
    url,
    poolSize: POOL_SIZE,
    applicationName: 'test-silent',
    answerWithinMs: ANSWER_WITHIN_MS,
    poolWaitMs: CONNECTS_WITHIN_MS,
  })
beforeAll(async () => {
  shop = await createTestDatabase()
  const { host, port } = testServers().postgres
  proxy = await createTcpProxy(`${host}:${port}`)
})
beforeEach(async () => {
  database = await open()
})
afterEach(async () => {
  proxy.restore()
  await database.close()
})
afterAll(async () => {
  await proxy.close()
  await shop.drop()
})

const WAYS: readonly [string, (database: Database) => Promise<unknown>][] = [
  ['a statement', (door) => door.run(MY_PID)],
  ['a transaction', (door) => door.transaction((tx) => tx.run(BUMP))],
  ["slonik's statement", (door) => door.sql.any(sql.type(z.unknown())`select 1`)],
  ["slonik's transaction", (door) => door.sql.transaction((tx) => tx.any(sql.type(z.unknown())`select 1`))],
]

/** As many idle sessions of both clients as the pool allows. */
async function fill(): Promise<void> {
  const each = Array.from({ length: POOL_SIZE }, () => undefined)
  await Promise.all([
    ...each.slice(0, 6).map(() => database.run(statement('silent_nap', 'select pg_sleep(0.05)'))),
    ...each.slice(0, 4).map(() => database.sql.any(sql.type(z.unknown())`select pg_sleep(0.05)`)),
  ])
}

/** The failure of a call, which must come in time. */
async function failureOf(call: Promise<unknown>): Promise<unknown> {
  const startedAt = performance.now()
  const error = await call.then(
    () => 'nothing failed',
    (reason: unknown) => databaseFailure(reason),
  )
  expect(performance.now() - startedAt).toBeLessThan(ENDS_WITHIN_MS)
  return error
}

describe.each(WAYS)('%s', (_, way) => {
  test('of a server that hangs ends in time, with UNAVAILABLE, and the next one after it works', async () => {
    await fill()
    proxy.hang()
    for (let calls = 0; calls < 3; calls += 1)
      expect(await failureOf(way(database))).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' })
    proxy.restore()
    await way(database)
  })

  test('on a connection that went silent is the only one that fails: all idle ones go with it', async () => {
    await fill()
    proxy.silence()
    expect(await failureOf(way(database))).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' })
    await Promise.all(Array.from({ length: 4 }, () => way(database)))
    for (const [, other] of WAYS) await other(database)
  })

  test('of a server that refuses ends at once, with UNAVAILABLE, and the next one after it works', async () => {
    await fill()
    proxy.cut()
    expect(await failureOf(way(database))).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' })
    proxy.restore()
    // A broken idle session may be noticed only now.
    await way(database).catch(() => undefined)
    await way(database)
  })
})

test('a connection that goes silent within a transaction ends it; nothing of it stays', async () => {
  const work = database.transaction(async (tx) => {
    await tx.run(statement('silent_items', 'update duty set items = items + 1'))
    proxy.silence()
    await tx.run(MY_PID)
  })
  expect(await failureOf(work)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' })
  await database.transaction((tx) => tx.run(BUMP))
  expect(await shop.query('select duty from duty where items > 0')).toEqual([])
})

test('a server that hangs is told at once to a process that starts', async () => {
  proxy.hang()
  expect(await failureOf(open())).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' })
})

test('an answer that came while the process itself was busy is an answer', async () => {
  // Without the proxy, which runs in this process too.
  await database.close()
  database = await open(shop.urlOf('app_worker'))
  const answer = database.run(statement('silent_short', 'select pg_sleep(0.2)'))
  // It is sent, and nothing is read until the limit has passed.
  await until(async () => (await shop.query(`select from pg_stat_activity where query like 'select pg_sleep(0.2)'`))[0])
  const busyUntil = performance.now() + ANSWER_WITHIN_MS * 2
  while (performance.now() < busyUntil);
  await expect(answer).resolves.toHaveLength(1)
})
