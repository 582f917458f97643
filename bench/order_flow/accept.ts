// The system «accept»: order acceptance through gRPC at several levels of load, without workers.

import { putAddresses } from '../../test/support/address.ts'
import { figureOf, type Measurement, type Round, type System } from '../benchmark.ts'
import { callFor } from '../ghz.ts'
import { mintToken, products, putChain, putProducts, startHoldfast } from '../holdfast.ts'
import type { BenchDatabase } from '../servers.ts'
import { LINES_PER_ORDER, type Setup } from './setup.ts'

const METHOD = 'holdfast.v1.OrderService.CreateOrder'
const USER = 1
/** Calls in flight. */
const LEVELS = [1, 16, 64] as const
/** All levels together take about as long as the slot of another system. */
const MIN_LEVEL_S = 2
const WARM_UP_S = 3
/** More than this machine could use: an order without a free address would be an error. */
const ADDRESSES_PER_S = 2_000
const ADDRESS_BATCH = 1_000
/** No limit in practice: no worker drains the backlog here. */
const NO_LIMIT = 1_000_000_000

/** Audit entries per accepted order. */
export const ENTRIES = 'audit entries/order'

const rateAt = (level: number): string => `orders/s, ${level} in flight`

/** The rate of the best level. */
export const acceptRateOf = (round: Round, system = 'accept'): number =>
  Math.max(...LEVELS.map((level) => figureOf(round, system, rateAt(level))))

/** The difference between two systems of this kind. */
export type AcceptVariant = { name: string; about: string; prepare?: (database: BenchDatabase) => Promise<unknown> }

const WHOLE: AcceptVariant = {
  name: 'accept',
  about: 'Accept path alone: CreateOrder through gRPC from ghz, committed and answered; no worker runs.',
}

/** Order acceptance alone: orders are accepted and stored while no worker runs. */
export function createAccept({ servers, dataDir, seconds, isSmoke }: Setup, variant = WHOLE): System {
  const levelS = Math.max(MIN_LEVEL_S, Math.round(seconds / LEVELS.length))
  const warmUpS = isSmoke ? 1 : WARM_UP_S
  return {
    name: variant.name,
    about: variant.about,
    measure: async () => {
      // A new database each time: its backlog must not reach a worker.
      const database = await servers.createDatabase('bench_accept')
      await putProducts(database)
      await putChain(database)
      await fillPool(database, (warmUpS + LEVELS.length * levelS) * ADDRESSES_PER_S)
      await variant.prepare?.(database)
      const settings = { HOLDFAST_START_BACKLOG_LIMIT: String(NO_LIMIT) }
      const api = await startHoldfast({
        servers,
        database,
        namespace: 'none',
        dataDir,
        processes: ['api'],
        settings,
      })
      try {
        const token = await mintToken(servers, 'customer', String(USER))
        const calls = { address: api.address, token, method: METHOD, data: dataTemplate() }
        await callFor({ ...calls, inFlight: Math.max(...LEVELS), seconds: warmUpS })
        const figures: Record<string, number> = {}
        const messages: string[] = []
        let errors = 0
        for (const level of LEVELS) {
          const called = await callFor({ ...calls, inFlight: level, seconds: levelS })
          figures[rateAt(level)] = called.rate
          figures[`create ms, p50, ${level} in flight`] = called.latencyMs(0.5)
          figures[`create ms, p99, ${level} in flight`] = called.latencyMs(0.99)
          errors += called.errors
          messages.push(...called.messages)
        }
        figures['orders/s'] = Math.max(...LEVELS.map((level) => figures[rateAt(level)] ?? 0))
        figures[ENTRIES] = await countEntries(database)
        return { figures, errors, messages } satisfies Measurement
      } finally {
        await api.stop()
      }
    },
  }
}

/** ghz fills it for each call: a new key, and lines from three parts of the catalogue. */
function dataTemplate(): string {
  const share = Math.floor(products.length / LINES_PER_ORDER)
  const lines = Array.from({ length: LINES_PER_ORDER }, (_, part) => ({
    productId: `sku-{{randomInt ${part * share} ${(part + 1) * share}}}`,
    quantity: 1,
    expectedUnitPrice: products[0]?.price,
  }))
  return JSON.stringify({
    idempotencyKey: '{{newUUID}}',
    userId: String(USER),
    lines,
    asset: 'ETH',
    shippingAddress: '1 Harbour Street, Sample Town',
  })
}

async function countEntries(database: BenchDatabase): Promise<number> {
  const [row] = await database.query<{ each: number }>(
    `select ((select count(*) from audit_entry where kind = 'order')::float8 / count(*)) as each from orders`,
  )
  return row?.each ?? Number.NaN
}

async function fillPool(database: BenchDatabase, count: number): Promise<void> {
  for (let made = 0; made < count; made += ADDRESS_BATCH) await putAddresses(database, ADDRESS_BATCH)
}
