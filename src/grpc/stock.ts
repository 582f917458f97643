// StockService and StockAdminService: how many there are, and the warehouse's corrections.

import type { Database } from '../db/connection/pool.ts'
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

/** Products of one query. Beyond it a query of its own is begun. */
const MAX_GATHERED = 1_000

type Reading = { stock: StockView | undefined; asOf: Date }
type Entry = { reading: Promise<Reading>; /** Infinity until the query begins. */ beganAt: number }
type Batch = { entries: Map<string, Entry>; all: Promise<{ found: Map<string, StockView>; asOf: Date }> }

/**
 * Reads products' counters, each at most once in FRESH_MS. One query is under way at a time; what is asked for
 * meanwhile goes together into the next, so that a large catalogue costs queries by time and not by callers.
 */
export function createAvailability(read: (productIds: readonly string[]) => Promise<readonly StockView[]>) {
  // In the order of asking: the oldest entries come first.
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
    const rows = await read([...batch.entries.keys()].toSorted())
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
