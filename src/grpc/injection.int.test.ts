// Injection strings in every string field of every RPC, against the real front and database: each is stored verbatim or
// refused with INVALID_ARGUMENT, and nothing else happens.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { fullOf, placesOf, requestOf, findMessage, type Message } from '../../test/support/descriptor.ts'
import {
  admin,
  createTestFront,
  customer,
  fulfilment,
  watcher,
  type Caller,
  type TestFront,
} from '../../test/support/front.ts'
import { INJECTIONS } from '../../test/support/injection.ts'
import { createRawClient, type RawClient, type Status } from '../../test/support/raw_client.ts'
import { sampleOf } from '../../test/support/sample.ts'
import { COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import { forEachBounded } from '../domain/concurrency.ts'
import { PRODUCT_ID_PATTERN } from '../domain/stock.ts'
import { shippingAddress } from './field.ts'
import { CreateOrderResponse, GetOrderResponse } from './gen/holdfast/v1/order.ts'
import { GetProductResponse, ListProductsResponse } from './gen/holdfast/v1/catalog.ts'
import { PaymentReport } from './gen/holdfast/v1/payment.ts'
import { ADMIN_SERVICES, METHODS, type Method, type MethodPath } from './method.ts'
import { MAX_REPORT_BYTES } from './report.ts'
import { SCHEMAS } from './schema.ts'
import { text } from './text.ts'

const WIDTH = 8
const USER = 7
const me = customer(USER)
/** Tables that a call could write. */
const TABLES = [
  ...['orders', 'order_line', 'invoice', 'reservation', 'product', 'stock', 'stock_movement', 'payment_report'],
  ...['payment', 'notification', 'workflow_start', 'order_wake', 'idempotency', 'audit_entry'],
]
const ADMIN_PATHS = new Set(
  Object.entries(ADMIN_SERVICES).flatMap(([name, service]) =>
    name === 'health' ? [] : Object.values<Method>(service).map(({ path }) => path),
  ),
)

let shop: TestShop
let front: TestFront
let publicClient: RawClient
let adminClient: RawClient
const tokens = new Map<string, string>()

beforeAll(async () => {
  shop = await createTestShop()
  await putAddresses(shop.test, INJECTIONS.length)
  front = await createTestFront(shop.test, { deps: { isRunning: async () => false } })
  publicClient = createRawClient(front.address)
  adminClient = createRawClient(front.adminAddress)
}, COUNT_WITHIN_MS)
// All tests together may outlive a token.
beforeEach(async () => {
  for (const caller of [me, admin, fulfilment, watcher]) tokens.set(caller.role, await front.tokenOf(caller))
})
afterAll(async () => {
  publicClient.close()
  adminClient.close()
  await front.stop()
  await shop.close()
})

const SERVICE_CALLERS: Readonly<Record<string, Caller>> = {
  OrderService: me,
  FulfilmentService: fulfilment,
  PaymentService: watcher,
  RefundService: me,
}
const callerOf = (path: string): Caller => SERVICE_CALLERS[/\.(\w+)\//.exec(path)?.[1] ?? ''] ?? admin

function methodOf(path: MethodPath): Method {
  const method = METHODS.find((each) => each.path === path)
  if (method === undefined) throw new Error(`no method ${path}`)
  return method
}

/** Sends a message as its usual caller. */
const ask = (method: Method, message: Message, caller = callerOf(method.path)): Promise<Status> =>
  (ADMIN_PATHS.has(method.path) ? adminClient : publicClient).ask(
    method,
    method.requestSerialize(message as never),
    tokens.get(caller.role) ?? '',
  )
const full = (path: string): Message => ({ ...fullOf(requestOf(path), sampleOf), ...keyOf(path) })
/** A key of its own for each call that takes one. */
const keyOf = (path: string): Message =>
  requestOf(path).fields.some(({ name }) => name === 'idempotency_key') ? { idempotencyKey: randomUUID() } : {}

const countRows = async (): Promise<unknown> => {
  const parts = TABLES.map((table) => `(select count(*) from ${table}) as ${table}`)
  return (await shop.query(`select ${parts.join(', ')}`))[0]
}

const isTaken = ({ path }: Method, message: Message): boolean => SCHEMAS[path as MethodPath].safeParse(message).success
/** A key of its own, unless the key is what a test is about. */
const otherKeyOf = ({ path }: Method, name: string): Message => (name === 'idempotency_key' ? {} : keyOf(path))

/** What an answer may be that is no success: a refusal in our own words, which repeats nothing. */
function expectRefused({ code, message, detail }: Status, given: string): void {
  expect({ given, code, reason: detail.reason }).toEqual({ given, code: 'INVALID_ARGUMENT', reason: 'FIELD_INVALID' })
  expect(detail.violations.length).toBeGreaterThan(0)
  expectSilent(message + JSON.stringify(detail), given)
}

const DATABASE_WORDS = /syntax|relation|column|constraint|postgres|sqlstate|violates|stack|node_modules|slonik| at \//i
function expectSilent(said: string, given: string): void {
  expect(said).not.toMatch(DATABASE_WORDS)
  // Shorter ones are found in any sentence.
  if (given.length > 6 && !PRODUCT_ID_PATTERN.test(given)) expect(said.includes(given)).toBe(false)
}

/** What a name or a reason is stored as; undefined: it is refused. */
const line = text(200)
const nameOf = (given: string): string | undefined => line.safeParse(given).data
const addressOf = (given: string): string | undefined => shippingAddress.safeParse(given).data

/** Fields of free text: a test of their own shows what is stored. Everything else has a shape. */
const FREE_TEXT = new Set(['shipping_address', 'name', 'reason'])
/** The string in every field that has a shape. */
const everyShaped =
  (given: string) =>
  (name: string): unknown =>
    typeof sampleOf(name) === 'string' && !FREE_TEXT.has(name) ? given : sampleOf(name)
const DOMAIN_CODES = [
  ...['OK', 'NOT_FOUND', 'FAILED_PRECONDITION', 'ABORTED', 'INVALID_ARGUMENT', 'UNAUTHENTICATED'],
  // For an order or a refund that the caller does not reach.
  'PERMISSION_DENIED',
]

describe('at least 500 injection strings', () => {
  test('are different ones, of which most reach the database where text is free', () => {
    expect(INJECTIONS.length).toBeGreaterThanOrEqual(500)
    expect(new Set(INJECTIONS).size).toBe(INJECTIONS.length)
    expect(INJECTIONS.filter((given) => nameOf(given) !== undefined).length).toBeGreaterThan(300)
  })

  const shapedOf = (path: string) =>
    placesOf(requestOf(path), sampleOf).filter(({ kind, name }) => kind === 'string' && !FREE_TEXT.has(name))
  // A question of reflection has one of its fields, so they cannot be broken all at once: see reflection.int.test.ts.
  const withShaped = METHODS.filter(({ path, requestStream }) => !requestStream && shapedOf(path).length > 0)

  test.each(withShaped.map((method) => [method.path, method] as const))(
    'break the shape of every field of %s, are refused there, and write nothing',
    async (path, method) => {
      const places = shapedOf(path)
      const before = await countRows()
      // All fields at once: the answer names each that breaks its rule.
      await forEachBounded(INJECTIONS, WIDTH, async (given) => {
        const all = places.filter(({ put }) => !isTaken(method, put(given))).map((place) => place.path)
        // Of a oneof, a full request has the message, not the string.
        const broken = all.filter((one) => !places.some(({ path: other }) => other.startsWith(`${one}.`)))
        if (broken.length === 0) return
        const answer = await ask(method, fullOf(requestOf(path), everyShaped(given)))
        expectRefused(answer, given)
        expect([given, answer.detail.violations.map(({ field }) => field)]).toEqual([given, broken])
      })
      expect(await countRows()).toEqual(before)
    },
    COUNT_WITHIN_MS,
  )

  test('that have the shape of a field are names like any other', async () => {
    for (const method of withShaped) {
      for (const place of shapedOf(method.path)) {
        const taken = INJECTIONS.filter((given) => isTaken(method, place.put(given)))
        await forEachBounded(taken, WIDTH, async (given) => {
          const { code, message, detail } = await ask(method, {
            ...place.put(given),
            ...otherKeyOf(method, place.name),
          })
          expect([given, DOMAIN_CODES.includes(code) ? 'a code of the domain' : code]).toEqual([
            given,
            'a code of the domain',
          ])
          expectSilent(message + JSON.stringify(detail), given)
        })
      }
    }
    const [{ orders } = { orders: 1n }] = await shop.query<{ orders: bigint }>('select count(*) as orders from orders')
    expect(orders).toBe(0n)
  })

  test(
    'in the signed body of a report are refused, and write nothing',
    async () => {
      const before = await countRows()
      const method = methodOf('/holdfast.v1.PaymentService/ReportPayments')
      const body = findMessage('holdfast.v1.PaymentReport')
      await forEachBounded(INJECTIONS, WIDTH, async (given) => {
        const report = Buffer.from(PaymentReport.encode(fullOf(body, everyShaped(given)) as never).finish())
        if (report.length > MAX_REPORT_BYTES) return
        const request = { id: randomUUID(), timestampS: BigInt(Math.floor(Date.now() / 1_000)), report }
        expectRefused(await ask(method, { ...request, signatures: front.sign(request) }), given)
      })
      expect(await countRows()).toEqual(before)
    },
    COUNT_WITHIN_MS,
  )
})

describe('free text is stored verbatim or refused', () => {
  test(
    'as the name of a product',
    async () => {
      const put = methodOf('/holdfast.v1.CatalogAdminService/PutProduct')
      const get = methodOf('/holdfast.v1.CatalogService/GetProduct')
      const list = methodOf('/holdfast.v1.CatalogService/ListProducts')
      const stored = new Map<string, string>()
      await forEachBounded([...INJECTIONS.entries()], WIDTH, async ([at, given]) => {
        const productId = `name-${at}`
        const answer = await ask(put, { ...full(put.path), productId, name: given, expectedVersion: 0n })
        const expected = nameOf(given)
        if (expected === undefined) return expectRefused(answer, given)
        expect([given, answer.code]).toEqual([given, 'OK'])
        expect(expected).toBe(given)
        const { body } = await ask(get, { productId })
        expect(GetProductResponse.decode(body ?? Buffer.of()).product?.name).toBe(given)
        stored.set(productId, given)
      })
      const found = new Map<string, string>()
      for (let cursor = ''; ;) {
        const { body } = await ask(list, { limit: 100, offset: undefined, cursor })
        const page = ListProductsResponse.decode(body ?? Buffer.of())
        for (const { productId, name } of page.products) found.set(productId, name)
        if ((cursor = page.nextCursor) === '') break
      }
      for (const productId of found.keys()) if (!productId.startsWith('name-')) found.delete(productId)
      expect(Object.fromEntries(found)).toEqual(Object.fromEntries(stored))
    },
    COUNT_WITHIN_MS,
  )

  test(
    'as the reason of a correction of stock',
    async () => {
      const method = methodOf('/holdfast.v1.StockAdminService/AdjustStock')
      const { productId } = await putProduct(shop.test, { onHand: 0n })
      const change = { $case: 'delta', value: 1n }
      await forEachBounded(INJECTIONS, WIDTH, async (reason) => {
        const answer = await ask(method, {
          ...full(method.path),
          productId,
          change,
          reason,
          expectedVersion: undefined,
        })
        if (nameOf(reason) === undefined) expectRefused(answer, reason)
        else expect([reason, answer.code, answer.detail.reason]).toEqual([reason, 'OK', ''])
      })
      const rows = await shop.query<{ reason: string }>('select reason from stock_movement where product_id = $1', [
        productId,
      ])
      expect(rows.map(({ reason }) => reason).toSorted()).toEqual(
        INJECTIONS.filter((given) => nameOf(given) !== undefined).toSorted(),
      )
    },
    COUNT_WITHIN_MS,
  )

  test(
    'as the address of an order, and the reason of a restart',
    async () => {
      const { productId, unitPrice } = await putProduct(shop.test, { onHand: 10_000n })
      const create = methodOf('/holdfast.v1.OrderService/CreateOrder')
      const update = methodOf('/holdfast.v1.OrderService/UpdateShippingAddress')
      const get = methodOf('/holdfast.v1.OrderService/GetOrder')
      const restart = methodOf('/holdfast.v1.OrderAdminService/RestartOrder')
      const rehydrate = methodOf('/holdfast.v1.OrderAdminService/RehydrateOrders')
      const lines = [{ productId, quantity: 1, expectedUnitPrice: unitPrice }]
      const readAddress = async (orderId: string): Promise<string | undefined> => {
        const { body } = await ask(get, { orderId, includeShippingAddress: true })
        return GetOrderResponse.decode(body ?? Buffer.of()).order?.shippingAddress
      }
      const placed: string[] = []
      await forEachBounded(INJECTIONS, WIDTH, async (given) => {
        const answer = await ask(create, {
          ...full(create.path),
          userId: BigInt(USER),
          lines,
          asset: 'ETH',
          shippingAddress: given,
        })
        const expected = addressOf(given)
        if (expected === undefined) return expectRefused(answer, given)
        expect([given, answer.code]).toEqual([given, 'OK'])
        // Without tags and references it is stored as it came, with one form of line ends.
        if (!/[<>&]/.test(given)) expect(expected).toBe(given.trim().replaceAll('\r\n', '\n'))
        const { orderId } = CreateOrderResponse.decode(answer.body ?? Buffer.of())
        placed.push(orderId)
        expect(await readAddress(orderId)).toBe(expected)
      })
      const accepted = INJECTIONS.filter((given) => addressOf(given) !== undefined)
      expect(placed).toHaveLength(accepted.length)

      await forEachBounded([...accepted.entries()], WIDTH, async ([at, given]) => {
        const orderId = placed[at] ?? ''
        const answer = await ask(update, {
          ...full(update.path),
          orderId,
          shippingAddress: given,
          expectedVersion: undefined,
        })
        expect([given, answer.code]).toEqual([given, 'OK'])
        expect(await readAddress(orderId)).toBe(addressOf(given))
      })

      // As if the workflows had been started, and were lost.
      await shop.query('delete from workflow_start')
      const reasons = INJECTIONS.filter((given) => nameOf(given) !== undefined).slice(0, placed.length - 1)
      await forEachBounded([...INJECTIONS.entries()], WIDTH, async ([at, reason]) => {
        const orderId = placed[reasons.indexOf(reason)] ?? placed[at % placed.length]
        const answer = await ask(restart, { ...full(restart.path), orderId, reason })
        if (nameOf(reason) === undefined) expectRefused(answer, reason)
        else expect([reason, answer.code]).toEqual([reason, reasons.includes(reason) ? 'OK' : 'FAILED_PRECONDITION'])
      })
      const said = await shop.query<{ body: string }>(
        `select body from audit_entry where kind = 'order' and body like '%"role":"admin"%'`,
      )
      const found = said.map(({ body }) => (JSON.parse(body) as { by: { reason?: string } }).by.reason)
      expect(found.filter((reason) => reason !== undefined).toSorted()).toEqual(reasons.toSorted())

      await forEachBounded(INJECTIONS, WIDTH, async (reason) => {
        const answer = await ask(rehydrate, { ...full(rehydrate.path), reason, limit: 1 })
        if (nameOf(reason) === undefined) expectRefused(answer, reason)
        else expect([reason, answer.code, answer.detail.reason]).toEqual([reason, 'OK', ''])
      })
    },
    COUNT_WITHIN_MS,
  )
})
