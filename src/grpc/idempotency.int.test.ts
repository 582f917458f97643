// Every call that changes something, sent many times under one key, as bytes: one effect, and the same answer to the
// byte, however much has changed since. A new method is found by its service's definition.

import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import {
  admin,
  createTestFront,
  customer,
  fulfilment,
  watcher,
  type Caller,
  type TestFront,
} from '../../test/support/front.ts'
import { putRefund } from '../../test/support/refund.ts'
import { COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { until } from '../../test/support/until.ts'
import { callRaw, type RawAnswer } from '../../test/support/raw_call.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import { RETRY_HINT_MS } from '../domain/failure.ts'
import { createReporter } from './client.ts'
import { ADMIN_SERVICES, METHODS, PUBLIC_SERVICES, type Method } from './method.ts'
import { orderWorkflowId } from '../workflows/message.ts'
import { packReport } from './report.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const TIMES = 50
const OWNER = customer(7)

/** What only looks. Everything else changes something and is tested below. */
const READS = [
  '/grpc.health.v1.Health/Check',
  '/grpc.health.v1.Health/List',
  '/grpc.health.v1.Health/Watch',
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
  '/holdfast.v1.AuditService/GetOrderHistory',
  '/holdfast.v1.CatalogService/GetProduct',
  '/holdfast.v1.CatalogService/ListProducts',
  '/holdfast.v1.FulfilmentService/ListOrdersToShip',
  '/holdfast.v1.NotificationAdminService/ListDeadNotifications',
  '/holdfast.v1.OrderService/GetOrder',
  '/holdfast.v1.OrderService/ListOrders',
  '/holdfast.v1.OrderService/WatchOrder',
  '/holdfast.v1.PaymentAdminService/GetPaymentDossier',
  '/holdfast.v1.PaymentAdminService/ListPayments',
  '/holdfast.v1.RefundAdminService/ListRefundQueue',
  '/holdfast.v1.RefundService/ListRefunds',
  '/holdfast.v1.StockService/GetAvailability',
]

type Case = {
  method: Method
  caller: Caller
  request: object
  /** The same key with another wish. */
  other: object
  /** What the effect can be counted by. */
  effect: () => Promise<unknown>
  /** What it is when the call took effect once. */
  once: unknown
  /** Changes the same thing again by another call; undefined where nothing more can happen to it. */
  goOn?: () => Promise<unknown>
}

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
})
afterAll(async () => {
  await front.stop()
  await worker.stop()
  await database.drop()
})

const key = () => ({ idempotencyKey: randomUUID() })
const wish = () => ({
  userId: 7n,
  lines: [{ productId: product.productId, quantity: 1, expectedUnitPrice: product.unitPrice }],
  asset: 'ETH',
  shippingAddress: 'Quay 1',
})
const newOrder = () => front.as(OWNER).order.createOrder({ ...key(), ...wish() })
const value = async (text: string, values: readonly unknown[] = []): Promise<unknown> =>
  (await database.query<{ value: unknown }>(`select (${text})::text as value`, values))[0]?.value
const statusOf = (orderId: string) => value('select status from orders where order_id = $1', [orderId])
const movesOf = (orderId: string) => () =>
  value(
    `select count(*) || ' ' || max(status) from notification where order_id = $1 and channel = 'log' and order_version > 1 and status <> 'processing'`,
    [orderId],
  )

async function paidOrder(): Promise<string> {
  const { orderId, paymentRequest } = await newOrder()
  const report = createReporter({
    client: front.as(watcher),
    source: 'watcher-1',
    confirmations: 12,
    sign: front.sign,
  })
  await report([transferTo(paymentRequest?.address ?? '', BigInt(paymentRequest?.amount?.units ?? 0))])
  await until(async () => (await statusOf(orderId)) === 'processing')
  return orderId
}
/** Its workflow was terminated. */
async function lostOrder(): Promise<string> {
  const orderId = await paidOrder()
  // An order whose start is not settled is not lost: a relay has it.
  await until(async () => (await value('select count(*) from workflow_start where order_id = $1', [orderId])) === '0')
  await worker.client.workflow.getHandle(orderWorkflowId(orderId)).terminate()
  return orderId
}
async function newRefund(isWithAddress: boolean) {
  const orderId = await paidOrder()
  return { orderId, ...(await putRefund(database, orderId, { isWithAddress })) }
}
const changesOf = (refundId: string) => () =>
  value(`select version || ' ' || status from refund where refund_id = $1`, [refundId])

