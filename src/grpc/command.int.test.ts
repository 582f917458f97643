import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import {
  admin,
  createTestFront,
  customer,
  fulfilment,
  watcher,
  type TestFront,
  failureOf,
} from '../../test/support/front.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import { DomainError } from '../domain/failure.ts'
import { createReporter, orderStatus, type TransportError } from './client.ts'
import type { CreateOrderResponse } from './gen/holdfast/v1/order.ts'

const TIMEOUT_MS = 300_000

let database: TestDatabase
let worker: TestWorker
let front: TestFront
let product: TestProduct

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 100)
  worker = await createTestWorker(database)
  await worker.run()
  front = await createTestFront(database, { engine: worker.client })
  product = await putProduct(database, { onHand: 1_000n })
}, TIMEOUT_MS)
afterAll(async () => {
  await front.stop()
  await worker.stop()
  await database.drop()
}, TIMEOUT_MS)

const create = (userId: number, by = front): Promise<CreateOrderResponse> =>
  by.as(customer(userId)).order.createOrder({
    idempotencyKey: randomUUID(),
    userId: BigInt(userId),
    lines: [{ productId: product.productId, quantity: 1, expectedUnitPrice: product.unitPrice }],
    asset: 'ETH',
    shippingAddress: 'Quay 1',
  })
const command = (orderId: string, expectedVersion?: bigint) => ({
  idempotencyKey: randomUUID(),
  orderId,
  ...(expectedVersion !== undefined && { expectedVersion }),
})
const statusOf = async (orderId: string): Promise<string | undefined> => {
  const { order } = await front.as(admin).order.getOrder({ orderId })
  return orderStatus.wordOf(order?.state?.status ?? 0)
}
/** Reports final money, as the watcher would, and waits for the workflow to have seen it. */
async function pay({ orderId, paymentRequest }: CreateOrderResponse): Promise<void> {
  const report = createReporter({
    client: front.as(watcher),
    source: 'watcher-1',
    confirmations: 12,
    sign: front.sign,
  })
  await report([
    {
      network: 'ethereum',
      asset: 'ETH',
      txId: `0x${randomUUID().replaceAll('-', '').repeat(2)}`,
      outputIndex: 0,
      seq: 1,
      state: 'final',
      address: paymentRequest?.address ?? '',
      amount: BigInt(paymentRequest?.amount?.units ?? 0),
      block: { height: 1, hash: `0x${'a'.repeat(64)}` },
      firstSeenAt: new Date(),
    },
  ])
  await until(async () => (await statusOf(orderId)) === 'processing')
}
const reservedNow = async (): Promise<bigint> => {
  const [row] = await database.query<{ reserved: bigint }>('select reserved from stock where product_id = $1', [
    product.productId,
  ])
  return row?.reserved ?? -1n
}

