// Floods of payment reports through a real front with real connections: one fact that is told a thousand times, and a
// thousand facts that are lies.

import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { callConcurrently } from '../../test/support/concurrent.ts'
import { createTestFront, type TestFront } from '../../test/support/front.ts'
import { findViolations } from '../../test/support/invariant.ts'
import { COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { buildObservation, createTestShop, type TestShop } from '../../test/support/shop.ts'
import { CALL_WITHIN_MS, until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import type { Observation } from '../domain/chain.ts'
import { createReportVerifier, loadSources, signReport } from '../keyvault/signature.ts'
import { orderWorkflowId } from '../workflows/message.ts'
import { createClient, KEEPALIVE, type HoldfastClient } from './client.ts'
import { packReport } from './report.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const TIMES = 1_000
const CONNECTIONS = 20
const SOURCES = ['watcher-1', 'watcher-2'].map((name) => ({ name, secret: randomBytes(32) }))
/** What each source may report in a minute: as much as these tests do. */
const PER_MINUTE = 2 * TIMES

let shop: TestShop
let worker: TestWorker
let front: TestFront
const clients: HoldfastClient[] = []
beforeAll(async () => {
  shop = await createTestShop()
  worker = await createTestWorker(shop.test, { relays: ['start', 'wake'] })
  await worker.run()
  const file = SOURCES.map(({ name, secret }) => ({
    ...{ name, algorithm: 'sha256', secrets: [secret.toString('base64')], reports_per_minute: PER_MINUTE },
  }))
  const sources = loadSources(JSON.stringify({ sources: file }), 'development')
  front = await createTestFront(shop.test, {
    deps: {
      verifyReport: createReportVerifier({ sources }),
      reportBudgetOf: (source) => sources.get(source)?.reportsPerMinute,
    },
  })
})
afterAll(async () => {
  for (const client of clients) client.close()
  await front.stop()
  await worker.stop()
  await shop.close()
})

/** Clients of a source with a connection each. Those with the same settings would share one. */
const connect = (source: string, connections: number): HoldfastClient[] =>
  Array.from({ length: connections }, (_, at) => {
    const client = createClient({
      address: front.address,
      token: () => front.tokenOf({ role: 'watcher', subject: source }),
      deadlineMs: CALL_WITHIN_MS,
      keepalive: { ...KEEPALIVE, everyMs: KEEPALIVE.everyMs + at },
    })
    clients.push(client)
    return client
  })

/** Sends a report of a source, signed now. */
async function send(client: HoldfastClient, source: string, observation: Observation): Promise<void> {
  const { report } = packReport({ source, confirmations: 12 }, [observation])
  const request = { id: randomUUID(), timestampS: BigInt(Math.floor(Date.now() / 1_000)), report }
  const secret = SOURCES.find(({ name }) => name === source)?.secret ?? randomBytes(32)
  await client.payment.reportPayments({
    ...request,
    signatures: [signReport({ ...request, secret, algorithm: 'sha256' })],
  })
}

const handleOf = ({ orderId }: AcceptedOrder) => worker.client.workflow.getHandle(orderWorkflowId(orderId))
/** An order whose workflow waits for money. */
async function waiting(): Promise<AcceptedOrder> {
  const order = await shop.order()
  await until(async () => (await shop.query('select from orders where order_id = $1 and step > 0', [order.orderId]))[0])
  return order
}
/** Events of a history by kind, without those of workflow tasks, of which a slow machine needs more. */
async function eventsOf(order: AcceptedOrder): Promise<string[]> {
  const { events } = await handleOf(order).fetchHistory()
  const kinds = (events ?? []).flatMap((event) =>
    Object.keys(event).filter(
      (key) => key.endsWith('EventAttributes') && Object.entries(event).some(([k, v]) => k === key && v !== null),
    ),
  )
  return kinds.filter((kind) => !kind.startsWith('workflowTask'))
}
const rowsOf = async ({ orderId }: AcceptedOrder) => {
  const [row] = await shop.query(
    `select (select count(*) from payment_report where order_id = $1) as reports,
       (select count(*) from payment where order_id = $1 and state = 'final') as payments,
       (select count(*) from ledger_posting where order_id = $1) as postings,
       (select sum(received) from ledger_posting where order_id = $1) as received,
       (select count(*) from notification where order_id = $1 and status = 'processing') as told`,
    [orderId],
  )
  return row
}
const idleIn = (order: AcceptedOrder, status: string) =>
  until(async () => {
    const { raw } = await handleOf(order).describe()
    return (await shop.state(order)).status === status && (raw.pendingWorkflowTask ?? null) === null
  })

test('the same report 1,000 times from 20 connections credits once, and costs no more events than one report', async () => {
  const [order, other] = [await waiting(), await waiting()]
  const [single] = connect('watcher-1', 1)
  if (single === undefined) throw new Error('no client')
  await send(single, 'watcher-1', buildObservation(other))
  const fact = buildObservation(order)
  const many = connect('watcher-1', CONNECTIONS)
  await callConcurrently(TIMES, (at) => send(many[at % CONNECTIONS] ?? single, 'watcher-1', fact), CONNECTIONS)
  for (const one of [order, other]) await idleIn(one, 'processing')
  const credited = { reports: 1n, payments: 1n, postings: 1n, received: order.amountDue.toString(), told: 1n }
  expect(await rowsOf(order)).toEqual(credited)
  expect(await rowsOf(other)).toEqual({ ...credited, received: other.amountDue.toString() })
  expect(await eventsOf(order)).toEqual(await eventsOf(other))
})

test('1,000 validly signed lies of one source credit nothing where two are required, until the other agrees', async () => {
  await shop.query(`select require_sources('ETH', 2, 0, 'a second watcher runs')`)
  const order = await waiting()
  const liars = connect('watcher-2', CONNECTIONS)
  const [single] = liars
  if (single === undefined) throw new Error('no client')
  await callConcurrently(
    TIMES,
    (at) => send(liars[at % CONNECTIONS] ?? single, 'watcher-2', buildObservation(order)),
    CONNECTIONS,
  )
  await until(
    async () =>
      (await shop.query('select from payment_report where order_id = $1 and not is_assessed', [order.orderId]))
        .length === 0,
  )
  expect(await shop.state(order)).toMatchObject({ status: 'pending', paymentState: 'confirming' })
  expect(await rowsOf(order)).toEqual({ reports: BigInt(TIMES), payments: 0n, postings: 0n, received: null, told: 0n })
  expect(await shop.query('select from refund_due where order_id = $1 and amount > 0', [order.orderId])).toEqual([])

  const fact = buildObservation(order)
  for (const source of ['watcher-2', 'watcher-1']) await send(connect(source, 1)[0] ?? single, source, fact)
  await idleIn(order, 'processing')
  expect(await rowsOf(order)).toMatchObject({ payments: 1n, received: order.amountDue.toString() })
})

test('leaves every invariant intact', async () => {
  expect(await findViolations(shop.test)).toEqual([])
})
