// What an order costs, exactly: these numbers decide how many orders a second a machine can carry. One that grows is
// written down here on purpose, or not at all.

import { randomBytes, randomUUID } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { createAcceptor, type AcceptedOrder } from '../db/accept/accept.ts'
import { recordReport } from '../db/payment.ts'
import type { Database } from '../db/connection/pool.ts'
import type { Command } from '../domain/order.ts'
import type { Call } from '../grpc/call.ts'
import { createCommander } from '../grpc/command.ts'
import { startOptionsOf } from '../relay/start.ts'
import { buildLine, buildProposal, putProduct } from '../../test/support/builder.ts'
import { createMeter, type Costs } from '../../test/support/cost.ts'
import { createTestDatabase, openTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { buildObservation } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import { orderWorkflowId } from './message.ts'

const meters = { api: createMeter(), worker: createMeter() }
let shop: TestDatabase
let opened: Database
let api: Database
let worker: TestWorker

/** Afresh for each test: the last one ends the sessions whose work it looks at. */
beforeEach(async () => {
  for (const meter of Object.values(meters)) meter.read()
  shop = await createTestDatabase()
  opened = await openTestDatabase({ url: shop.urlOf('app_api'), poolSize: 4, applicationName: 'test-api' })
  api = meters.api.observe(opened)
  worker = await createTestWorker(shop, { relays: ['start', 'wake'], observe: meters.worker.observe })
  await worker.run()
})

async function stop(): Promise<void> {
  await worker.stop()
  await opened.close()
}
let isStopped = false
afterEach(async () => {
  if (!isStopped) await stop()
  isStopped = false
  await shop.drop()
})

/** One unit each of three products: the order that performance is always quoted for. */
async function accept(): Promise<AcceptedOrder> {
  const products = await Promise.all(Array.from({ length: 3 }, () => putProduct(shop)))
  const lines = products.map(({ productId }) => buildLine({ productId }))
  const acceptor = createAcceptor({ database: api, giveBack: () => undefined })
  const answer = await acceptor.accept(buildProposal({ lines }))
  if (!('order' in answer)) throw new Error(`the order was refused: ${answer.verdict}`)
  return answer.order
}

async function command(order: AcceptedOrder, name: Command, method: string): Promise<void> {
  const requestHash = randomBytes(32)
  const call = {
    principal: { subject: '9', userId: 9n, roles: ['fulfilment'], tokenId: randomUUID() },
    record: { path: `/holdfast.v1.FulfilmentService/${method}` } as unknown as Call['record'],
    deadline: Date.now() + 20_000,
    signal: new AbortController().signal,
    requestBytes: () => requestHash,
    requestHash: () => requestHash,
  } satisfies Call
  const carryOut = createCommander({ database: api, client: worker.client, startOptionsOf })
  await carryOut(name, { idempotencyKey: randomUUID(), orderId: order.orderId }, call)
}

const handleOf = (order: AcceptedOrder) => worker.client.workflow.getHandle(orderWorkflowId(order.orderId))

/** Waits for the relay's last word and for the workflow to be idle: what comes after is another phase's cost. */
const settled = (order: AcceptedOrder, events: number, relayed?: string, times = 1) =>
  until(async () => {
    const { historyLength, raw } = await handleOf(order).describe()
    const isIdle = historyLength >= events && (raw.pendingWorkflowTask ?? null) === null
    return isIdle && (relayed === undefined || meters.worker.count(relayed) >= times)
  })

const read = (): { api: Costs; worker: Costs } => ({ api: meters.api.read(), worker: meters.worker.read() })

const ACCEPTED = {
  api: { commits: 1, statements: { accept_orders: 1 } },
  // The relay's next claim settles the one before; in a busy shop it claims the next order's start as well.
  worker: { commits: 3, statements: { relay_claim_starts: 2, order_step: 1 } },
}
/** The order looks while the relay waits, and its assessment settles the relay's row. */
const PAYMENT_REPORT = {
  api: { commits: 1, statements: { report_record: 1 } },
  worker: { commits: 2, statements: { relay_claim_wakes: 1, assess_begin: 1, assess_end: 1 } },
}
/** One look at who asks what of which order, and one call that does it. */
const COMMAND = {
  api: { commits: 0, statements: { read_asked: 1 } },
  worker: { commits: 1, statements: { order_command: 1 } },
}
/** History events: those of an eager start with its first task; then what each message adds. */
const EVENTS = { started: 6, paymentReport: 6, command: 7 }

test.each([
  { payment: 'one payment report', reports: ['final'], commits: 9, events: 29 },
  { payment: 'two payment reports', reports: ['seen', 'final'], commits: 12, events: 35 },
] as const)(
  'an order with $payment costs $commits commits and $events events',
  async ({ reports, commits, events }) => {
    const order = await accept()
    let total = EVENTS.started
    await until(() => handleOf(order).describe())
    await settled(order, total, 'relay_claim_starts', 2)
    const phases = [read()]

    const transfer = buildObservation(order)
    for (const [at, state] of reports.entries()) {
      const fact = { ...transfer, reportId: randomBytes(32).toString('hex'), state, seq: at + 1 }
      await recordReport(api, 'w1', [fact])
      total += EVENTS.paymentReport
      await settled(order, total, 'assess_end')
      phases.push(read())
    }
    await command(order, 'ship', 'MarkShipped')
    await settled(order, total + EVENTS.command)
    phases.push(read())
    await command(order, 'deliver', 'MarkDelivered')
    await handleOf(order).result()
    phases.push(read())

    expect(phases).toEqual([ACCEPTED, ...reports.map(() => PAYMENT_REPORT), COMMAND, COMMAND])
    expect(phases.reduce((sum, phase) => sum + phase.api.commits + phase.worker.commits, 0)).toBe(commits)
    expect((await handleOf(order).describe()).historyLength).toBe(events)
  },
)

test('no statement of an order reads a whole table, however little Postgres knows of it', async () => {
  const order = await accept()
  await until(() => handleOf(order).describe())
  await settled(order, EVENTS.started, 'relay_claim_starts', 2)
  await recordReport(api, 'w1', [buildObservation(order)])
  await settled(order, EVENTS.started + EVENTS.paymentReport, 'assess_end')
  await command(order, 'ship', 'MarkShipped')
  await command(order, 'deliver', 'MarkDelivered')
  await handleOf(order).result()
  // Sessions report what they did at their end.
  isStopped = true
  await stop()
  await until(async () => {
    const left = `select from pg_stat_activity where datname = current_database() and usename in ('app_api', 'app_worker')`
    return (await shop.query(left)).length === 0
  })
  const scans = await shop.query<{ table: string; inserted: bigint; scans: bigint }>(
    `select relname as table, n_tup_ins as inserted, seq_scan as scans from pg_stat_user_tables
     where schemaname = 'holdfast'`,
  )
  expect(scans.find(({ table }) => table === 'key_retire')?.inserted).toBe(1n)
  // Two rows and six: there is nothing to search in them.
  const small = ['notification_channel', 'currency']
  const scanned = scans.filter((row) => row.scans > 0n).map((row) => row.table)
  expect(scanned.filter((table) => !small.includes(table))).toEqual([])
})
