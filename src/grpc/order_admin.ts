// OrderAdminService: restarts orders whose workflow was lost. It queries Temporal first, outside of any transaction;
// the database then decides with the order's row locked.

import {
  findRehydrated,
  findRestart,
  pageOpenOrders,
  rehydrateOrders,
  restartOrder,
  type OpenOrder,
} from '../db/restart.ts'
import { UUID_PATTERN } from '../domain/identifier.ts'
import type { Database } from '../db/connection/pool.ts'
import { forEachBounded } from '../domain/concurrency.ts'
import { ORDER_STATUSES } from '../domain/order.ts'
import type { CursorSeal } from '../keyvault/cursor.ts'
import type { Call } from './call.ts'
import { attemptOf, engineUnavailable } from './command.ts'
import type { OrderAdminServiceService } from './gen/holdfast/v1/order_admin.ts'
import type { Handlers } from './handle.ts'
import { cutPage, pageOf } from './page.ts'

/** Concurrent queries to Temporal: few enough to leave capacity for orders. */
const WIDTH = 8

export type OrderAdminDeps = {
  database: Database
  /** Is a run of this order's workflow alive? Rejects if Temporal cannot tell. */
  isRunning: (orderId: string, deadline: number) => Promise<boolean>
  cursors: CursorSeal
}

export const createOrderAdminHandlers = (deps: OrderAdminDeps): Handlers<typeof OrderAdminServiceService> => ({
  restartOrder: async ({ idempotencyKey, orderId, reason }, call) => {
    const attempt = attemptOf(idempotencyKey, call, 'admin')
    return answerAttempt(call, await findRestart(deps.database, attempt), async () => {
      const wanted = { orderId, reason, isRunning: await isAlive(deps, orderId, call) }
      return restartOrder(deps.database, attempt, wanted, call.deadline)
    })
  },

  rehydrateOrders: async ({ idempotencyKey, reason, limit, cursor }, call) => {
    const attempt = attemptOf(idempotencyKey, call, 'admin')
    return answerAttempt(call, await findRehydrated(deps.database, attempt), async () => {
      const listing = { cursors: deps.cursors, call, idPattern: PLACE_PATTERN }
      const asked = pageOf(listing, { limit, cursor })
      const after = asked.after === undefined ? undefined : readPlace(asked.after)
      const rows = await pageOpenOrders(deps.database, after, asked.limit)
      const { page, nextCursor } = cutPage(listing, rows, { limit, idOf: placeOf })
      const { lost, running } = await tellApart(deps, page, call)
      return rehydrateOrders(deps.database, attempt, { lost, running, reason, nextCursor }, call.deadline)
    })
  },
})

/** Answers a repeated attempt with its stored answer, before Temporal is asked; else acts. Notes which it was. */
async function answerAttempt<Answer>(
  call: Call,
  earlier: Answer | undefined,
  act: () => Promise<{ answer: Answer; isReplay: boolean }>,
): Promise<Answer> {
  const { answer, isReplay } = earlier === undefined ? await act() : { answer: earlier, isReplay: true }
  call.record.isReplay = isReplay
  return answer
}

const PLACE_PATTERN = new RegExp(`^(${ORDER_STATUSES.join('|')})\\.${UUID_PATTERN.source.slice(1)}`)
const placeOf = ({ status, orderId }: OpenOrder): string => `${status}.${orderId}`

function readPlace(place: string): OpenOrder {
  const [word, orderId = ''] = place.split('.')
  return { status: ORDER_STATUSES.find((status) => status === word) ?? 'pending', orderId }
}

async function tellApart(
  deps: OrderAdminDeps,
  orders: readonly OpenOrder[],
  call: Call,
): Promise<{ lost: string[]; running: string[] }> {
  const lost: string[] = []
  const running: string[] = []
  await forEachBounded(orders, WIDTH, async ({ orderId }) => {
    const found = (await isAlive(deps, orderId, call)) ? running : lost
    found.push(orderId)
  })
  return { lost, running }
}

const isAlive = ({ isRunning }: OrderAdminDeps, orderId: string, { deadline }: Call): Promise<boolean> =>
  isRunning(orderId, deadline).catch((error: unknown) => {
    throw engineUnavailable(error)
  })