describe('CancelOrder', () => {
  test(
    'gives the stock back and answers the same however often it is sent',
    async () => {
      const { orderId } = await create(1)
      const before = await reservedNow()
      const request = command(orderId)
      const me = front.as(customer(1)).order
      const answers = await Promise.all(Array.from({ length: 10 }, () => me.cancelOrder(request)))
      answers.push(await me.cancelOrder(request))
      expect(new Set(answers.map(({ status, version }) => `${orderStatus.wordOf(status)} ${version}`))).toEqual(
        new Set(['cancelled 2']),
      )
      expect(await reservedNow()).toBe(before - 1n)
    },
    TIMEOUT_MS,
  )

  test(
    'with the key of another request is refused',
    async () => {
      const [first, second] = [await create(2), await create(2)]
      const request = command(first.orderId)
      const me = front.as(customer(2)).order
      await me.cancelOrder(request)
      expect((await failureOf(me.cancelOrder({ ...request, orderId: second.orderId }))).reason).toBe(
        'IDEMPOTENCY_KEY_REUSED',
      )
    },
    TIMEOUT_MS,
  )

  test(
    'of a cancelled order says so, also when its workflow has closed',
    async () => {
      const { orderId } = await create(3)
      const me = front.as(customer(3)).order
      await me.cancelOrder(command(orderId))
      await worker.client.workflow.getHandle(`order:${orderId}`).result()
      expect(await failureOf(me.cancelOrder(command(orderId)))).toMatchObject({
        reason: 'ORDER_STATUS',
        metadata: { status: 'cancelled' },
      })
    },
    TIMEOUT_MS,
  )

  test(
    'at another version does nothing',
    async () => {
      const { orderId } = await create(4)
      const error = await failureOf(front.as(customer(4)).order.cancelOrder(command(orderId, 7n)))
      expect(error).toMatchObject({ reason: 'VERSION_MISMATCH', kind: 'conflict', metadata: { version: '1' } })
      expect(await statusOf(orderId)).toBe('pending')
    },
    TIMEOUT_MS,
  )

  test(
    'of somebody else’s order is denied before the engine hears of it',
    async () => {
      const { orderId } = await create(5)
      // A front without an engine could not ask it: it would be ENGINE_UNAVAILABLE.
      const lonely = await createTestFront(database)
      for (const { as } of [front, lonely]) {
        expect((await failureOf(as(customer(6)).order.cancelOrder(command(orderId)))).reason).toBe('PERMISSION_DENIED')
        expect((await failureOf(as(admin).order.cancelOrder(command(randomUUID())))).reason).toBe('NOT_FOUND')
      }
      await lonely.stop()
    },
    TIMEOUT_MS,
  )
})

test(
  'a paid order is shipped, then delivered, and nothing out of turn',
  async () => {
    const order = await create(10)
    const { orderId } = order
    const warehouse = front.as(fulfilment).fulfilment
    expect(await failureOf(front.as(admin).fulfilment.markShipped(command(orderId)))).toMatchObject({
      reason: 'ORDER_STATUS',
      metadata: { status: 'pending' },
    })
    await pay(order)
    expect((await failureOf(warehouse.markDelivered(command(orderId)))).reason).toBe('ORDER_STATUS')
    const shipped = await warehouse.markShipped(command(orderId))
    expect(orderStatus.wordOf(shipped.status)).toBe('shipped')
    expect((await failureOf(front.as(customer(10)).order.cancelOrder(command(orderId)))).metadata).toEqual({
      status: 'shipped',
    })
    const delivered = await warehouse.markDelivered(command(orderId, shipped.version))
    expect(orderStatus.wordOf(delivered.status)).toBe('delivered')
  },
  TIMEOUT_MS,
)

test(
  'fulfilment learns nothing of an order that it does not work on, by no command: neither that it exists nor its status',
  async () => {
    const order = await create(12)
    const { orderId } = order
    const warehouse = front.as(fulfilment).fulfilment
    const refusals = async (id: string) => [
      await failureOf(warehouse.markShipped(command(id))),
      await failureOf(warehouse.markShipped(command(id, 7n))),
      await failureOf(warehouse.markDelivered(command(id))),
    ]
    const asMissing = (failures: DomainError[]) =>
      failures.map(({ reason, message, metadata }) => ({ reason, message, metadata }))
    const missing = asMissing(await refusals(randomUUID()))
    expect(missing[0]).toEqual({ reason: 'PERMISSION_DENIED', message: 'This is not allowed.', metadata: {} })
    expect(asMissing(await refusals(orderId))).toEqual(missing)
    await pay(order)
    expect((await failureOf(warehouse.markDelivered(command(orderId)))).reason).toBe('ORDER_STATUS')
    await front.as(customer(12)).order.cancelOrder(command(orderId))
    expect(asMissing(await refusals(orderId))).toEqual(missing)
  },
  TIMEOUT_MS,
)

