// From a report to an order in processing, through all of Holdfast, against an update of a bare workflow: both at half
// of the rate that Holdfast reaches, on the same Temporal server, one after the other.

import type { Measurement, Options, System } from '../benchmark.ts'
import { startAsked } from '../child.ts'
import { putChain, putProducts, startHoldfast, untilPoolIsFull } from '../holdfast.ts'
import type { BenchDatabase, BenchServers } from '../servers.ts'
import { percentile } from '../statistics.ts'
import type { BareQuestion } from './bare_worker.ts'
import { runPaced, type Paced } from './paced.ts'
import { openBenchShop, type Awaiting, type BenchShop } from './shop.ts'

const NAMESPACES = { ours: 'bench-payments', bare: 'bench-payments-bare' } as const
const POOL_TARGET = 512
const SMOKE_POOL_TARGET = 64
/** Enough to keep two cores busy. */
const IN_FLIGHT = 32
const MAX_RATE_ORDERS = 400
const WARM_UP_ORDERS = 100
const SMOKE_ORDERS = 24
const HALF = 0.5
/** A percentile of fewer says nothing. */
const MIN_ORDERS = 20

export const P99 = 'ms, p99'
export const RATE = 'reports/s'

export type Processing = {
  database: BenchDatabase
  systems: readonly System[]
  facts: Readonly<Record<string, number>>
  close: () => Promise<void>
}

/** Starts both, warms them up, and finds the rate: half of what Holdfast reaches. */
export async function openProcessing(servers: BenchServers, options: Options): Promise<Processing> {
  const { dataDir, isSmoke, seconds } = options
  for (const namespace of Object.values(NAMESPACES)) await servers.createNamespace(namespace)
  const database = await servers.createDatabase('bench_payments')
  await putProducts(database)
  await putChain(database)
  const poolTarget = isSmoke ? SMOKE_POOL_TARGET : POOL_TARGET
  const settings = { HOLDFAST_POOL_TARGET: String(poolTarget) }
  const processes = ['keys', 'api', 'worker'] as const
  const ours = await startHoldfast({ servers, database, namespace: NAMESPACES.ours, dataDir, processes, settings })
  const bare = startAsked('payments/bare_worker.ts')
  const stop = async (): Promise<void> => void (await Promise.all([bare.stop(), ours.stop()]))
  try {
    await untilPoolIsFull(database, poolTarget)
    const shop = await openBenchShop({ servers, database, address: ours.address })
    await bare.ask({ temporalAddress: servers.temporalAddress, namespace: NAMESPACES.bare })
    if (!isSmoke) await payAll(shop, WARM_UP_ORDERS)
    const maxPerS = await payAll(shop, isSmoke ? SMOKE_ORDERS : MAX_RATE_ORDERS)
    const ratePerS = maxPerS * HALF
    const question: BareQuestion = { count: Math.max(MIN_ORDERS, Math.ceil(ratePerS * seconds)), ratePerS }
    if (!isSmoke) await bare.ask({ ...question, count: WARM_UP_ORDERS })
    return {
      database,
      systems: [
        {
          name: 'report to processing',
          about: 'A signed report of the whole amount, final, through gRPC, until its order is in processing.',
          measure: () => payPaced(shop, question),
        },
        {
          name: 'bare update',
          about: 'An update of a waiting workflow that runs an empty local activity; its client is in its worker.',
          measure: async () => measurementOf(await bare.ask<Paced>(question), ratePerS),
        },
      ],
      facts: { 'paid orders/s at most': maxPerS, 'orders per slot': question.count },
      close: async () => {
        await shop.close()
        await stop()
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function prepare(shop: BenchShop, count: number) {
  const orders = await shop.createOrders(count)
  await shop.untilStarted()
  return orders
}

/** @param onStored called with how long the report took */
async function payOne(shop: BenchShop, order: Awaiting, onStored: (ms: number) => void = () => undefined) {
  const start = performance.now()
  await shop.report(order.observation)
  onStored(performance.now() - start)
  await shop.untilProcessed(order.orderId)
}

/** Pays so many orders as fast as it can. @returns orders per second */
async function payAll(shop: BenchShop, count: number): Promise<number> {
  const orders = await prepare(shop, count)
  const startedAt = performance.now()
  const payer = async (): Promise<void> => {
    for (let order = orders.pop(); order !== undefined; order = orders.pop()) await payOne(shop, order)
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, payer))
  return count / ((performance.now() - startedAt) / 1_000)
}

async function payPaced(shop: BenchShop, { count, ratePerS }: BareQuestion): Promise<Measurement> {
  const orders = await prepare(shop, count)
  const storedMs: number[] = []
  const paced = await runPaced(orders, ratePerS, (order) => payOne(shop, order, (ms) => storedMs.push(ms)))
  const { figures, ...rest } = measurementOf(paced, ratePerS)
  return { figures: { ...figures, 'stored ms, p50': percentile(storedMs, 0.5) }, ...rest }
}

const measurementOf = ({ tookMs, errors, messages }: Paced, ratePerS: number): Measurement => ({
  figures: {
    [RATE]: ratePerS,
    'ms, p50': percentile(tookMs, 0.5),
    [P99]: percentile(tookMs, 0.99),
    'ms, most': Math.max(...tookMs),
  },
  errors,
  messages,
})
