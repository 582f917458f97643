import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, type TestFront, type TestFrontOptions } from '../../test/support/front.ts'
import { callRaw, type RawAnswer } from '../../test/support/raw_call.ts'
import { HealthService } from './gen/grpc/health/v1/health.ts'
import { NotificationAdminServiceService } from './gen/holdfast/v1/notification_admin.ts'
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
    for (const { path } of ADMIN_METHODS) {
      expect(await callAsAdmin(front, [], path)).toMatchObject(DENIED)
      // Before the token: a stranger does not even learn that it is wrong.
      expect(await callRaw(front.adminAddress, path, EMPTY, [['authorization', 'Bearer x.y.z']])).toMatchObject(DENIED)
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

test.each([
  ['1.1.1.1, ::FFFF:198.51.100.9', '198.51.100.9'],
  ['2001:DB8::0:1', '2001:db8::1'],
])(
  'the log and the audit know a client that a trusted proxy calls %j by its own address',
  async (forwarded, address) => {
    const seen: string[] = []
    const front = await createTestFront(database, {
      trustedProxies: ['127.0.0.1/32'],
      deps: { peerHashOf: (of) => (seen.push(of), `hash of ${of}`) },
    })
    fronts.push(front)
    await callRaw(front.address, HealthService.check.path, EMPTY, [['x-forwarded-for', forwarded]])
    expect(seen).toEqual([address])
    expect(front.logLines().map((line) => (JSON.parse(line) as { peer: string }).peer)).toEqual(seen)
  },
)
