// Outages of parts of the stack, as callers and orders see them, and attacks from outside; one stack for all tests.

import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Client, Connection } from '@temporalio/client'
import type { HoldfastClient } from '../../src/grpc/client.ts'
import { addressOf } from '../../src/servers/wiring.ts'
import { CANARY_ADDRESS, startTestStack, STOCK_VIOLATIONS, UNIT_PRICE, type TestStack } from '../support/stack.ts'
import { until } from '../support/until.ts'

/** Long enough to pay within it on a slow machine, short enough to wait for. */
const WINDOW_MS = 20_000
const CONFIRMATIONS = 12
const WITHIN_MS = 120_000
const PROTOSET = fileURLToPath(new URL('../../proto/holdfast.binpb', import.meta.url))
const run = promisify(execFile)

let stack: TestStack
let ann: HoldfastClient
let bob: HoldfastClient
let fulfilment: HoldfastClient

beforeAll(async () => {
  stack = await startTestStack({ HOLDFAST_PAYMENT_WINDOW_MS: String(WINDOW_MS), HOLDFAST_ETH_GRACE_MS: '500' })
  ann = stack.as('customer', '1')
  bob = stack.as('customer', '2')
  fulfilment = stack.as('fulfilment', '9')
  await stack.putProduct('lamp', 10_000)
}, 180_000)
afterAll(() => stack.stop(), 180_000)

const statusOf = async (orderId: string): Promise<string | undefined> =>
  (await stack.query<{ status: string }>('select status from orders where order_id = $1', [orderId]))[0]?.status
const reach = (orderId: string, status: string) =>
  until(async () => (await statusOf(orderId)) === status, { withinMs: WITHIN_MS })
const part = (name: string) => {
  const found = stack.parts.get(name)
  if (found === undefined) throw new Error(`the stack has no ${name}`)
  return found
}
const isReady = async (port = 0): Promise<boolean> => (await fetch(`http://${addressOf(port)}/readyz`)).ok
async function pay(order: Awaited<ReturnType<TestStack['createOrder']>>): Promise<void> {
  const request = order.paymentRequest
  await stack.chain.pay(request?.address ?? '', BigInt(request?.amount?.units ?? '0'))
  await stack.chain.mine(CONFIRMATIONS)
}

/** The remaining steps of a paid order. */
async function deliver(orderId: string): Promise<void> {
  await reach(orderId, 'processing')
  await fulfilment.fulfilment.markShipped({ idempotencyKey: randomUUID(), orderId })
  await fulfilment.fulfilment.markDelivered({ idempotencyKey: randomUUID(), orderId })
  await reach(orderId, 'delivered')
}

test('with Temporal stopped orders are taken, read and paid, and none that was paid in time is given away', async () => {
  await part('temporal').stop()
  await until(async () => !(await isReady(stack.ports.workers[0]?.metrics)), { withinMs: WITHIN_MS })
  expect(await isReady(stack.ports.apis[0]?.metrics)).toBe(true)
  const paid = await stack.createOrder(ann, 1, { lamp: 1 })
  const unpaid = await stack.createOrder(ann, 1, { lamp: 1 })
  await pay(paid)
  expect((await ann.order.getOrder({ orderId: paid.orderId })).order?.state?.orderId).toBe(paid.orderId)
  await until(
    async () => (await stack.query('select from payment_report where order_id = $1', [paid.orderId])).length > 0,
  )
  // The unpaid order's stock is released on time although no workflow runs; the paid order's is not.
  await until(
    async () => {
      // Nothing expires before the chain itself has passed the quote's end.
      await stack.chain.mine(1)
      return (await statusOf(unpaid.orderId)) === 'cancelled'
    },
    { withinMs: WITHIN_MS },
  )
  expect(await statusOf(paid.orderId)).toBe('pending')
  const cancelled = await ann.order
    .cancelOrder({ idempotencyKey: randomUUID(), orderId: paid.orderId }, { deadlineMs: 20_000 })
    .catch((error: unknown) => error)
  expect(cancelled).toMatchObject({ kind: expect.stringMatching(/unavailable|deadline/) })
  await part('temporal').start()
  await until(() => isReady(stack.ports.workers[0]?.metrics), { withinMs: WITHIN_MS })
  await reach(paid.orderId, 'processing')
  await until(async () => (await stack.query('select from workflow_start')).length === 0, { withinMs: WITHIN_MS })
}, 300_000)

test('with every worker stopped reads and new orders work, and nothing is lost when it returns', async () => {
  await part('worker').stop()
  const order = await stack.createOrder(ann, 1, { lamp: 1 })
  await pay(order)
  expect((await ann.order.listOrders({ limit: 100 })).orders.map(({ state }) => state?.orderId)).toContain(
    order.orderId,
  )
  await until(
    async () => (await stack.query('select from payment_report where order_id = $1', [order.orderId])).length > 0,
  )
  await part('worker').start()
  await deliver(order.orderId)
}, 300_000)

test('two hundred customers after the last ten units: ten get one each, the others are told what is left', async () => {
  const product = 'last-ten'
  await stack.putProduct(product, 10)
  const attempts = await Promise.allSettled(
    Array.from({ length: 200 }, () => stack.createOrder(ann, 1, { [product]: 1 })),
  )
  const refusals = attempts.flatMap((attempt) => (attempt.status === 'rejected' ? [attempt.reason as unknown] : []))
  expect(attempts.length - refusals.length).toBe(10)
  for (const refusal of refusals) {
    expect(refusal).toMatchObject({ reason: 'OUT_OF_STOCK', metadata: { product_id: product, available: '0' } })
  }
}, 300_000)

