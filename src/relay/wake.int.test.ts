// What delays a wake: no lease may, that has outlived what it was for.

import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { NativeConnection } from '@temporalio/worker'
import { Client } from '@temporalio/client'
import { buildLine } from '../../test/support/builder.ts'
import { createMeter } from '../../test/support/cost.ts'
import { createRelayProbe, type RelayProbe } from '../../test/support/relay_probe.ts'
import { testServers } from '../../test/support/servers.ts'
import { buildObservation, createTestShop, type TestShop } from '../../test/support/shop.ts'
import { createTcpProxy } from '../../test/support/tcp_proxy.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import type { ProposedOrder } from '../db/accept/accept.ts'
import { recordReport } from '../db/payment.ts'
import { claimStarts } from '../db/start.ts'
import { createStartedOrders, startOrder, startOrderStarter } from './start.ts'
import { startWaker } from './wake.ts'

/** Above what a relay tries with an engine that is away. */
const AWAY_WITHIN_MS = 120_000
const HOLDER = 'relay-0'

let shop: TestShop
let engine: TestWorker
let lines: ProposedOrder['lines']
let probe: RelayProbe
beforeAll(async () => {
  shop = await createTestShop()
  engine = await createTestWorker(shop.test, { relays: [] })
  await engine.run()
  lines = [buildLine({ productId: (await shop.product({ onHand: 1_000n })).productId })]
})
beforeEach(async () => {
  probe = createRelayProbe()
  await shop.query('delete from workflow_start; delete from order_wake')
})
afterAll(async () => {
  await engine.stop()
  await shop.close()
})

test('money of an order that has just been started is assessed without waiting for the lease of its start', async () => {
  const order = await shop.order({ lines })
  const started = createStartedOrders({ database: shop.worker, holder: HOLDER, logger: probe.logger })
  // As the starter does, with a lease that this test cannot outlast.
  await claimStarts(shop.worker, HOLDER, 1)
  await startOrder(engine, { ...order, generation: 1, asset: 'ETH' })
  started.add(order.orderId)
  await shop.query(`update workflow_start set claimed_until = claimed_until + interval '1 day'`)
  await recordReport(shop.api, 'w1', [buildObservation(order)])
  const waker = startWaker({ ...probe, database: shop.worker, client: engine.client, holder: HOLDER, started })
  try {
    await until(async () => (await shop.state(order)).status === 'processing')
  } finally {
    await waker.stop()
  }
  expect(await shop.query('select from workflow_start')).toEqual([])
  expect(await probe.counts('wake')).toEqual({ passed: 1, failed: 0 })
})

test(
  'a start that an engine that hangs left no time for is given back at once, and not when its lease ends',
  async () => {
    const proxy = await createTcpProxy(testServers().temporalAddress)
    const connection = await NativeConnection.connect({ address: proxy.address })
    const client = new Client({ connection, namespace: engine.namespace })
    const meter = createMeter()
    // More than are begun at once within the time of a batch.
    for (let made = 0; made < 40; made += 1) await shop.order({ lines })
    proxy.hang()
    const starter = startOrderStarter({ ...probe, database: meter.observe(shop.worker), client, holder: HOLDER })
    try {
      await until(() => Promise.resolve(meter.count('relay_release_starts') > 0), { withinMs: AWAY_WITHIN_MS })
    } finally {
      proxy.restore()
      await starter.stop()
      await connection.close()
      await proxy.close()
    }
  },
  3 * AWAY_WITHIN_MS,
)
