import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, type TestFront, type TestFrontOptions } from '../../test/support/front.ts'
import { callRaw, type RawAnswer } from '../../test/support/raw_call.ts'
import { HealthService } from './gen/grpc/health/v1/health.ts'
import { NotificationAdminServiceService } from './gen/holdfast/v1/notification_admin.ts'
import { OrderServiceService } from './gen/holdfast/v1/order.ts'
import { ADMIN_SERVICES, type Method } from './method.ts'

const LIST = NotificationAdminServiceService.listDeadNotifications
const ADMIN_METHODS = Object.values(ADMIN_SERVICES).flatMap((service) => Object.values<Method>(service))
const EMPTY = Buffer.alloc(0)

let database: TestDatabase
const fronts: TestFront[] = []

beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(async () => {
  for (const front of fronts) await front.stop()
  await database.drop()
})

async function openFront(options: Pick<TestFrontOptions, 'adminCidrs' | 'trustedProxies'>): Promise<TestFront> {
  const front = await createTestFront(database, options)
  fronts.push(front)
  return front
}

/** A call of an admin with a good token to the admin port. */
async function callAsAdmin(
  front: TestFront,
  headers: [string, string][] = [],
  path: string = LIST.path,
): Promise<RawAnswer> {
  const token = await front.tokenOf(admin)
  return callRaw(front.adminAddress, path, EMPTY, [['authorization', `Bearer ${token}`], ...headers])
}

const DENIED = { code: 'PERMISSION_DENIED', message: 'This is not allowed.', detail: { reason: 'PERMISSION_DENIED' } }

describe('the admin port', () => {
  test('admits callers of its networks, whose tokens then decide', async () => {
    const front = await openFront({ adminCidrs: ['127.0.0.0/8'] })
    expect(await callAsAdmin(front)).toMatchObject({ code: 'OK' })
    expect(await callRaw(front.adminAddress, LIST.path, EMPTY)).toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  test.each([
    ['an empty list', []],
    ['networks of others', ['10.0.0.0/8', '::1/128', '::/0']],
  ])('admits no caller with %s, whatever token and method', async (_name, adminCidrs) => {
    const front = await openFront({ adminCidrs })
    const unserved = ['/holdfast.v1.StockAdminService/DeleteEverything', '/holdfast.v1.OrderService/GetOrder']
    for (const path of [...ADMIN_METHODS.map((method) => method.path), ...unserved]) {
      expect(await callAsAdmin(front, [], path)).toMatchObject(DENIED)
      // Before everything else: a stranger learns neither that the token is wrong nor what is served.
      for (const header of [
        ['authorization', 'Bearer x.y.z'],
        ['grpc-timeout', 'forever'],
        ['x-padding', 'p'.repeat(9_000)],
      ] as const)
        expect(await callRaw(front.adminAddress, path, EMPTY, [header])).toMatchObject(DENIED)
    }
  })

  test.each(['x-forwarded-for', 'forwarded', 'x-real-ip', 'x-client-ip', 'true-client-ip', 'cf-connecting-ip', 'via'])(
    'is not opened by the header %s',
    async (name) => {
      const front = await openFront({ adminCidrs: ['10.0.0.0/8'] })
      for (const value of ['10.0.0.1', '::ffff:10.0.0.1', 'for=10.0.0.1', '127.0.0.1, 10.0.0.1'])
        expect(await callAsAdmin(front, [[name, value]])).toMatchObject(DENIED)
    },
  )

  test('behind a trusted proxy admits by the address that the proxy appended', async () => {
    const front = await openFront({ adminCidrs: ['10.0.0.0/8'], trustedProxies: ['127.0.0.1/32'] })
    const through = (value: string) => callAsAdmin(front, [['x-forwarded-for', value]])
    expect(await through('198.51.100.9, 10.0.0.1')).toMatchObject({ code: 'OK' })
    expect(await through('10.0.0.1, 198.51.100.9')).toMatchObject(DENIED)
    expect(await callAsAdmin(front)).toMatchObject(DENIED)
  })

  test('admits no caller for whom its proxy does not say readably who calls, be the proxy itself admitted', async () => {
    const front = await openFront({ adminCidrs: ['127.0.0.0/8'], trustedProxies: ['127.0.0.1/32'] })
    expect(await callAsAdmin(front)).toMatchObject({ code: 'OK' })
    for (const value of ['unknown', '198.51.100.9:4711', '127.0.0.1,'])
      expect(await callAsAdmin(front, [['x-forwarded-for', value]])).toMatchObject(DENIED)
  })

  test('has no way to its services past it: the public port does not serve them', async () => {
    const front = await openFront({ adminCidrs: [] })
    const token = await front.tokenOf(admin)
    for (const { path } of ADMIN_METHODS.filter((method) => !method.path.startsWith('/grpc.health.'))) {
      const answer = await callRaw(front.address, path, EMPTY, [['authorization', `Bearer ${token}`]])
      expect([path, answer.code]).toEqual([path, 'UNIMPLEMENTED'])
    }
    expect(await callRaw(front.address, HealthService.check.path, EMPTY)).toMatchObject({ code: 'OK' })
  })
})

test('the log and the audit know a client behind a trusted proxy by its own address', async () => {
  const seen: string[] = []
  const front = await createTestFront(database, {
    trustedProxies: ['127.0.0.1/32'],
    deps: { peerHashOf: (address) => (seen.push(address), `hash of ${address}`) },
  })
  fronts.push(front)
  const token = await front.tokenOf(customer(7))
  for (const forwarded of ['1.1.1.1, ::FFFF:198.51.100.9', '2001:DB8::0:1', 'unknown'])
    await callRaw(front.address, OrderServiceService.listOrders.path, EMPTY, [
      ['authorization', `Bearer ${token}`],
      ['x-forwarded-for', forwarded],
    ])
  // The security events know the network of an IPv6 host, the audit its address.
  expect(new Set(seen)).toEqual(new Set(['198.51.100.9', '2001:db8::1', '2001:db8:0:0::/64', '127.0.0.1']))
  const lines = front.logLines().map((line) => JSON.parse(line) as { peer: string; isPeerKnown?: boolean })
  expect(lines.map(({ peer, isPeerKnown = true }) => [peer, isPeerKnown])).toEqual([
    ['198.51.100.9', true],
    ['2001:db8::1', true],
    ['127.0.0.1', false],
  ])
})
