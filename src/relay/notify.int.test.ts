// Webhooks to a real HTTP server that is down, slow, wrong or hostile. Whatever it does, orders go on.

import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { Webhook } from 'standardwebhooks'
import { createRelayProbe, type RelayProbe } from '../../test/support/relay_probe.ts'
import { count, COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { buildObservation, createTestShop, runOf, type TestShop } from '../../test/support/shop.ts'
import { createWebhookReceiver, type WebhookReceiver } from '../../test/support/webhook_receiver.ts'
import { until } from '../../test/support/until.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { listDeadNotifications } from '../db/notification.ts'
import { assessPayments, recordReport } from '../db/payment.ts'
import { messageIdOf, type StatusChange } from '../domain/notification.ts'
import { createWebhookSigner, loadWebhookSecrets } from '../keyvault/webhook.ts'
import type { Relay } from './loop.ts'
import { createLogChannel, startNotifier, type RetryPolicy } from './notify.ts'
import { createWebhookChannel } from './webhook.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const LIFE = ['pending', 'processing', 'shipped', 'delivered']
/** Patient, and quick. */
const RETRY: RetryPolicy = { maxAttempts: 1_000_000, fromMs: 1, toMs: 50 }
const secretOf = (): string => `whsec_${randomBytes(32).toString('base64')}`
/** No test but those about time waits for it: an answer that is late on a busy machine is no second delivery. */
const PATIENT_MS = 20_000
const [NEW_SECRET, OLD_SECRET] = [secretOf(), secretOf()]
const sign = createWebhookSigner(loadWebhookSecrets(`${NEW_SECRET}\n${OLD_SECRET}`, 'production'))

let shop: TestShop
let probe: RelayProbe
let receiver: WebhookReceiver
let relays: Relay[]
beforeAll(async () => {
  shop = await createTestShop()
})
beforeEach(async () => {
  probe = createRelayProbe()
  receiver = await createWebhookReceiver()
  relays = []
  await shop.query(`delete from notification; update notification_channel set is_enabled = true`)
})
afterEach(async () => {
  await Promise.all(relays.map((relay) => relay.stop()))
  await receiver.down()
})
afterAll(() => shop.close())

function notify(options: { retry?: RetryPolicy; timeoutMs?: number; allowPrivate?: boolean; holder?: string } = {}) {
  const { retry = RETRY, timeoutMs = PATIENT_MS, allowPrivate = true, holder = 'p-1' } = options
  const webhook = createWebhookChannel({ url: receiver.url, sign, allowPrivate, timeoutMs })
  const channels = [createLogChannel(probe.logger), webhook]
  const relay = startNotifier({ ...probe, database: shop.worker, holder, channels, retry })
  relays.push(relay)
  return relay
}

/** The whole life of an order, as its steps write it. */
async function live(): Promise<AcceptedOrder> {
  const order = await shop.order()
  const run = runOf(order)
  await recordReport(shop.api, 'w1', [buildObservation(order)])
  await assessPayments(shop.worker, run.next())
  await shop.ask('ship', run.next())
  await shop.ask('deliver', run.next())
  return order
}

const ofOrder = ({ orderId }: AcceptedOrder) => receiver.deliveries().filter(({ id }) => id.includes(orderId))
const dataOf = (body: string) => (JSON.parse(body) as { data: Record<string, unknown> }).data
/** What was told of an order: each message once, in the order in which it first came. */
const told = (order: AcceptedOrder) => [
  ...new Map(ofOrder(order).map(({ id, body }) => [id, dataOf(body)['status']])).values(),
]
const logged = ({ orderId }: AcceptedOrder) =>
  probe.lines().filter((line) => line['event'] === 'order_status' && line['orderId'] === orderId)
const open = () => shop.query<{ n: bigint }>('select count(*) as n from notification where delivered_at is null')
const allDelivered = () => until(async () => (await open())[0]?.n === 0n)

describe('a receiver that is down', () => {
  test('holds up no order, and is told all when it is back: each change once by its id, in order', async () => {
    await receiver.down()
    notify()
    notify({ holder: 'p-2' })
    const orders = await Promise.all(Array.from({ length: count(12, 1_000) }, live))
    for (const order of orders) expect((await shop.state(order)).status).toBe('delivered')
    await until(() => orders.every((order) => logged(order).length === LIFE.length))
    await until(async () => (await probe.counts('notify_webhook')).failed > orders.length)
    expect(receiver.deliveries()).toEqual([])
    await receiver.up()
    await allDelivered()
    for (const order of orders) {
      expect(told(order)).toEqual(LIFE)
      expect(logged(order).map(({ status }) => status)).toEqual(LIFE)
    }
    expect(new Set(receiver.deliveries().map(({ id }) => id)).size).toBe(orders.length * LIFE.length)
  })

  test('and answers 500 and then 429 in turn gets each message again under the same id', async () => {
    const codes = [500, 429, 301, 204]
    const seen = new Map<string, number>()
    receiver.answer(({ id }, response) => {
      const turn = seen.get(id) ?? 0
      seen.set(id, turn + 1)
      response.writeHead(codes[turn] ?? 204, { location: `${receiver.url.href}/elsewhere` }).end()
    })
    notify()
    const order = await live()
    await allDelivered()
    expect(told(order)).toEqual(LIFE)
    expect([...seen.values()]).toEqual([4, 4, 4, 4])
    for (const { headers, body } of receiver.deliveries()) {
      for (const secret of [NEW_SECRET, OLD_SECRET]) expect(new Webhook(secret).verify(body, headers)).toBeDefined()
      expect(() => new Webhook(secretOf()).verify(body, headers)).toThrow('No matching signature found')
    }
  })

  test('for good is left to a person after the last try; newer changes of the order go on', async () => {
    const order = await shop.order()
    receiver.answer(503)
    notify({ retry: { maxAttempts: 3, fromMs: 1, toMs: 5 } })
    const dead = await until(async () => (await listDeadNotifications(shop.api, { afterId: 0n, limit: 10 }))[0])
    expect(dead).toMatchObject({
      ...{ orderId: order.orderId, version: 1n, channel: 'webhook', status: 'pending', attempts: 3 },
      reason: 'the receiver answered 503 (3 tries)',
    })
    receiver.answer(204)
    await shop.ask('cancel', runOf(order).next())
    await until(() => told(order).includes('cancelled'))
    expect(
      ofOrder(order)
        .map(({ id }) => id)
        .slice(0, 3),
    ).toEqual(Array.from({ length: 3 }, () => `webhook_${order.orderId}_1`))
    expect(probe.lines().filter(({ isDead }) => isDead === true)).toMatchObject([{ level: 50, orderId: order.orderId }])
    expect(JSON.stringify(probe.lines())).not.toContain(NEW_SECRET.slice(6))
  })
})

describe('a receiver that is there', () => {
  test('and slow keeps neither the log nor the orders waiting', async () => {
    const release = Promise.withResolvers<void>()
    receiver.answer((_delivery, response) => void release.promise.then(() => response.writeHead(200).end()))
    notify()
    const order = await live()
    await until(() => logged(order).length === LIFE.length && ofOrder(order).length > 0)
    expect(ofOrder(order)).toHaveLength(1)
    release.resolve()
    await allDelivered()
    expect(told(order)).toEqual(LIFE)
  })

  test('and slow for one order keeps no other order waiting, however many there are; its own news stays in order', async () => {
    const release = Promise.withResolvers<void>()
    const slow = await live()
    receiver.answer(({ id }, response) => {
      const end = (): unknown => response.writeHead(204).end()
      if (id.includes(slow.orderId)) void release.promise.then(end)
      else end()
    })
    notify({ timeoutMs: 20_000 })
    await until(() => ofOrder(slow).length === 1)
    // More than the lane has places: each must have been taken while the slow one was under way.
    const others = await Promise.all(Array.from({ length: 40 }, () => shop.order()))
    await until(() => others.every((order) => ofOrder(order).length === 1))
    expect(ofOrder(slow)).toHaveLength(1)
    release.resolve()
    await allDelivered()
    expect(told(slow)).toEqual(LIFE)
  })

  test('is never sent more at once than its lane is wide', async () => {
    const WIDTH = 32
    await Promise.all(Array.from({ length: 2 * WIDTH }, () => shop.order()))
    let [underWay, most] = [0, 0]
    const release = Promise.withResolvers<void>()
    receiver.answer((_delivery, response) => {
      most = Math.max(most, (underWay += 1))
      void release.promise.then(() => ((underWay -= 1), response.writeHead(204).end()))
    })
    notify({ timeoutMs: 20_000 })
    await until(() => underWay === WIDTH)
    release.resolve()
    await allDelivered()
    expect(most).toBe(WIDTH)
  })

  test('and never ends its answers keeps the connections from nobody', async () => {
    receiver.answer((_delivery, response) => void response.writeHead(200).write('.'))
    const orders = await Promise.all(Array.from({ length: 70 }, () => shop.order()))
    notify({ timeoutMs: 20_000 })
    await allDelivered()
    expect(orders.map((order) => ofOrder(order).length)).toEqual(orders.map(() => 1))
  })

  test('and never answers, or never ends, is given up after the time limit or needs no end', async () => {
    const order = await shop.order()
    receiver.answer(() => undefined)
    notify({ timeoutMs: 50 })
    await until(() => probe.lines().some(({ reason }) => reason === 'no answer within 50 ms'))
    // Its first line says enough: the rest is read to a limit, and not waited for.
    receiver.answer((_delivery, response) => {
      response.writeHead(200)
      const flood = (): void => void (response.writable && response.write(Buffer.alloc(65_536), flood))
      flood()
    })
    await allDelivered()
    expect(told(order)).toEqual(['pending'])
  })

  test('in a private network that nobody allowed is never connected to', async () => {
    await shop.order()
    receiver.url.hostname = 'localhost'
    notify({ allowPrivate: false })
    await until(() => probe.lines().some(({ reason }) => reason === 'localhost is in a private network'))
    expect(receiver.deliveries()).toEqual([])
  })

  test('learns the facts of the change and nothing else', async () => {
    notify()
    const order = await shop.order()
    await shop.ask('cancel', runOf(order).next())
    await allDelivered()
    const [first, second] = ofOrder(order)
    expect(JSON.parse(first?.body ?? '')).toEqual({
      type: 'order.status_changed',
      timestamp: order.createdAt.toISOString(),
      data: { orderId: order.orderId, version: '1', status: 'pending', paymentState: 'awaiting', cancelReason: null },
    })
    expect(dataOf(second?.body ?? '')).toMatchObject({
      status: 'cancelled',
      paymentState: 'cancelled',
      cancelReason: 'customer',
    })
    // Held by the compiler too: a fact that is added to what a channel is given must be thought about here.
    const known = {
      orderId: 1,
      version: 1,
      status: 1,
      paymentState: 1,
      cancelReason: 1,
      changedAt: 1,
    } as const satisfies Record<keyof StatusChange, 1>
    expect(Object.keys(known)).toHaveLength(6)
    const everything = JSON.stringify([receiver.deliveries(), logged(order)])
    for (const secret of [order.address, String(order.amountDue)]) expect(everything).not.toContain(secret)
  })
})

describe('which channels there are', () => {
  test('is what the newest worker says: changes are noted for those alone', async () => {
    const channels = async () =>
      (
        await shop.query<{ channel: string }>('select channel from notification_channel where is_enabled order by 1')
      ).map(({ channel }) => channel)
    const relay = startNotifier({ ...probe, database: shop.worker, holder: 'p-1' })
    relays.push(relay)
    await until(async () => (await channels()).join() === 'log')
    const order = await shop.order()
    const noted = await shop.query('select channel from notification where order_id = $1', [order.orderId])
    expect(noted).toEqual([{ channel: 'log' }])
    notify()
    await until(async () => (await channels()).join() === 'log,webhook')
  })

  test('and a change has an id of its own in each of them', () => {
    const change: StatusChange = {
      ...{ orderId: 'o', version: 2n, status: 'shipped', paymentState: 'paid', cancelReason: null },
      changedAt: '2026-01-01T00:00:00.000Z',
    }
    expect(messageIdOf(change, 'log')).not.toBe(messageIdOf(change, 'webhook'))
    expect(messageIdOf(change, 'log')).not.toBe(messageIdOf({ ...change, version: 3n }, 'log'))
  })
})
