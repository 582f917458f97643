// StockService and StockAdminService: how many there are, and the warehouse's corrections.

import type { Database } from '../db/pool.ts'
import { adjustStock, readStock, type StockView } from '../db/stock.ts'
import { actorOf } from '../domain/access.ts'
import { attemptOf } from './command.ts'
import { stockMessage } from './convert.ts'
import type { StockServiceService } from './gen/holdfast/v1/stock.ts'
import type { StockAdminServiceService } from './gen/holdfast/v1/stock_admin.ts'
import type { Handlers } from './handle.ts'

/** For display a second is fresh enough, and a popular product costs one row a second however many look (D-19). */
const FRESH_MS = 1_000
const MAX_CACHED = 10_000

type Reading = { stock: StockView | undefined; asOf: Date }
type Entry = { reading: Promise<Reading>; beganAt: number }

/** Reads products' counters, each at most once in FRESH_MS; concurrent questions share one query. */
export function createAvailability(read: (productIds: readonly string[]) => Promise<readonly StockView[]>) {
  // In the order of reading: the oldest entries come first.
  const entries = new Map<string, Entry>()

  function load(productIds: readonly string[], beganAt: number): void {
    const asOf = new Date()
    const all = read(productIds).then((rows) => new Map(rows.map((row) => [row.productId, row])))
    for (const productId of productIds) {
      const entry: Entry = { reading: all.then((rows) => ({ stock: rows.get(productId), asOf })), beganAt }
      entry.reading.catch(() => entries.get(productId) === entry && entries.delete(productId))
      entries.delete(productId)
      entries.set(productId, entry)
    }
    for (const oldest of entries.keys()) {
      if (entries.size <= MAX_CACHED) break
      entries.delete(oldest)
    }
  }

  return async (productIds: readonly string[]): Promise<{ stock: StockView[]; asOf: Date }> => {
    const wanted = [...new Set(productIds)].toSorted()
    const now = performance.now()
    const missing = wanted.filter((productId) => now - (entries.get(productId)?.beganAt ?? -Infinity) >= FRESH_MS)
    if (missing.length > 0) load(missing, now)
    const readings = await Promise.all(wanted.flatMap((productId) => entries.get(productId)?.reading ?? []))
    return {
      stock: readings.flatMap(({ stock }) => stock ?? []),
      asOf: new Date(Math.min(...readings.map(({ asOf }) => asOf.getTime()))),
    }
  }
}

export function createStockHandlers({ database }: { database: Database }): Handlers<typeof StockServiceService> {
  const availabilityOf = createAvailability((productIds) => readStock(database, productIds))
  return {
    getAvailability: async ({ productIds }) => {
      const { stock, asOf } = await availabilityOf(productIds)
      return { stock: stock.map(stockMessage), asOf }
    },
  }
}

export const createStockAdminHandlers = ({
  database,
}: {
  database: Database
}): Handlers<typeof StockAdminServiceService> => ({
  adjustStock: async ({ idempotencyKey, productId, change, reason, expectedVersion }, call) => {
    const { answer, isReplay } = await adjustStock(
      database,
      attemptOf(idempotencyKey, call, 'admin'),
      {
        productId,
        change: { kind: change.$case, units: change.value },
        actor: actorOf(call.principal),
        reason,
        expectedVersion,
      },
      call.deadline,
    )
    call.record.isReplay = isReplay
    return { stock: stockMessage(answer) }
  },
})
