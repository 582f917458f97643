import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import { CALL_WITHIN_MS, until } from '../../test/support/until.ts'
import { callRaw } from '../../test/support/raw_call.ts'
import { POOL_WAIT_MS } from '../db/connection/session.ts'
import { createClient, ServingStatus } from './client.ts'
import { OrderServiceService } from './gen/holdfast/v1/order.ts'

/** Far more than an api process has sessions for (requirements SR-9.3: ten). */
const CALLS = 100
/** The half of them that callers share. The other half is for probes, new orders and reports. */
const SESSIONS = 5n
/** The read of the account states, which all calls share. */
const ACCOUNTS = 1n

let database: TestDatabase
let front: TestFront

beforeAll(async () => {
  database = await createTestDatabase()
  front = await createTestFront(database, { poolWaitMs: POOL_WAIT_MS })
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

const { getOrder, listOrders } = OrderServiceService
const READS = [
  { path: getOrder.path, body: getOrder.requestSerialize({ orderId: randomUUID(), includeShippingAddress: false }) },
  { path: listOrders.path, body: Buffer.alloc(0) },
]

/** Reads by both doors to the database, all at once. */
async function readAtOnce(times: number) {
  const token = await front.tokenOf(customer(1))
  const calls = Array.from({ length: times }, (_, at) => READS[at % READS.length] ?? READS[0])
  return Promise.all(
    calls.map((call) =>
      callRaw(front.address, call?.path ?? '', call?.body ?? Buffer.alloc(0), [['authorization', `Bearer ${token}`]]),
    ),
  )
}

const countSessions = async (): Promise<bigint> => {
  const [row] = await database.query<{ sessions: bigint }>(
    `select count(*) as sessions from pg_stat_activity where datname = current_database() and usename = 'app_api'`,
  )
  return row?.sessions ?? 0n
}

test('a front whose sessions are all taken says so soon and when to come back, takes no more of them, and recovers', async () => {
  const blocker = new pg.Client({ connectionString: database.url })
  await blocker.connect()
  await blocker.query('begin')
  await blocker.query('lock table holdfast.orders in access exclusive mode')
  const answers = readAtOnce(CALLS)
  await until(async () => (await countSessions()) === SESSIONS + ACCOUNTS)
  const probe = createClient({ deadlineMs: CALL_WITHIN_MS, address: front.address, token: () => '' })
  expect(await probe.health.check({})).toEqual({ status: ServingStatus.SERVING })
  probe.close()
  for (const { code, detail } of await answers) {
    expect({ code, detail }).toMatchObject({
      code: 'UNAVAILABLE',
      detail: { reason: 'DATABASE_UNAVAILABLE', retryAfterMs: expect.any(Number) },
    })
  }
  expect(await countSessions()).toBeLessThanOrEqual(SESSIONS + ACCOUNTS + 1n)
  await blocker.query('rollback')
  await blocker.end()
  const after = await readAtOnce(READS.length)
  expect(after.map(({ code }) => code)).toEqual(['PERMISSION_DENIED', 'OK'])
})

test('a first order needs none of the sessions that reads share', async () => {
  await putAddresses(database, 10)
  const product = await putProduct(database)
  const order = {
    idempotencyKey: randomUUID(),
    userId: 2n,
    lines: [{ productId: product.productId, quantity: 1, expectedUnitPrice: product.unitPrice }],
    asset: 'ETH',
    shippingAddress: 'Quay 1',
  }
  const create = () => front.as(customer(2)).order.createOrder(order)
  const release = Promise.withResolvers<void>()
  const held = Array.from({ length: Number(SESSIONS) }, () =>
    front.database.transaction(() => release.promise).catch(() => undefined),
  )
  try {
    await until(async () => front.database.stats().waiting > 0)
    const { orderId } = await create()
    // So does the stored answer of an attempt that would now be refused.
    front.setRate(undefined)
    expect(await create()).toMatchObject({ orderId })
  } finally {
    release.resolve()
    await Promise.all(held)
  }
})
