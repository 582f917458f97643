// Availability calls from a hundred clients, against a call that does no work, and in a shop a thousand times as large.
// Each call picks random products of the whole catalogue.

import { loadBulk, type BulkSize } from '../../test/support/bulk_load.ts'
import type { Measurement, System } from '../benchmark.ts'
import { callFor } from '../ghz.ts'
import type { Setup } from '../order_flow/setup.ts'
import type { BenchDatabase } from '../servers.ts'
import { startFrontProcess } from './front.ts'
import { warmUpOf } from './setting.ts'

const CLIENTS = 100
/** A smoke run divides the large shop by this. */
const SMOKE_SHARE = 100

const SMALL = 1_000
const LARGE: Required<BulkSize> = { products: 1_000_000, orders: 1_000_000, holdsPerOrder: 10 }

export const NOTHING = {
  name: 'no-op',
  about: `The same call from ${CLIENTS} clients, with its token, to a front that answers without a query.`,
}
export const AVAILABILITY_SMALL = {
  name: 'availability, small',
  about: `GetAvailability of a product of a thousand, from ${CLIENTS} clients.`,
}
export const AVAILABILITY_LARGE = {
  name: 'availability, large',
  about: `GetAvailability of a product of a million beside ten million reservations, from ${CLIENTS} clients.`,
}

export type Shop = { database: BenchDatabase; products: number }

/** Two shops, filled once for all rounds. */
export async function openShops({ servers, isSmoke, log }: Setup): Promise<{ small: Shop; large: Shop }> {
  const share = isSmoke ? SMOKE_SHARE : 1
  const open = async (name: string, size: BulkSize): Promise<Shop> => {
    log(`filling ${name}: ${size.products} products, ${size.orders * (size.holdsPerOrder ?? 1)} reservations`)
    const database = await servers.createDatabase(name)
    await loadBulk(database.url, size)
    return { database, products: size.products }
  }
  const small = await open('bench_small', { products: SMALL, orders: SMALL })
  const large = await open('bench_large', {
    ...LARGE,
    products: LARGE.products / share,
    orders: LARGE.orders / share,
  })
  // Flushes gigabytes now, so that they are not written during a measurement.
  await servers.admin.query('checkpoint')
  return { small, large }
}

export function createAvailability(
  { seconds, isSmoke }: Setup,
  { database, products }: Shop,
  what: { name: string; about: string },
): System {
  return {
    ...what,
    measure: async () => {
      const config = {
        databaseUrl: database.urlOf('app_api'),
        combining: 'combined',
        isIdle: what === NOTHING,
      } as const
      const front = await startFrontProcess(config)
      try {
        const method = 'holdfast.v1.StockService.GetAvailability'
        // ghz excludes the upper end of a range.
        const data = JSON.stringify({ productIds: [`sku-{{randomInt 1 ${products + 1}}}`] })
        const calls = { ...front.ready, method, data, inFlight: CLIENTS }
        const warm = await callFor({ ...calls, seconds: warmUpOf(isSmoke) })
        const called = await callFor({ ...calls, seconds })
        return {
          figures: {
            'calls/s': called.rate,
            'availability ms, p50': called.latencyMs(0.5),
            'availability ms, p95': called.latencyMs(0.95),
          },
          errors: warm.errors + called.errors,
          messages: [...warm.messages, ...called.messages],
        } satisfies Measurement
      } finally {
        await front.stop()
      }
    },
  }
}
