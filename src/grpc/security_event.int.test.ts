// Security events: what the front refuses is in the database, bounded, and each rule that looks for attacks can be computed
// from it, just below and just above its threshold, also where calls are spread over processes.

import { createHmac, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { status } from '@grpc/grpc-js'
import { createTestDatabase, openTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, failureOf, type TestFront } from '../../test/support/front.ts'
import { callRaw } from '../../test/support/raw_call.ts'
import { CALL_WITHIN_MS, until } from '../../test/support/until.ts'
import type { Database } from '../db/connection/pool.ts'
import { deleteExpiredSecurityEvents } from '../db/security_event.ts'
import { createLogger, createRegistry, type Registry } from '../telemetry.ts'
import { ANONYMOUS } from './call.ts'
import { createAdminClient, createClient } from './client.ts'
import { createSecurityEvents, type FinishedCall, type SecurityEvents } from './security_event.ts'

let database: TestDatabase
let api: Database

beforeAll(async () => {
  database = await createTestDatabase()
  api = await openTestDatabase({ url: database.urlOf('app_api'), poolSize: 2, applicationName: 'test-events' })
})
beforeEach(() => database.query('delete from security_event'))
afterAll(async () => {
  await api.close()
  await database.drop()
})

type Row = { kind: string; subject: string | null; method: string | null; object: string | null; events: number }
const rowsOf = (): Promise<Row[]> =>
  database.query<Row>(
    `select kind, subject, method, object, events from security_event where kind <> 'calls' order by event_no`,
  )
const hmac = (path: string, bytes: Buffer): Buffer => createHmac('sha256', 'secret').update(path).update(bytes).digest()

type Process = SecurityEvents & { registry: Registry; pass: (ms: number) => void }
/** What one api process collects, on a clock that the test moves. */
function startProcess(): Process {
  const registry = createRegistry('api')
  let nowMs = 0
  const logger = createLogger({ process: 'api', level: 'error' })
  const events = createSecurityEvents({
    database: api,
    logger,
    registry,
    peerHashOf: peerOf,
    hashRequest: hmac,
    now: () => nowMs,
  })
  return { ...events, registry, pass: (ms) => (nowMs += ms) }
}
/** Two processes, and the function that lets both write all and stops them. */
function startProcesses(): { both: [Process, Process]; finish: () => Promise<void> } {
  const both: [Process, Process] = [startProcess(), startProcess()]
  return {
    both,
    finish: async () => {
      for (const each of both) await each.stop()
    },
  }
}
const peerOf = (name: string): string => hmac('peer', Buffer.from(name)).toString('hex')
const userOf = (id: number) => ({ subject: String(id), userId: BigInt(id), roles: [], tokenId: 't' }) as const
const buildCall = (overrides: Partial<FinishedCall> = {}): FinishedCall => ({
  path: '/holdfast.v1.OrderService/GetOrder',
  requestId: randomUUID(),
  peer: 'a',
  isPeerKnown: true,
  principal: ANONYMOUS,
  orderId: undefined,
  ...overrides,
})

test('a database that does not take events is in the log, once for each outage', async () => {
  const warn = jest.fn()
  let isAway = true
  const query = () => (isAway ? Promise.reject(new Error('away')) : Promise.resolve({ rows: [] }))
  const events = createSecurityEvents({
    database: { sql: { query } } as never,
    ...{ logger: { warn }, registry: createRegistry('api'), hashRequest: hmac, peerHashOf: (address) => address },
  })
  const attempt = async (isOut: boolean): Promise<void> => {
    isAway = isOut
    events.note(buildCall(), status.UNAUTHENTICATED)
    await events.flush()
  }
  for (const isOut of [true, true, false, true]) await attempt(isOut)
  await attempt(false)
  await events.stop()
  expect(warn.mock.calls.map(([, message]) => message)).toEqual(['security events wait', 'security events wait'])
})

describe('the front records', () => {
  let front: TestFront
  beforeAll(async () => {
    front = await createTestFront(database)
  })
  afterAll(() => front.stop())

  test('what it refuses, by kind, caller and object, with no address, no order id and no text of a caller', async () => {
    const me = front.as(customer(7))
    const [orderId, productId] = [randomUUID(), 'a text of the caller']
    const forger = createClient({ deadlineMs: CALL_WITHIN_MS, address: front.address, token: () => 'forged' })
    await failureOf(forger.order.getOrder({ orderId }))
    forger.close()
    for (const again of [me, me]) await failureOf(again.order.getOrder({ orderId }))
    await failureOf(front.as(admin).order.getOrder({ orderId }))
    await failureOf(me.order.cancelOrder({ orderId: 'not an id', idempotencyKey: productId }))
    await failureOf(me.fulfilment.listOrdersToShip({}))
    await me.stock.getAvailability({ productIds: ['x'] })
    await until(async () => (await rowsOf()).some(({ method }) => method?.endsWith('ListOrdersToShip')))
    const service = '/holdfast.v1.OrderService'
    const object = expect.stringMatching(/^[0-9a-f]{32}$/)
    expect(await rowsOf()).toEqual(
      expect.arrayContaining([
        { kind: 'unauthenticated', subject: null, method: `${service}/GetOrder`, object: null, events: 1 },
        { kind: 'unknown_order', subject: 'user:1', method: `${service}/GetOrder`, object, events: 1 },
        { kind: 'invalid', subject: 'user:7', method: `${service}/CancelOrder`, object: null, events: 1 },
        {
          ...{ kind: 'denied_order', subject: 'user:7', object: null, events: 1 },
          method: '/holdfast.v1.FulfilmentService/ListOrdersToShip',
        },
      ]),
    )
    const denied = (await rowsOf()).filter(
      ({ kind, method }) => kind === 'denied_order' && method?.endsWith('GetOrder'),
    )
    expect(denied.reduce((sum, { events }) => sum + events, 0)).toBe(2)
    expect(denied[0]).toMatchObject({ subject: 'user:7', object })
    // The same order has the same hash for each caller.
    const [known] = (await rowsOf()).filter(({ kind }) => kind === 'unknown_order')
    expect(denied[0]?.object).toBe(known?.object)
    const everything = JSON.stringify(await database.query('select e::text as row from security_event e'))
    for (const text of [orderId, '127.0.0.1', 'not an id', productId]) expect(everything).not.toContain(text)
  })

  test('one place for a host, however many addresses of its IPv6 network it calls from', async () => {
    const proxied = await createTestFront(database, { trustedProxies: ['127.0.0.0/8'] })
    const hosts = ['2001:db8:0:1::1', '2001:db8:0:1:ffff::2', '2001:db8:0:2::1', '192.0.2.1']
    for (const host of hosts)
      await callRaw(proxied.address, '/holdfast.v1.OrderService/GetOrder', Buffer.alloc(0), [['x-forwarded-for', host]])
    await proxied.stop()
    const found = await database.query<{ events: bigint }>(
      `select sum(events) as events from security_event where kind = 'unauthenticated' group by peer order by 1`,
    )
    expect(found.map(({ events }) => Number(events))).toEqual([1, 1, 2])
  })

  test('a denied call of an admin service, and all calls of a peer that sent an invalid one', async () => {
    const client = createAdminClient({
      deadlineMs: CALL_WITHIN_MS,
      address: front.adminAddress,
      token: () => front.tokenOf(customer(8)),
    })
    await failureOf(client.stock.adjustStock({}))
    client.close()
    const me = front.as(customer(8))
    await me.catalog.listProducts({ limit: 1 })
    await failureOf(me.order.getOrder({ orderId: 'x' }))
    await until(async () => {
      const [calls] = await database.query<{ n: bigint }>(
        `select sum(events) as n from security_event where kind = 'calls'`,
      )
      return Number(calls?.n) >= 3
    })
    expect(await rowsOf()).toEqual(
      expect.arrayContaining([
        {
          ...{ kind: 'denied_admin', subject: 'user:8', object: null, events: 1 },
          method: '/holdfast.v1.StockAdminService/AdjustStock',
        },
      ]),
    )
  })

  test('what is left when it stops', async () => {
    const other = await createTestFront(database)
    await failureOf(other.as(customer(9)).order.getOrder({ orderId: randomUUID() }))
    await other.stop()
    expect(await rowsOf()).toMatchObject([{ kind: 'denied_order', subject: 'user:9' }])
  })
})

/** The rules as a detector would ask: who is at or above a threshold within the window that ends now. */
const RULES = {
  'unauthenticated calls of a peer': `select peer as who from security_event where kind = 'unauthenticated' and peer is not null
    and at > clock_timestamp() - interval '60 seconds' group by peer having sum(events) >= 10`,
  'denied orders of a user': `select subject as who from security_event where kind = 'denied_order'
    and at > clock_timestamp() - interval '5 minutes' group by subject having sum(events) >= 3`,
  'a denied call of an admin service': `select subject as who from security_event where kind = 'denied_admin'
    and at > clock_timestamp() - interval '5 minutes' group by subject`,
  'invalid calls of a peer': `select peer as who from security_event where kind = 'invalid' and peer is not null
    and at > clock_timestamp() - interval '5 minutes' group by peer having sum(events) >= 20`,
  'share of invalid calls of a peer': `select peer as who from security_event where kind in ('invalid', 'calls')
    and at > clock_timestamp() - interval '5 minutes' group by peer
    having sum(events) filter (where kind = 'calls') >= 30
      and sum(events) filter (where kind = 'invalid') > 0.3 * sum(events) filter (where kind = 'calls')`,
  'unknown orders asked for by a peer': `select peer as who from security_event where kind in ('denied_order', 'unknown_order') and peer is not null
    and at > clock_timestamp() - interval '10 minutes' group by peer having count(distinct object) >= 10`,
  'unknown orders asked for by a user': `select subject as who from security_event where kind in ('denied_order', 'unknown_order')
    and at > clock_timestamp() - interval '10 minutes' group by subject having count(distinct object) >= 10`,
} as const
const foundBy = async (rule: keyof typeof RULES): Promise<unknown[]> =>
  (await database.query<{ who: string }>(RULES[rule])).map(({ who }) => who)

describe('a rule is computed from the table, over two processes', () => {
  const deniedOrder = (user: number, orderId: string, peer: string) =>
    [buildCall({ principal: userOf(user), orderId, peer }), status.PERMISSION_DENIED] as const

  /** Calls that reach so many of what the rule counts, and who they are. */
  const ATTACKS: Record<
    keyof typeof RULES,
    { least: number; who: string; calls: (n: number) => [FinishedCall, status][] }
  > = {
    'unauthenticated calls of a peer': {
      least: 10,
      who: peerOf('a'),
      calls: (n) => Array.from({ length: n }, () => [buildCall(), status.UNAUTHENTICATED]),
    },
    'denied orders of a user': {
      least: 3,
      who: 'user:7',
      calls: (n) => Array.from({ length: n }, (_, at) => [...deniedOrder(7, randomUUID(), `p${at}`)]),
    },
    'a denied call of an admin service': {
      least: 1,
      who: 'user:7',
      calls: (n) =>
        Array.from({ length: n }, () => [
          buildCall({ path: '/holdfast.v1.AuditService/GetOrderHistory', principal: userOf(7) }),
          status.PERMISSION_DENIED,
        ]),
    },
    'invalid calls of a peer': {
      least: 20,
      who: peerOf('a'),
      calls: (n) => Array.from({ length: n }, () => [buildCall(), status.INVALID_ARGUMENT]),
    },
    'share of invalid calls of a peer': {
      least: 10,
      who: peerOf('a'),
      // Of 31 calls: nine are 29 %, ten are 32 %.
      calls: (n) =>
        Array.from({ length: 31 }, (_, at) => [buildCall(), at >= 31 - n ? status.INVALID_ARGUMENT : status.OK]),
    },
    'unknown orders asked for by a peer': {
      least: 10,
      who: peerOf('a'),
      calls: (n) =>
        // Each order twice, by two users.
        Array.from({ length: 2 * n }, (_, at) => [...deniedOrder(1 + (at % 2), `order-${at >> 1}`, 'a')]),
    },
    'unknown orders asked for by a user': {
      least: 10,
      who: 'user:7',
      calls: (n) => Array.from({ length: n }, (_, at) => [...deniedOrder(7, `order-${at}`, `p${at}`)]),
    },
  }

  test.each(Object.keys(RULES) as (keyof typeof RULES)[])('%s, at its threshold and just below', async (rule) => {
    const { least, who, calls } = ATTACKS[rule]
    for (const [n, found] of [
      [least - 1, []],
      [least, [who]],
    ] as const) {
      await database.query('delete from security_event')
      const { both, finish } = startProcesses()
      for (const [at, [call, code]] of calls(n).entries()) both[at % 2 === 0 ? 0 : 1].note(call, code)
      await finish()
      expect(await foundBy(rule)).toEqual(found)
    }
    // Older than each window.
    await database.forge(`update security_event set at = at - interval '11 minutes'`)
    expect(await foundBy(rule)).toEqual([])
  })

  test('not for callers behind a proxy that does not name them: they are not one caller', async () => {
    const { both, finish } = startProcesses()
    for (let at = 0; at < 100; at += 1) {
      both[0].note(buildCall({ isPeerKnown: false }), status.UNAUTHENTICATED)
      both[1].note(buildCall({ isPeerKnown: false }), status.INVALID_ARGUMENT)
    }
    await finish()
    for (const rule of ['unauthenticated calls of a peer', 'invalid calls of a peer'] as const)
      expect(await foundBy(rule)).toEqual([])
    expect(
      await database.query('select kind, sum(events)::int as n from security_event group by 1 order by 1'),
    ).toEqual([
      { kind: 'invalid', n: 100 },
      { kind: 'unauthenticated', n: 100 },
    ])
  })

  test('at the time when they happened, however late they are written', async () => {
    const one = startProcess()
    one.note(buildCall(), status.UNAUTHENTICATED)
    one.pass(61_000)
    one.note(buildCall({ peer: 'b' }), status.UNAUTHENTICATED)
    await one.stop()
    const rows = await database.query<{ age: number }>(
      `select extract(epoch from clock_timestamp() - at)::float8 as age from security_event
       where kind = 'unauthenticated' order by at`,
    )
    expect(rows[0]?.age).toBeGreaterThanOrEqual(61)
    expect(rows[1]?.age).toBeLessThan(60)
  })
})

describe('a flood', () => {
  const droppedBy = async ({ registry }: Process): Promise<number> =>
    ((await registry.getSingleMetric('holdfast_security_events_dropped_total')?.get())?.values ?? []).reduce(
      (sum, { value }) => sum + value,
      0,
    )

  test('of one caller becomes a few rows, and each event is still counted', async () => {
    const one = startProcess()
    for (let at = 0; at < 10_000; at += 1)
      one.note(buildCall({ principal: userOf(7), orderId: `order-${at}` }), status.PERMISSION_DENIED)
    await one.stop()
    const rows = await rowsOf()
    expect(rows).toHaveLength(31)
    expect(rows.reduce((sum, { events }) => sum + events, 0)).toBe(10_000)
    expect(rows.at(-1)).toMatchObject({ method: null, object: null, events: 10_000 - 30 })
    expect(await droppedBy(one)).toBe(0)
  })

  test('of many peers is cut off for its kind alone and for a minute, and what is left out is counted', async () => {
    const one = startProcess()
    for (let at = 0; at < 1_000; at += 1) one.note(buildCall({ peer: `p${at}` }), status.UNAUTHENTICATED)
    one.note(buildCall({ principal: userOf(7) }), status.PERMISSION_DENIED)
    await one.flush()
    const countOf = async () => (await rowsOf()).filter(({ kind }) => kind === 'unauthenticated').length
    expect(await countOf()).toBe(600)
    expect(await droppedBy(one)).toBe(400)
    expect((await rowsOf()).filter(({ kind }) => kind === 'denied_order')).toHaveLength(1)
    one.pass(60_000)
    one.note(buildCall({ peer: 'later' }), status.UNAUTHENTICATED)
    await one.stop()
    expect(await countOf()).toBe(601)
  })

  test('while the database takes no events waits in bounded memory, and is written afterwards', async () => {
    const one = startProcess()
    await database.query('revoke insert (at) on security_event from app_api')
    try {
      for (let minute = 0; minute < 12; minute += 1) {
        for (let at = 0; at < 600; at += 1) one.note(buildCall({ peer: `${minute} ${at}` }), status.UNAUTHENTICATED)
        await one.flush()
        one.pass(60_000)
      }
      expect(await rowsOf()).toEqual([])
    } finally {
      await database.query('grant insert (at) on security_event to app_api')
    }
    await one.stop()
    const [kept] = await database.query<{ n: bigint }>('select sum(events) as n from security_event')
    expect(await database.query('select from security_event')).toHaveLength(5_000)
    // Each refused call is counted twice: as an event, and as a call of its peer.
    expect(Number(kept?.n) + (await droppedBy(one))).toBe(2 * 12 * 600)
  })
})

describe('a recorded event', () => {
  const put = (kind: string, age: string): Promise<unknown> =>
    database.query(
      `insert into security_event (at, kind, peer, events) values (clock_timestamp() - $2::interval, $1, repeat('ab', 32), 1)`,
      [kind, age],
    )

  test('is neither changed nor read by the api, and only the oldest are deleted', async () => {
    await put('denied', '89 days 23:59')
    await put('denied', '90 days 00:01')
    await put('calls', '00:59')
    await put('calls', '01:01')
    await expect(database.query('update security_event set events = 2')).rejects.toMatchObject({ code: 'HF007' })
    await expect(database.query('truncate security_event')).rejects.toMatchObject({ code: 'HF007' })
    const worker = await openTestDatabase({
      url: database.urlOf('app_worker'),
      poolSize: 1,
      applicationName: 'test-worker',
    })
    expect(await deleteExpiredSecurityEvents(worker)).toEqual({ count: 2, isDone: true })
    expect(await deleteExpiredSecurityEvents(worker)).toEqual({ count: 0, isDone: true })
    await worker.close()
    expect(await database.query('select kind from security_event order by kind')).toEqual([
      { kind: 'calls' },
      { kind: 'denied' },
    ])
  })
})
