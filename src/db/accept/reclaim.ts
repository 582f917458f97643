// What parked orders wait for: expired holds of a product that must be released, and stock rows that another session has
// locked. A few products at a time, so that a locked one does not delay the others.

import { setTimeout as delay } from 'node:timers/promises'
import { createSemaphore } from '../connection/semaphore.ts'
import { statement, type Database } from '../connection/pool.ts'
import { reclaimHolds } from '../sweep.ts'

/** Database sessions that reclaims may use at a time. */
const WIDTH = 2
const MAX_TURN_WAIT_MS = 1_000
/** Pause before the next try when nothing could be released since another session has the rows: half of it to all. */
const PAUSE_MS = 50

export type Reclaimer = {
  /** Releases expired holds. Resolves to whether any was released; if none, after a pause. Never rejects. */
  reclaim: (productId: string) => Promise<boolean>
  /** Resolves after a pause to whether another session has the product's stock row locked. Never rejects. */
  isLockedStill: (productId: string) => Promise<boolean>
}

const pause = (): Promise<void> => delay(PAUSE_MS * (0.5 + Math.random() / 2))

export function createReclaimer(database: Pick<Database, 'run'>): Reclaimer {
  const gate = createSemaphore(WIDTH, MAX_TURN_WAIT_MS)
  return {
    reclaim: async (productId) => {
      // An error here is ignored: the decision that follows reports it.
      const ended = await gate(() => reclaimHolds(database, productId)).catch(() => 0)
      if (ended === 0) await pause()
      return ended > 0
    },
    isLockedStill: async (productId) => {
      await pause()
      return gate(() => findLockedStock(database, [productId])).then(
        ({ size }) => size > 0,
        // Unknown: the caller tries again while orders wait.
        () => true,
      )
    },
  }
}

// Each lock acquired here is released at once: the result only says what other sessions have locked now.
const FIND_LOCKED_STOCK = statement(
  'accept_find_locked_stock',
  `with free as (
     select product_id from stock where product_id = any ($1) order by product_id for no key update skip locked
   )
   select product_id as "productId" from stock where product_id = any ($1)
   except select product_id from free`,
)
/** The products among these whose stock rows another session has locked now. */
export async function findLockedStock(
  database: Pick<Database, 'run'>,
  productIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await database.run<{ productId: string }>(FIND_LOCKED_STOCK, [productIds])
  return new Set(rows.map(({ productId }) => productId))
}
