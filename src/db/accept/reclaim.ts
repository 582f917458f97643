// What orders wait for before they are decided: expired holds of a product that only have to be given back, at a few
// products at once, so that one whose rows are locked does not keep the others; and stock that another session has locked.

import { setTimeout as delay } from 'node:timers/promises'
import { createSemaphore } from '../connection/semaphore.ts'
import { statement, type Database } from '../connection/pool.ts'
import { reclaimHolds } from '../sweep.ts'

/** Sessions of the order path that reclaims may take at once. */
const WIDTH = 2
const MAX_TURN_WAIT_MS = 1_000
/** Before the next look when nothing could be given back: another session has the rows. Half of it to all of it. */
const PAUSE_MS = 50

export type Reclaimer = {
  /** Resolves to whether anything came back; when nothing did, after a pause. Never rejects. */
  reclaim: (productId: string) => Promise<boolean>
  /** Resolves after a pause to whether another session has the product's stock locked. Never rejects. */
  isLockedStill: (productId: string) => Promise<boolean>
}

const pause = (): Promise<void> => delay(PAUSE_MS * (0.5 + Math.random() / 2))

export function createReclaimer(database: Pick<Database, 'run'>): Reclaimer {
  const gate = createSemaphore(WIDTH, MAX_TURN_WAIT_MS)
  return {
    reclaim: async (productId) => {
      // What fails here, the decision that follows says better.
      const ended = await gate(() => reclaimHolds(database, productId)).catch(() => 0)
      if (ended === 0) await pause()
      return ended > 0
    },
    isLockedStill: async (productId) => {
      await pause()
      return gate(() => findLockedStock(database, [productId])).then(
        ({ size }) => size > 0,
        // Nothing was learnt: it is asked again, for as long as somebody waits.
        () => true,
      )
    },
  }
}

// Each lock that is had is let go at once: this only tells what another session has now.
const FIND_LOCKED_STOCK = statement(
  'accept_find_locked_stock',
  `with free as (
     select product_id from stock where product_id = any ($1) order by product_id for no key update skip locked
   )
   select product_id as "productId" from stock where product_id = any ($1)
   except select product_id from free`,
)
/** Which of these products have their stock locked by another session now. */
export async function findLockedStock(
  database: Pick<Database, 'run'>,
  productIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await database.run<{ productId: string }>(FIND_LOCKED_STOCK, [productIds])
  return new Set(rows.map(({ productId }) => productId))
}