const restartsOf = (orderId: string) => () => value('select count(*) from order_restart where order_id = $1', [orderId])
const transferTo = (address: string, amount: bigint) => ({
  network: 'ethereum',
  asset: 'ETH' as const,
  txId: `0x${randomBytes(32).toString('hex')}`,
  outputIndex: 0,
  seq: 1,
  state: 'final' as const,
  address,
  amount,
  block: { height: 1, hash: `0x${'a'.repeat(64)}` },
  firstSeenAt: new Date(),
})

const CASES: Readonly<Record<string, () => Promise<Case>>> = {
  '/holdfast.v1.OrderService/CreateOrder': async () => {
    const request = { ...key(), ...wish(), shippingAddress: `Quay ${randomUUID()}` }
    const before = Number(await value('select count(*) from orders'))
    return {
      ...{ method: PUBLIC_SERVICES.order.createOrder, caller: OWNER, request },
      other: { ...request, asset: 'ETH', shippingAddress: 'Elsewhere 1' },
      effect: () => value('select count(*) from orders'),
      once: String(before + 1),
    }
  },
  '/holdfast.v1.OrderService/CancelOrder': async () => {
    const { orderId } = await newOrder()
    const request = { ...key(), orderId }
    return {
      ...{ method: PUBLIC_SERVICES.order.cancelOrder, caller: OWNER, request },
      other: { ...request, expectedVersion: 1n },
      ...{ effect: movesOf(orderId), once: '1 cancelled' },
    }
  },
  '/holdfast.v1.OrderService/UpdateShippingAddress': async () => {
    const { orderId } = await newOrder()
    const request = { ...key(), orderId, shippingAddress: 'Harbour Street 2' }
    return {
      ...{ method: PUBLIC_SERVICES.order.updateShippingAddress, caller: OWNER, request },
      other: { ...request, shippingAddress: 'Elsewhere 1' },
      effect: () => value('select version from orders where order_id = $1', [orderId]),
      once: '2',
      goOn: () => front.as(OWNER).order.updateShippingAddress({ ...key(), orderId, shippingAddress: 'Third 3' }),
    }
  },
  '/holdfast.v1.FulfilmentService/MarkShipped': async () => {
    const orderId = await paidOrder()
    const request = { ...key(), orderId }
    return {
      ...{ method: PUBLIC_SERVICES.fulfilment.markShipped, caller: fulfilment, request },
      other: { ...request, expectedVersion: 2n },
      ...{ effect: movesOf(orderId), once: '1 shipped' },
      goOn: () => front.as(fulfilment).fulfilment.markDelivered({ ...key(), orderId }),
    }
  },
  '/holdfast.v1.FulfilmentService/MarkDelivered': async () => {
    const orderId = await paidOrder()
    await front.as(fulfilment).fulfilment.markShipped({ ...key(), orderId })
    const request = { ...key(), orderId }
    return {
      ...{ method: PUBLIC_SERVICES.fulfilment.markDelivered, caller: fulfilment, request },
      other: { ...request, expectedVersion: 3n },
      effect: () => value('select status from orders where order_id = $1', [orderId]),
      once: 'delivered',
    }
  },
  '/holdfast.v1.StockAdminService/AdjustStock': async () => {
    const { productId } = await putProduct(database, { onHand: 0n })
    const request = { ...key(), productId, change: { $case: 'delta', value: 3n }, reason: 'recount' }
    return {
      ...{ method: ADMIN_SERVICES.stock.adjustStock, caller: admin, request },
      other: { ...request, reason: 'delivery' },
      effect: () => value('select on_hand from stock where product_id = $1', [productId]),
      once: '3',
      goOn: () => front.asAdmin().stock.adjustStock({ ...request, ...key(), change: { $case: 'delta', value: 4n } }),
    }
  },
  '/holdfast.v1.CatalogAdminService/PutProduct': async () => {
    const request = {
      ...key(),
      productId: `tea-${randomUUID().slice(0, 8)}`,
      name: 'Tea',
      unitPrice: '3.50',
      isActive: true,
    }
    return {
      ...{ method: ADMIN_SERVICES.catalog.putProduct, caller: admin, request },
      other: { ...request, unitPrice: '3.60' },
      effect: () => value('select version from product where product_id = $1', [request.productId]),
      once: '1',
      goOn: () => front.asAdmin().catalog.putProduct({ ...request, ...key(), name: 'Green tea' }),
    }
  },
  '/holdfast.v1.NotificationAdminService/ReplayNotifications': async () => {
    const { orderId } = await newOrder()
    // The notifier may be about to note that it told of it.
    await until(
      async () =>
        (await value('select bool_and(delivered_at is not null) from notification where order_id = $1', [orderId])) ===
        'true',
    )
    await database.query(
      `update notification set dead_at = now(), dead_reason = 'gone', delivered_at = null, channel = 'webhook' where order_id = $1`,
      [orderId],
    )
    const request = { ...key(), all: true, notificationIds: [] }
    const deaths = () =>
      value(`select count(*) from notification where order_id = $1 and dead_at is not null`, [orderId])
    return {
      ...{ method: ADMIN_SERVICES.notification.replayNotifications, caller: admin, request },
      other: { ...request, all: false, notificationIds: [1n] },
      ...{ effect: deaths, once: '0' },
    }
  },
  '/holdfast.v1.OrderAdminService/RestartOrder': async () => {
    const orderId = await lostOrder()
    const request = { ...key(), orderId, reason: 'lost' }
    return {
      ...{ method: ADMIN_SERVICES.order.restartOrder, caller: admin, request, other: { ...request, reason: 'other' } },
      ...{ effect: restartsOf(orderId), once: '1' },
    }
  },
  '/holdfast.v1.RefundService/SetRefundAddress': async () => {
    const { orderId, refundId } = await newRefund(false)
    const address = '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
    const request = { ...key(), orderId, refundId, address, confirm: false }
    return {
      ...{ method: PUBLIC_SERVICES.refund.setRefundAddress, caller: OWNER, request },
      other: { ...request, confirm: true },
      ...{ effect: changesOf(refundId), once: '2 awaiting_destination' },
    }
  },
  '/holdfast.v1.RefundAdminService/RequestRefund': async () => {
    const orderId = await paidOrder()
    const request = { ...key(), orderId, amount: { $case: 'units', value: '10' }, reason: 'a scratch' }
    return {
      ...{ method: ADMIN_SERVICES.refund.requestRefund, caller: admin, request },
      other: { ...request, amount: { $case: 'units', value: '11' } },
      effect: () => value('select count(*) from refund where order_id = $1', [orderId]),
      once: '1',
    }
  },
  '/holdfast.v1.RefundAdminService/ApproveRefund': async () => {
    const refund = await newRefund(true)
    const request = { ...key(), ...refund }
    return {
      ...{ method: ADMIN_SERVICES.refund.approveRefund, caller: admin, request },
      other: { ...request, version: 7n },
      effect: () => value('select count(*) from refund_approval where refund_id = $1', [refund.refundId]),
      once: '1',
    }
  },
  '/holdfast.v1.RefundAdminService/RejectRefund': async () => {
    const { orderId, refundId } = await newRefund(true)
    const request = { ...key(), orderId, refundId, reason: 'a mistake' }
    return {
      ...{ method: ADMIN_SERVICES.refund.rejectRefund, caller: admin, request, other: { ...request, reason: 'other' } },
      ...{ effect: changesOf(refundId), once: '3 rejected' },
    }
  },
  '/holdfast.v1.OrderAdminService/RehydrateOrders': async () => {
    const orderId = await lostOrder()
    const request = { ...key(), reason: 'lost', limit: 100 }
    return {
      ...{ method: ADMIN_SERVICES.order.rehydrateOrders, caller: admin, request, other: { ...request, limit: 99 } },
      ...{ effect: restartsOf(orderId), once: '1' },
    }
  },
}

