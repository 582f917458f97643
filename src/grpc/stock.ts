// StockService and StockAdminService: stock levels and corrections.

import { runShared } from '../db/connection/ended.ts'
import type { Database } from '../db/connection/pool.ts'
import { adjustStock, readStock, type StockView } from '../db/stock.ts'
import { actorOf } from '../domain/access.ts'
import { attemptOf } from './command.ts'
import { stockMessage } from './convert.ts'
import type { StockServiceService } from './gen/holdfast/v1/stock.ts'
import type { StockAdminServiceService } from './gen/holdfast/v1/stock_admin.ts'
import type { Handlers } from './handle.ts'

/**
 * One second is current enough for display. A popular product then costs one row a second for any number of readers
 * (D-19).
 */
const FRESH_MS = 1_000
const MAX_CACHED = 10_000

/** Most products in one query; more start another one. */
const MAX_GATHERED = 1_000

type Reading = { stock: StockView | undefined; asOf: Date }
type Entry = { reading: Promise<Reading>; /** Infinity until the query begins. */ beganAt: number }
type Batch = { entries: Map<string, Entry>; all: Promise<{ found: Map<string, StockView>; asOf: Date }> }

/**
 * Creates a reader of stock levels with a time-limited cache (FRESH_MS) and batched loads. One query runs at a time;
 * products requested while it runs are loaded together by the next one. So a large catalogue costs queries per second,
 * not per caller.
 */
export function createAvailability(read: (productIds: readonly string[]) => Promise<readonly StockView[]>) {
  // In request order: the oldest entries come first.
  const entries = new Map<string, Entry>()
  let gathering: Batch | undefined
  let last: Promise<unknown> = Promise.resolve()

  function openBatch(): Batch {
    const batch: Batch = { entries: new Map(), all: last.then(() => readAll(batch)) }
    last = batch.all.catch(() => undefined)
    return batch
  }

  async function readAll(batch: Batch) {
    if (gathering === batch) gathering = undefined
    const [beganAt, asOf] = [performance.now(), new Date()]
    for (const entry of batch.entries.values()) entry.beganAt = beganAt
    const rows = await runShared(() => read([...batch.entries.keys()].toSorted()))
    return { found: new Map(rows.map((row) => [row.productId, row])), asOf }
  }

  function load(productId: string): Entry {
    if (gathering === undefined || gathering.entries.size >= MAX_GATHERED) gathering = openBatch()
    const reading = gathering.all.then(({ found, asOf }) => ({ stock: found.get(productId), asOf }))
    const entry: Entry = { reading, beganAt: Infinity }
    reading.catch(() => entries.get(productId) === entry && entries.delete(productId))
    gathering.entries.set(productId, entry)
    entries.delete(productId)
    entries.set(productId, entry)
    return entry
  }

  function dropOldest(): void {
    for (const [oldest, { beganAt }] of entries) {
      if (entries.size <= MAX_CACHED || beganAt === Infinity) break
      entries.delete(oldest)
    }
  }

  return async (productIds: readonly string[]): Promise<{ stock: StockView[]; asOf: Date }> => {
    const wanted = [...new Set(productIds)].toSorted()
    const now = performance.now()
    const readings = wanted.map((productId) => {
      const known = entries.get(productId)
      return known !== undefined && now - known.beganAt < FRESH_MS ? known.reading : load(productId).reading
    })
    dropOldest()
    const answers = await Promise.all(readings)
    return {
      stock: answers.flatMap(({ stock }) => stock ?? []),
      asOf: new Date(Math.min(...answers.map(({ asOf }) => asOf.getTime()))),
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
