import { randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { DomainError } from '../domain/failure.ts'
import type { Principal } from '../domain/access.ts'
import { createCursorSeal } from '../keyvault/cursor.ts'
import { MAX_INT64 } from './field.ts'
import { Product } from './gen/holdfast/v1/catalog.ts'
import { DeadNotification } from './gen/holdfast/v1/notification_admin.ts'
import { OrderSummary } from './gen/holdfast/v1/order.ts'
import type { MethodPath } from './method.ts'
import { cutPage, MAX_PAGE_BYTES, pageOf, type Listing } from './page.ts'

const cursors = createCursorSeal(randomBytes(32))
const principalOf = (userId: bigint): Principal => ({ subject: `${userId}`, userId, roles: ['customer'], tokenId: 't' })
const callOf = (userId: bigint, path: MethodPath): Listing['call'] => ({
  principal: principalOf(userId),
  record: { path },
})

const LIST = '/holdfast.v1.OrderService/ListOrders'
const filter = { status: 'pending', userId: 7n, createdFrom: undefined }
const listing: Listing = { cursors, call: callOf(7n, LIST), filter, idPattern: /^row-\d$/ }
const rows = Array.from({ length: 4 }, (_, at) => ({ id: `row-${at}` }))
const idOf = ({ id }: { id: string }): string => id
const cursorOf = (changes: Partial<Listing> = {}, id = idOf): string =>
  cutPage({ ...listing, ...changes }, rows, { limit: 3, idOf: id }).nextCursor

describe('a page', () => {
  test('that is followed by another carries the cursor to it', () => {
    const { page, nextCursor } = cutPage(listing, rows, { limit: 3, idOf })
    expect(page).toEqual(rows.slice(0, 3))
    expect(pageOf(listing, { limit: 3, cursor: nextCursor })).toEqual({ limit: 4, offset: 0, after: 'row-2' })
  })

  test('that is the last carries no cursor, even when it is full', () => {
    expect(cutPage(listing, rows, { limit: 4, idOf })).toEqual({ page: rows, nextCursor: '' })
    expect(cutPage(listing, [], { limit: 4, idOf: () => '' })).toEqual({ page: [], nextCursor: '' })
  })

  test('that ends before its list does carries the cursor of where its query ended', () => {
    const reached = { id: 'row-9' }
    const { page, nextCursor } = cutPage(listing, rows, { limit: 4, idOf, reached })
    expect(page).toEqual(rows)
    expect(pageOf(listing, { limit: 4, cursor: nextCursor }).after).toBe('row-9')
    const none = cutPage(listing, [], { limit: 4, idOf, reached })
    expect([none.page, none.nextCursor]).toEqual([[], nextCursor])
    expect(cutPage(listing, rows, { limit: 3, idOf, reached }).nextCursor).toBe(cursorOf())
    expect(cutPage(listing, rows, { limit: 4, idOf, reached: null }).nextCursor).toBe('')
  })

  test('that is the first asks for one row more than it shows', () => {
    expect(pageOf(listing, { limit: 20, offset: 5, cursor: '' })).toEqual({ limit: 21, offset: 5, after: undefined })
  })

  test('ends before the answer is too large, and the next page begins there', () => {
    const cut = { limit: 3, idOf, bytesOf: () => MAX_PAGE_BYTES / 2 - 20_000 }
    const { page, nextCursor } = cutPage(listing, rows, cut)
    expect(page).toEqual(rows.slice(0, 2))
    expect(pageOf(listing, { limit: 3, cursor: nextCursor }).after).toBe('row-1')
  })

  test('counts what each row costs beside its message', () => {
    const many = Array.from({ length: 100_000 }, (_, at) => ({ id: `row-${at}` }))
    const { page } = cutPage(listing, many, { limit: 100_000, idOf, bytesOf: () => 6 })
    // Tag and length of a message this small are two bytes.
    expect(page.length * 8).toBeLessThan(MAX_PAGE_BYTES)
    expect(page.length).toBeGreaterThan(90_000)
  })

  test('has one row at least', () => {
    const { page, nextCursor } = cutPage(listing, rows, { limit: 3, idOf, bytesOf: () => MAX_PAGE_BYTES })
    expect(page).toEqual(rows.slice(0, 1))
    expect(nextCursor).not.toBe('')
  })
})

describe('a cursor is refused', () => {
  test.each<[string, string]>([
    ['from another caller', cursorOf({ call: callOf(8n, LIST) })],
    ['of another method', cursorOf({ call: callOf(7n, '/holdfast.v1.CatalogService/ListProducts') })],
    ['made for other filters', cursorOf({ filter: { ...filter, userId: 8n } })],
    ['made up', 'AAAA'],
    ['with something appended', `${cursorOf()}A`],
    ['for an id of another list', cursorOf({}, () => 'pending.abc')],
    ['in the form of an older build', Buffer.from('0123456789abcdefrow-1').toString('base64url')],
  ])('%s', (_name, cursor) => {
    const read = () => pageOf(listing, { limit: 3, cursor })
    expect(read).toThrow(DomainError)
    expect(read).toThrow(expect.objectContaining({ reason: 'FIELD_INVALID' }))
  })
})

describe('a full page of the largest', () => {
  const MAX_LIMIT = 100
  const time = new Date('9999-12-31T23:59:59.999Z')
  const id = 'f'.repeat(36)
  /** What the database allows at most: 200 characters, of four bytes each. */
  const longest = '𝔥'.repeat(200)
  const state = { orderId: id, status: 5, paymentState: 13, hold: 4, cancelReason: 6, version: MAX_INT64 } as const
  const money = { total: '999999999999.99', currency: 'EUR' }
  const productId = 'p'.repeat(64)
  test.each<[string, Uint8Array]>([
    [
      'orders in a list',
      OrderSummary.encode({ state, userId: MAX_INT64, ...money, createdAt: time, updatedAt: time }).finish(),
    ],
    [
      'products',
      Product.encode({
        ...{ productId, name: longest, unitPrice: money.total, currency: 'EUR', isActive: true },
        ...{ version: MAX_INT64, updatedAt: time },
      }).finish(),
    ],
    [
      'dead notifications',
      DeadNotification.encode({
        ...{ notificationId: MAX_INT64, channel: 'webhook', orderId: id, version: MAX_INT64, status: 5 },
        ...{ attempts: 2 ** 31 - 1, reason: longest, deadAt: time },
      }).finish(),
    ],
  ])('%s fits into an answer, many times over', (_name, message) => {
    expect((message.length + 5) * MAX_LIMIT * 4).toBeLessThan(MAX_PAGE_BYTES)
  })
})