test('one attempt sent fifty times at once is one order with one answer', async () => {
  const key = randomUUID()
  const answers = await Promise.all(Array.from({ length: 50 }, () => stack.createOrder(ann, 1, { lamp: 2 }, key)))
  expect(
    new Set(
      answers.map((answer) =>
        JSON.stringify(answer, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
      ),
    ).size,
  ).toBe(1)
  await expect(stack.createOrder(ann, 1, { lamp: 3 }, key)).rejects.toMatchObject({ reason: 'IDEMPOTENCY_KEY_REUSED' })
}, 300_000)

test("another customer's order and a missing one are the same refusal, for get, cancel and watch", async () => {
  const { orderId } = await stack.createOrder(ann, 1, { lamp: 1 })
  const asked = (id: string) =>
    Promise.all(
      [
        bob.order.getOrder({ orderId: id }),
        bob.order.cancelOrder({ idempotencyKey: randomUUID(), orderId: id }),
        (async () => {
          for await (const _ of bob.order.watchOrder({ orderId: id })) return
        })(),
      ].map((call) =>
        call.then(
          () => 'allowed',
          ({ reason, message, metadata }: { reason: string; message: string; metadata: object }) => ({
            reason,
            message,
            metadata,
          }),
        ),
      ),
    )
  const foreign = await asked(orderId)
  expect(foreign).toEqual(await asked(randomUUID()))
  expect(foreign).toEqual(foreign.map(() => expect.objectContaining({ reason: 'PERMISSION_DENIED' })))
  expect((await bob.order.listOrders({ limit: 100 })).orders.map(({ state }) => state?.orderId)).not.toContain(orderId)
})

test('a client in another language creates and reads an order', async () => {
  const token = await stack.mintToken('customer', '1')
  const target = addressOf(stack.ports.apis[0]?.grpc ?? 0)
  const call = async (method: string, body: object): Promise<Record<string, unknown>> => {
    const asked = ['-H', `authorization: Bearer ${token}`, '-d', JSON.stringify(body)]
    const { stdout } = await run(...outsider(asked, target, method))
    return JSON.parse(stdout) as Record<string, unknown>
  }
  const created = await call('holdfast.v1.OrderService/CreateOrder', {
    idempotency_key: randomUUID(),
    user_id: '1',
    lines: [{ product_id: 'lamp', quantity: 1, expected_unit_price: UNIT_PRICE }],
    asset: 'ETH',
    shipping_address: CANARY_ADDRESS,
  })
  expect(created).toMatchObject({ total: UNIT_PRICE })
  const read = await call('holdfast.v1.OrderService/GetOrder', {
    order_id: created['orderId'],
    include_shipping_address: true,
  })
  expect(read).toMatchObject({ order: { state: { orderId: created['orderId'] }, shippingAddress: CANARY_ADDRESS } })
}, 300_000)

test('no address of a customer, no token and no secret is in a history, a log or the database', async () => {
  const order = await stack.createOrder(ann, 1, { lamp: 1 })
  await pay(order)
  await deliver(order.orderId)
  const connection = await Connection.connect({ address: stack.temporalAddress })
  const histories: string[] = []
  try {
    const client = new Client({ connection, namespace: 'holdfast' })
    // Workflow lists are eventually consistent.
    await until(async () => {
      histories.length = 0
      for await (const { workflowId, runId } of client.workflow.list())
        histories.push(JSON.stringify(await client.workflow.getHandle(workflowId, runId).fetchHistory(), bytesAsText))
      return histories.join().includes(order.orderId)
    })
  } finally {
    await connection.close()
  }
  const tables = await stack.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'holdfast'::regnamespace and relkind = 'r'`,
  )
  const rows = await Promise.all(
    tables.map(({ name }) => stack.query<{ row: string }>(`select t::text as row from ${name} t`)),
  )
  const places = { histories: histories.join(), logs: await stack.readLogs(), rows: JSON.stringify(rows) }
  const secrets = await Promise.all(Object.values(stack.secrets).map((path) => readFile(path, 'utf8')))
  const canaries = [
    'Canary Lane',
    Buffer.from(CANARY_ADDRESS).toString('hex'),
    Buffer.from(CANARY_ADDRESS).toString('base64'),
    ...secrets.flatMap(secretValuesOf),
  ]
  const leaks = Object.entries(places).flatMap(([place, text]) =>
    canaries.filter((canary) => text.includes(canary)).map((canary) => `${place}: ${canary.slice(0, 6)}…`),
  )
  expect(leaks).toEqual([])
  expect(places.logs).not.toMatch(/eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}/) // a token
}, 300_000)

test('after all of it stock adds up', async () => {
  expect(await stack.query(STOCK_VIOLATIONS)).toEqual([])
})

/** grpcurl where it could be built, else the client of buf; both are written in Go. */
function outsider(asked: readonly string[], target: string, method: string): [string, string[]] {
  const grpcurl = process.env['HOLDFAST_GRPCURL']
  if (grpcurl !== undefined) return [grpcurl, ['-plaintext', '-protoset', PROTOSET, ...asked, target, method]]
  const wire = ['--protocol', 'grpc', '--http2-prior-knowledge', '--schema', PROTOSET]
  return ['buf', ['curl', ...wire, ...asked, `http://${target}/${method}`]]
}

/** Decodes payloads, so that a search finds their text. */
function bytesAsText(_: string, value: unknown): unknown {
  return value instanceof Uint8Array ||
    (typeof value === 'object' && value !== null && 'type' in value && 'data' in value && value.type === 'Buffer')
    ? Buffer.from('data' in value ? (value.data as number[]) : value).toString('latin1')
    : value
}

/** Every long string in a secrets file: key material, not names. */
const secretValuesOf = (text: string): string[] => text.match(/[A-Za-z0-9+/_-]{32,}={0,2}/g) ?? []