/** Holds the row of a key, as another call does while its transaction is open. */
async function holdKey(
  actor: string,
  method: string,
  idempotencyKey: string,
): Promise<{ release: () => Promise<void> }> {
  const client = new pg.Client({ connectionString: database.url, options: '-c search_path=holdfast,pg_catalog' })
  await client.connect()
  await client.query('begin')
  await client.query(
    `insert into idempotency (actor, method, key, request_hash, response) values ($1, $2, $3, $4, 'null')`,
    [actor, method, idempotencyKey, randomBytes(32)],
  )
  return { release: () => client.end() }
}

/** As a client would: what passes with time is sent again. */
async function send(found: Pick<Case, 'method' | 'caller'>, body: Buffer): Promise<RawAnswer> {
  for (;;) {
    const answer = await sendOnce(found, body)
    if (answer.code !== 'UNAVAILABLE' && answer.detail.reason !== 'IDEMPOTENCY_KEY_IN_PROGRESS') return answer
  }
}
async function sendOnce({ method, caller }: Pick<Case, 'method' | 'caller'>, body: Buffer): Promise<RawAnswer> {
  const isPublic = Object.values(PUBLIC_SERVICES).some((service) => Object.values<Method>(service).includes(method))
  const headers = [['authorization', `Bearer ${await front.tokenOf(caller)}`]] as const
  return callRaw(isPublic ? front.address : front.adminAddress, method.path, body, headers)
}
const bytesOf = (method: Method, request: object): Buffer =>
  method.requestSerialize({ ...(method.requestDeserialize(Buffer.alloc(0)) as object), ...request } as never)

