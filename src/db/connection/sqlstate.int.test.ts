// SQLSTATE classes: each class that the table distinguishes, raised by a real Postgres through both clients: the
// caller's reason, and whether the next caller gets the same session.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Metadata, status } from '@grpc/grpc-js'
import { sql } from 'slonik'
import { z } from 'zod'
import { createTestDatabase, openTestDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { ANONYMOUS, type CallRecord } from '../../grpc/call.ts'
import { readDetails } from '../../grpc/detail.ts'
import { statusOf } from '../../grpc/status.ts'
import { statement, type Database } from './pool.ts'

const RAISE = statement('probe_raise', 'select probe_raise($1)')
const MY_PID = statement('probe_pid', 'select pg_backend_pid() as pid')
const PID = z.object({ pid: z.number() })

/** By SQLSTATE: the caller's reason, and whether a transaction's session is used again. */
const TABLE: readonly (readonly [state: string, code: 'UNAVAILABLE' | 'INTERNAL', session: 'kept' | 'thrown away'])[] =
  [
    ['08000', 'UNAVAILABLE', 'thrown away'],
    ['08006', 'UNAVAILABLE', 'thrown away'],
    ['08P01', 'UNAVAILABLE', 'thrown away'],
    ['0A000', 'INTERNAL', 'thrown away'],
    ['21000', 'INTERNAL', 'kept'],
    ['22P02', 'INTERNAL', 'kept'],
    ['23505', 'INTERNAL', 'kept'],
    ['25006', 'UNAVAILABLE', 'thrown away'],
    ['25P02', 'INTERNAL', 'kept'],
    ['25P03', 'UNAVAILABLE', 'thrown away'],
    ['25P04', 'UNAVAILABLE', 'thrown away'],
    ['26000', 'INTERNAL', 'thrown away'],
    ['28P01', 'UNAVAILABLE', 'thrown away'],
    ['3D000', 'UNAVAILABLE', 'thrown away'],
    ['40001', 'UNAVAILABLE', 'kept'],
    ['40002', 'INTERNAL', 'kept'],
    ['40003', 'UNAVAILABLE', 'thrown away'],
    ['40P01', 'UNAVAILABLE', 'kept'],
    ['42501', 'INTERNAL', 'kept'],
    ['53100', 'UNAVAILABLE', 'kept'],
    ['53200', 'UNAVAILABLE', 'kept'],
    ['53300', 'UNAVAILABLE', 'kept'],
    ['54000', 'INTERNAL', 'kept'],
    ['55000', 'INTERNAL', 'kept'],
    ['55P03', 'UNAVAILABLE', 'kept'],
    ['57014', 'UNAVAILABLE', 'kept'],
    ['57P01', 'UNAVAILABLE', 'thrown away'],
    ['57P02', 'UNAVAILABLE', 'thrown away'],
    ['57P03', 'UNAVAILABLE', 'thrown away'],
    ['57P04', 'UNAVAILABLE', 'thrown away'],
    ['57P05', 'UNAVAILABLE', 'thrown away'],
    ['58030', 'UNAVAILABLE', 'thrown away'],
    ['P0001', 'INTERNAL', 'kept'],
    ['XX000', 'INTERNAL', 'kept'],
    ['HF999', 'INTERNAL', 'kept'],
  ]

let shop: TestDatabase
let database: Database
beforeAll(async () => {
  shop = await createTestDatabase()
  await shop.query(`create function probe_raise(state text) returns void language plpgsql
    as $$ begin raise exception 'the words of the server' using errcode = state; end $$`)
  // One session each.
  database = await openTestDatabase({ url: shop.urlOf('app_worker'), poolSize: 2, applicationName: 'test-state' })
})
afterAll(async () => {
  await database.close()
  await shop.drop()
})

const buildRecord = (): CallRecord => ({
  path: '/holdfast.v1.OrderService/GetOrder',
  requestId: 'request-1',
  peer: '127.0.0.1',
  isPeerKnown: true,
  peerHash: '',
  hashRequest: () => Buffer.of(),
  startedAt: 0,
  principal: ANONYMOUS,
  orderId: undefined,
  isReplay: false,
  failure: undefined,
})

/** The reason that a caller of the api gets for a failure. */
function toldOf(error: unknown) {
  const sent = statusOf(error, buildRecord())
  const { reason, metadata, retryAfterMs } = readDetails(sent.metadata ?? new Metadata())
  return {
    code: status[sent.code],
    reason,
    hasIncident: metadata !== undefined && 'incident_id' in metadata,
    isRetried: retryAfterMs !== undefined,
    isSilent: !sent.details.includes('words of the server'),
  }
}
const TOLD = {
  UNAVAILABLE: {
    code: 'UNAVAILABLE',
    reason: 'DATABASE_UNAVAILABLE',
    hasIncident: false,
    isRetried: true,
    isSilent: true,
  },
  INTERNAL: { code: 'INTERNAL', reason: 'INTERNAL', hasIncident: true, isRetried: false, isSilent: true },
}

const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'nothing failed',
    (error: unknown) => error,
  )
const pid = async (): Promise<number> => (await database.run<{ pid: number }>(MY_PID))[0]?.pid ?? 0
const slonikPid = async (): Promise<number> =>
  (await database.sql.one(sql.type(PID)`select pg_backend_pid() as pid`)).pid

describe.each(TABLE)('SQLSTATE %s', (state, code, session) => {
  test(`is ${code} by either door`, async () => {
    const ways = [
      () => database.run(RAISE, [state]),
      () => database.transaction((tx) => tx.run(RAISE, [state])),
      () => database.sql.any(sql.type(z.unknown())`select probe_raise(${state})`),
      () => database.sql.transaction((tx) => tx.any(sql.type(z.unknown())`select probe_raise(${state})`)),
    ]
    for (const way of ways) expect(toldOf(await failure(way()))).toEqual(TOLD[code])
  })

  test(`leaves a session that is ${session}`, async () => {
    const before = await pid()
    await failure(database.transaction((tx) => tx.run(RAISE, [state])))
    expect((await pid()) === before ? 'kept' : 'thrown away').toBe(session)
  })
})

describe('a server that only reads', () => {
  const asStandby = (isStandby: boolean) =>
    shop.query(`alter database ${shop.name} set default_transaction_read_only = ${isStandby ? 'on' : 'off'}`)
  const WRITE = statement('probe_write', `update duty set items = items where duty = 'none'`)

  test('is UNAVAILABLE to those who write, and is left for another with the next call', async () => {
    await database.run(MY_PID)
    await slonikPid()
    await asStandby(true)
    const standby = await openTestDatabase({
      url: shop.urlOf('app_worker'),
      poolSize: 6,
      applicationName: 'test-standby',
    })
    try {
      // Idle sessions of both clients at the standby.
      await Promise.all([1, 2, 3, 4].map(() => standby.run(MY_PID)))
      await standby.sql.any(sql.type(z.unknown())`select 1`)
      await asStandby(false)
      expect(toldOf(await failure(standby.run(WRITE)))).toEqual(TOLD.UNAVAILABLE)
      // One failure was enough to replace all of them.
      await Promise.all([1, 2, 3, 4].map(() => standby.run(WRITE)))
      await standby.sql.any(sql.type(z.unknown())`update duty set items = items where duty = 'none'`)
    } finally {
      await asStandby(false)
      await standby.close()
    }
  })
})
