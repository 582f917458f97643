// From a row to a running workflow, on a real Temporal server: once, whoever else tries, and never lost.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Client } from '@temporalio/client'
import { NativeConnection } from '@temporalio/worker'
import { buildLine } from '../../test/support/builder.ts'
import { createTcpProxy, type TcpProxy } from '../../test/support/tcp_proxy.ts'
import { createRelayProbe, type RelayProbe } from '../../test/support/relay_probe.ts'
import { testServers } from '../../test/support/servers.ts'
import { buildObservation, createTestShop, runOf, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import type { AcceptedOrder, ProposedOrder } from '../db/accept/accept.ts'
import { recordReport } from '../db/payment.ts'
import { aftercareWorkflowId, ASSET_ATTRIBUTE, orderWorkflowId, STATUS_ATTRIBUTE } from '../workflows/message.ts'
import type { Relay } from './loop.ts'
import { startWaker } from './wake.ts'
import { startOrderStarter } from './start.ts'

/** The client itself tries for ten seconds before it says that the engine is away. */
const AWAY_WITHIN_MS = 120_000

let shop: TestShop
/** Its namespace and client; no worker runs, so what is started stays as it was started. */
let engine: TestWorker
let lines: ProposedOrder['lines']
/** The way to the engine that a test may cut. */
let proxy: TcpProxy
let connection: NativeConnection
let client: Client
let probe: RelayProbe
beforeAll(async () => {
  shop = await createTestShop()
  engine = await createTestWorker(shop.test, { relays: [] })
  proxy = await createTcpProxy(testServers().temporalAddress)
  connection = await NativeConnection.connect({ address: proxy.address })
  client = new Client({ connection, namespace: engine.namespace })
  lines = [buildLine({ productId: (await shop.product({ onHand: 1_000n })).productId })]
})
beforeEach(async () => {
  probe = createRelayProbe()
  await shop.query('delete from workflow_start; delete from order_wake')
})
afterAll(async () => {
  await connection.close()
  await proxy.close()
  await engine.stop()
  await shop.close()
})

const newOrder = () => shop.order({ lines })
const handleOf = ({ orderId }: AcceptedOrder) => engine.client.workflow.getHandle(orderWorkflowId(orderId))
/** What its workflow was started with. */
async function inputOf(order: AcceptedOrder): Promise<unknown> {
  const [first] = (await handleOf(order).fetchHistory()).events ?? []
  const [input] = first?.workflowExecutionStartedEventAttributes?.input?.payloads ?? []
  return JSON.parse(Buffer.from(input?.data ?? []).toString())
}
const rowsOf = (table: 'workflow_start' | 'order_wake', { orderId }: AcceptedOrder) =>
  shop.query<{ attempts: number; dead: string | null }>(
    `select attempts, dead_reason as dead from ${table} where order_id = $1`,
    [orderId],
  )
const isSettled = (order: AcceptedOrder) => until(async () => (await rowsOf('workflow_start', order)).length === 0)

const pay = (order: AcceptedOrder) => recordReport(shop.api, 'w1', [buildObservation(order, { amount: 1n })])
const isSent = (order: AcceptedOrder) =>
  until(
    async () =>
      (await shop.query('select from order_wake where order_id = $1 and next_at > clock_timestamp()', [order.orderId]))
        .length > 0,
  )
const signalsOf = async (workflowId: string) =>
  ((await engine.client.workflow.getHandle(workflowId).fetchHistory()).events ?? []).filter(
    ({ workflowExecutionSignaledEventAttributes }) => workflowExecutionSignaledEventAttributes,
  )

/** Runs relays only while `work` does. */
async function relaying(
  start: typeof startOrderStarter,
  work: () => Promise<unknown>,
  { times = 1 } = {},
): Promise<void> {
  const relays: Relay[] = Array.from({ length: times }, (_, at) =>
    start({ ...probe, database: shop.worker, client, holder: `relay-${at}` }),
  )
  try {
    await work()
  } finally {
    await Promise.all(relays.map((relay) => relay.stop()))
  }
}
describe('an accepted order', () => {
  test('gets its workflow, named and described after it, and its row goes', async () => {
    const order = await newOrder()
    await relaying(startOrderStarter, () => isSettled(order))
    const run = await handleOf(order).describe()
    expect(run).toMatchObject({ type: 'order', taskQueue: 'orders' })
    expect(run.status.name).toBe('RUNNING')
    expect(run.typedSearchAttributes.get(ASSET_ATTRIBUTE)).toBe('ETH')
    expect(run.typedSearchAttributes.get(STATUS_ATTRIBUTE)).toBe('pending')
    expect(await run.staticSummary()).toBe(`Order ${order.orderId}, to be paid in ETH`)
    expect(await probe.counts('start')).toEqual({ passed: 1, failed: 0 })
  })

  test('gets one workflow, however many relays there are', async () => {
    const orders = await Promise.all(Array.from({ length: 30 }, newOrder))
    await relaying(startOrderStarter, () => Promise.all(orders.map(isSettled)), { times: 3 })
    for (const order of orders) {
      const { events } = await handleOf(order).fetchHistory()
      expect(
        events?.filter(({ workflowExecutionStartedEventAttributes }) => workflowExecutionStartedEventAttributes),
      ).toHaveLength(1)
    }
    expect(await probe.counts('start')).toEqual({ passed: 30, failed: 0 })
  })

  test('whose workflow runs already needs no other', async () => {
    const order = await newOrder()
    await relaying(startOrderStarter, () => isSettled(order))
    const { runId } = await handleOf(order).describe()
    await shop.query(`insert into workflow_start (order_id, quote_ends_at) values ($1, now())`, [order.orderId])
    await relaying(startOrderStarter, () => isSettled(order))
    expect((await handleOf(order).describe()).runId).toBe(runId)
  })

  test('whose workflow has closed while the order is open calls a person, and is not started again', async () => {
    const order = await newOrder()
    await relaying(startOrderStarter, () => isSettled(order))
    await handleOf(order).terminate()
    await shop.query(`insert into workflow_start (order_id, quote_ends_at) values ($1, now())`, [order.orderId])
    const closed = 'the workflow has closed while its order is open'
    await relaying(startOrderStarter, () =>
      until(async () => (await rowsOf('workflow_start', order))[0]?.dead === closed),
    )
    expect(probe.lines().filter(({ level }) => level === 50)).toMatchObject([
      { msg: 'workflow not started', orderId: order.orderId, deadReason: closed },
    ])
    expect((await handleOf(order).describe()).status.name).toBe('TERMINATED')
  })

  test('that is restarted by an operator is started, however its last run ended, and not beside one that is alive', async () => {
    const order = await newOrder()
    const restart = () =>
      shop.query(`insert into workflow_start (order_id, generation, quote_ends_at) values ($1, 2, now())`, [
        order.orderId,
      ])
    await relaying(startOrderStarter, () => isSettled(order))
    const { runId } = await handleOf(order).describe()
    await restart()
    await relaying(startOrderStarter, () => isSettled(order))
    expect((await handleOf(order).describe()).runId).toBe(runId)
    await handleOf(order).terminate()
    await restart()
    await relaying(startOrderStarter, () => isSettled(order))
    const again = await handleOf(order).describe()
    expect(again.runId).not.toBe(runId)
    expect(again.status.name).toBe('RUNNING')
  })

  test('waits for its start while many have news, but not for ever', async () => {
    const order = await newOrder()
    const starter = (deps: Parameters<typeof startOrderStarter>[0]) =>
      startOrderStarter({ ...deps, wakesUnderWay: () => 9 })
    let yieldedFrom = 0
    await relaying(starter, async () => {
      // The first turn is nobody's wait.
      await isSettled(order)
      const next = await newOrder()
      yieldedFrom = performance.now()
      await isSettled(next)
    })
    expect(performance.now() - yieldedFrom).toBeGreaterThan(4_000)
  })

  test('that has ended with its workflow closed needs nothing', async () => {
    const order = await newOrder()
    await relaying(startOrderStarter, () => isSettled(order))
    await handleOf(order).terminate()
    await shop.ask('cancel', runOf(order).next())
    await shop.query(`insert into workflow_start (order_id, quote_ends_at) values ($1, now())`, [order.orderId])
    await relaying(startOrderStarter, () => isSettled(order))
    expect(await probe.counts('start')).toEqual({ passed: 2, failed: 0 })
  })
})

describe('an order with news', () => {
  test('whose workflow runs gets one empty signal, and its row stays until somebody looked', async () => {
    const order = await newOrder()
    await relaying(startOrderStarter, () => isSettled(order))
    await pay(order)
    await relaying(startWaker, () => isSent(order), { times: 3 })
    const signals = await signalsOf(orderWorkflowId(order.orderId))
    expect(signals).toHaveLength(1)
    expect(signals[0]?.workflowExecutionSignaledEventAttributes).toMatchObject({ signalName: 'orderChanged' })
    expect(signals[0]?.workflowExecutionSignaledEventAttributes?.input?.payloads ?? []).toEqual([])
    expect(await rowsOf('order_wake', order)).toMatchObject([{ attempts: 1, dead: null }])
  })

  test('whose workflow is still to be started is started with the news, once, and needs no signal', async () => {
    const order = await newOrder()
    await pay(order)
    await relaying(startWaker, () => isSettled(order), { times: 3 })
    expect(await inputOf(order)).toEqual({ orderId: order.orderId, generation: 1, hasNews: true })
    expect(await signalsOf(orderWorkflowId(order.orderId))).toEqual([])
    expect(await rowsOf('order_wake', order)).toMatchObject([{ attempts: 1, dead: null }])
    expect(await probe.counts('wake')).toEqual({ passed: 1, failed: 0 })
  })

  test('whose start somebody else has made is told as any that runs, and the start is settled', async () => {
    const order = await newOrder()
    await relaying(startOrderStarter, () => isSettled(order))
    await shop.query(`insert into workflow_start (order_id, quote_ends_at) values ($1, now())`, [order.orderId])
    await pay(order)
    await relaying(startWaker, () => Promise.all([isSettled(order), isSent(order)]))
    expect(await inputOf(order)).toEqual({ orderId: order.orderId, generation: 1 })
    expect(await signalsOf(orderWorkflowId(order.orderId))).toHaveLength(1)
  })

  test('whose workflow ran and is told again, if nobody has looked within the lease', async () => {
    const order = await newOrder()
    await pay(order)
    await relaying(startWaker, () => isSettled(order))
    await shop.query('update order_wake set claimed_until = clock_timestamp()')
    await relaying(startWaker, () => isSent(order))
    expect(await signalsOf(orderWorkflowId(order.orderId))).toHaveLength(1)
  })

  test('that has ended is looked after by a workflow of its own', async () => {
    const { order } = await shop.orderIn('cancelled')
    await shop.query('delete from workflow_start')
    await pay(order)
    await relaying(startWaker, () => isSent(order))
    expect(await signalsOf(aftercareWorkflowId(order.orderId))).toHaveLength(1)
    await expect(handleOf(order).describe()).rejects.toThrow()
  })

  test('that has no workflow is tried again and again, until a person is called', async () => {
    const order = await newOrder()
    await shop.query('delete from workflow_start')
    await pay(order)
    await relaying(startWaker, () => until(async () => (await probe.counts('wake')).failed >= 2))
    expect(await rowsOf('order_wake', order)).toMatchObject([{ dead: null }])
    await shop.query('update order_wake set attempts = 9, next_at = clock_timestamp(), claimed_until = null')
    await relaying(startWaker, () => until(async () => (await rowsOf('order_wake', order))[0]?.dead !== null))
    expect(await rowsOf('order_wake', order)).toMatchObject([{ dead: 'no workflow runs for this open order' }])
    expect(probe.lines().filter(({ level }) => level === 50)).toMatchObject([
      { msg: 'workflow not woken', orderId: order.orderId },
    ])
  })
})

test(
  'a start that news could not make is anybody’s at once, however long the news has waited',
  async () => {
    const order = await newOrder()
    await pay(order)
    await shop.query('update order_wake set attempts = 50')
    proxy.cut()
    await relaying(startWaker, () =>
      until(async () => (await probe.counts('wake')).failed > 0, { withinMs: AWAY_WITHIN_MS }),
    )
    proxy.restore()
    const [start] = await shop.query(
      'select claimed_by as holder, next_at <= clock_timestamp() as "isDue" from workflow_start where order_id = $1',
      [order.orderId],
    )
    expect(start).toEqual({ holder: null, isDue: true })
  },
  2 * AWAY_WITHIN_MS,
)

test(
  'while the engine is away nothing is given up, and all goes on once it is back',
  async () => {
    const [fresh, paid] = [await newOrder(), await newOrder()]
    await pay(paid)
    await shop.query('update order_wake set attempts = 50')
    proxy.cut()
    const hasFailed = (relay: string) =>
      until(async () => (await probe.counts(relay)).failed > 0, { withinMs: AWAY_WITHIN_MS })
    await relaying(startOrderStarter, () =>
      relaying(startWaker, async () => {
        await Promise.all([hasFailed('start'), hasFailed('wake')])
        expect(await rowsOf('workflow_start', fresh)).toMatchObject([{ dead: null }])
        expect(await rowsOf('order_wake', paid)).toMatchObject([{ dead: null }])
        proxy.restore()
        await Promise.all([isSettled(fresh), isSettled(paid), isSent(paid)])
      }),
    )
    for (const order of [fresh, paid]) expect((await handleOf(order).describe()).status.name).toBe('RUNNING')
  },
  3 * AWAY_WITHIN_MS,
)