describe('calls that change something', () => {
  test('are all those that do more than look, and each names its attempt', () => {
    const reports = PUBLIC_SERVICES.payment.reportPayments.path
    const changing = METHODS.filter(({ path }) => !READS.includes(path))
    expect(changing.map(({ path }) => path).toSorted()).toEqual([...Object.keys(CASES), reports].toSorted())
    for (const method of changing.filter(({ path }) => path !== reports))
      expect(method.requestDeserialize(Buffer.alloc(0))).toHaveProperty('idempotencyKey', '')
  })

  test.each(Object.keys(CASES))('%s, sent many times at once and again later, happens once', async (path) => {
    const found = await (CASES[path] as () => Promise<Case>)()
    const body = bytesOf(found.method, found.request)
    const answers = await Promise.all(Array.from({ length: TIMES }, () => send(found, body)))
    expect(await found.effect()).toBe(found.once)
    await found.goOn?.()
    answers.push(await send(found, body))
    const [first] = answers
    expect(first).toMatchObject({ code: 'OK' })
    for (const answer of answers) expect(answer.body?.toString('hex')).toBe(first?.body?.toString('hex'))
    const refused = await send(found, bytesOf(found.method, found.other))
    expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', detail: { reason: 'IDEMPOTENCY_KEY_REUSED' } })
  })

  test.each(Object.keys(CASES))(
    '%s, whose key another call holds, is told so in time and answered later',
    async (path) => {
      const found = await (CASES[path] as () => Promise<Case>)()
      const body = bytesOf(found.method, found.request)
      const { idempotencyKey } = found.request as { idempotencyKey: string }
      const held = await holdKey(`user:${found.caller.subject}`, path.split('/')[2] ?? '', idempotencyKey)
      try {
        const answer = await sendOnce(found, body)
        expect(answer).toMatchObject({
          code: 'ABORTED',
          detail: { reason: 'IDEMPOTENCY_KEY_IN_PROGRESS', retryAfterMs: RETRY_HINT_MS.contention },
        })
      } finally {
        await held.release()
      }
      expect(await send(found, body)).toMatchObject({ code: 'OK' })
      expect(await found.effect()).toBe(found.once)
    },
  )

  test('ReportPayments, whose facts are their own keys, stores a fact once however many requests tell it', async () => {
    const { paymentRequest } = await newOrder()
    const transfer = transferTo(paymentRequest?.address ?? '', 1n)
    const { report } = packReport({ source: 'watcher-1', confirmations: 12 }, [transfer])
    const signed = { id: randomUUID(), timestampS: BigInt(Math.floor(Date.now() / 1_000)), report }
    const method = PUBLIC_SERVICES.payment.reportPayments
    const body = bytesOf(method, { ...signed, signatures: front.sign(signed) })
    const found = { method, caller: watcher }
    const answers = await Promise.all(Array.from({ length: TIMES }, () => send(found, body)))
    expect(new Set(answers.map(({ code, body: bytes }) => `${code} ${bytes?.toString('hex')}`)).size).toBe(1)
    expect(answers[0]?.code).toBe('OK')
    expect(await value('select count(*) from payment_report where tx_id = $1', [transfer.txId])).toBe('1')
  })
})