test(
  'a delivery that is reported again under its key gets its answer, under another key what GetOrder says',
  async () => {
    const order = await create(13)
    const { orderId } = order
    const { fulfilment: warehouse, order: orders } = front.as(fulfilment)
    await pay(order)
    await warehouse.markShipped(command(orderId))
    const request = command(orderId)
    const delivered = await warehouse.markDelivered(request)
    expect(await warehouse.markDelivered(request)).toEqual(delivered)
    const refusal = await failureOf(orders.getOrder({ orderId }))
    expect(refusal.reason).toBe('PERMISSION_DENIED')
    expect(await failureOf(warehouse.markDelivered(command(orderId)))).toMatchObject({
      reason: refusal.reason,
      message: refusal.message,
    })
    // The key alone opens nothing: not with another request, and not for another caller.
    const reused = await failureOf(warehouse.markDelivered({ ...request, expectedVersion: 1n }))
    expect(reused.reason).toBe('IDEMPOTENCY_KEY_REUSED')
    const colleague = front.as({ role: 'fulfilment', subject: '22' }).fulfilment
    expect((await failureOf(colleague.markDelivered(request))).reason).toBe('PERMISSION_DENIED')
  },
  TIMEOUT_MS,
)

test(
  'a paid order on hold is not shipped',
  async () => {
    const order = await create(11)
    await pay(order)
    await database.query("update orders set hold = 'manual' where order_id = $1", [order.orderId])
    expect((await failureOf(front.as(fulfilment).fulfilment.markShipped(command(order.orderId)))).reason).toBe(
      'ORDER_ON_HOLD',
    )
  },
  TIMEOUT_MS,
)

describe('while the engine is down', () => {
  test(
    'orders are taken and read, and a command is UNAVAILABLE with a hint, never refused',
    async () => {
      const lonely = await createTestFront(database)
      const { orderId } = await create(20, lonely)
      expect((await lonely.as(customer(20)).order.getOrder({ orderId })).order?.state?.version).toBe(1n)
      expect(await failureOf(lonely.as(customer(20)).order.cancelOrder(command(orderId)))).toMatchObject({
        reason: 'ENGINE_UNAVAILABLE',
        retryAfterMs: 1_000,
      })
      await lonely.stop()
    },
    TIMEOUT_MS,
  )
})

describe('before the workflow has started', () => {
  test(
    'a command starts it',
    async () => {
      const other = await createTestDatabase()
      await putAddresses(other, 10)
      const item = await putProduct(other, { productId: product.productId })
      const idle = await createTestWorker(other, { relays: [] })
      await idle.run()
      const eager = await createTestFront(other, { engine: idle.client })
      expect(item.unitPrice).toBe(product.unitPrice)
      const { orderId } = await create(30, eager)
      const answer = await eager.as(customer(30)).order.cancelOrder(command(orderId))
      expect(orderStatus.wordOf(answer.status)).toBe('cancelled')
      await eager.stop()
      await idle.stop()
      await other.drop()
    },
    TIMEOUT_MS,
  )

  test(
    'and with no worker to run it, the command ends with its deadline and has its effect later',
    async () => {
      const other = await createTestDatabase()
      await putAddresses(other, 10)
      await putProduct(other, { productId: product.productId })
      const idle = await createTestWorker(other, { relays: [] })
      const eager = await createTestFront(other, { engine: idle.client })
      const me = eager.as(customer(31)).order
      const { orderId } = await create(31, eager)
      const request = command(orderId)
      const error = await me.cancelOrder(request, { deadlineMs: 1_000 }).catch((failure: unknown) => failure)
      expect(error instanceof DomainError ? error.reason : (error as TransportError).code).toBe('DEADLINE_EXCEEDED')
      await idle.run()
      // The worker is only just starting.
      const answer = await me.cancelOrder(request)
      expect(orderStatus.wordOf(answer.status)).toBe('cancelled')
      await eager.stop()
      await idle.stop()
      await other.drop()
    },
    TIMEOUT_MS,
  )
})
