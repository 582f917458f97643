import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { createTestFront, type TestFront } from '../../test/support/front.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import { claimNotifications } from '../db/notification.ts'
import { DomainError } from '../domain/failure.ts'
import { orderStatus } from './client.ts'

let shop: TestShop
let front: TestFront
let admin: ReturnType<TestFront['asAdmin']>['notification']

beforeAll(async () => {
  shop = await createTestShop()
  front = await createTestFront(shop.test)
  admin = front.asAdmin().notification
})
beforeEach(() => shop.query('delete from notification'))
afterAll(async () => {
  await front.stop()
  await shop.close()
})

/** Orders whose first notification was given up. @returns its ids, oldest first */
async function bury(times: number): Promise<bigint[]> {
  for (let at = 0; at < times; at += 1) await shop.order()
  const rows = await shop.query<{ id: bigint }>(
    `update notification set dead_at = clock_timestamp(), dead_reason = 'the receiver answered 503', attempts = 30
     returning notification_id as id`,
  )
  return rows.map(({ id }) => id).toSorted((a, b) => Number(a - b))
}
const replay = (overrides: object) =>
  admin.replayNotifications({ idempotencyKey: randomUUID(), notificationIds: [], all: false, ...overrides })
const dead = async (): Promise<bigint[]> =>
  (await admin.listDeadNotifications({})).notifications.map(({ notificationId }) => notificationId)
const claimed = async () =>
  (await claimNotifications(shop.worker, 'p-1', 100, 'log')).map(({ notificationId }) => notificationId)

describe('ListDeadNotifications', () => {
  test('shows what was given up and why, page by page, and nothing that is alive', async () => {
    const ids = await bury(5)
    const alive = await shop.order()
    const seen: bigint[] = []
    for (let cursor = ''; ;) {
      const page = await admin.listDeadNotifications({ limit: 2, cursor })
      for (const row of page.notifications) {
        expect(row).toMatchObject({ channel: 'log', version: 1n, attempts: 30, reason: 'the receiver answered 503' })
        expect(orderStatus.wordOf(row.status)).toBe('pending')
        expect(row.orderId).not.toBe(alive.orderId)
        seen.push(row.notificationId)
      }
      if ((cursor = page.nextCursor) === '') break
    }
    expect(seen).toEqual(ids)
  })
})

describe('ReplayNotifications', () => {
  test('has those named tried again as if never before, and leaves the others', async () => {
    const [first = 0n, second = 0n, third = 0n] = await bury(3)
    expect(await replay({ notificationIds: [third, first, first, 999_999_999n] })).toEqual({
      notificationIds: [first, third],
    })
    expect(await dead()).toEqual([second])
    expect(new Set(await claimed())).toEqual(new Set([first, third]))
    expect(await shop.query('select distinct attempts from notification where claimed_by is not null')).toEqual([
      { attempts: 1 },
    ])
  })

  test('of all, repeated with its key, revives what was dead the first time and answers the same', async () => {
    const ids = await bury(3)
    const idempotencyKey = randomUUID()
    const answers = await Promise.all(Array.from({ length: 20 }, () => replay({ idempotencyKey, all: true })))
    expect(await dead()).toEqual([])
    const later = await bury(2)
    answers.push(await replay({ idempotencyKey, all: true }))
    for (const { notificationIds } of answers) expect(notificationIds).toEqual(ids)
    expect(await dead()).toEqual(expect.arrayContaining(later))
  })

  test.each([
    ['neither ids nor all', {}],
    ['both', { notificationIds: [1n], all: true }],
    ['an id of nothing', { notificationIds: [0n] }],
    ['more ids than one statement may change', { notificationIds: Array.from({ length: 1_001 }, () => 1n) }],
  ])('with %s is refused', async (_what, request) => {
    const error: unknown = await replay(request).catch((failure: unknown) => failure)
    expect(error).toBeInstanceOf(DomainError)
    expect(error).toMatchObject({ reason: 'FIELD_INVALID' })
  })
})
