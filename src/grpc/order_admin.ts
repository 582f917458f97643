// OrderAdminService: orders whose workflow was lost, and their way back. Temporal is asked first, outside of any
// transaction; the database then decides with the order's row locked.

import {
  findRehydrated,
  findRestart,
  pageOpenOrders,
  rehydrateOrders,
  restartOrder,
  type OpenOrder,
} from '../db/restart.ts'
import type { Database } from '../db/connection/pool.ts'
import { ORDER_STATUSES } from '../domain/order.ts'
import type { Call } from './call.ts'
import { attemptOf, engineUnavailable } from './command.ts'
import { cutPage, pageOf } from './convert.ts'
import { UUID_PATTERN } from './field.ts'
import type { OrderAdminServiceService } from './gen/holdfast/v1/order_admin.ts'
import type { Handlers } from './handle.ts'

const FILTER = 'open orders'
/** Workflows asked about at once: few enough to leave the engine room for orders. */
const WIDTH = 8

export type OrderAdminDeps = {
  database: Database
  /** Is a run of this order's workflow alive? Rejects where Temporal cannot say. */
  isRunning: (orderId: string, deadline: number) => Promise<boolean>
}

export const createOrderAdminHandlers = (deps: OrderAdminDeps): Handlers<typeof OrderAdminServiceService> => ({
  restartOrder: async ({ idempotencyKey, orderId, reason }, call) => {
    const attempt = attemptOf(idempotencyKey, call, 'admin')
    const earlier = await findRestart(deps.database, attempt)
    call.record.isReplay = earlier !== undefined
    if (earlier !== undefined) return earlier
    const isRunning = await isAlive(deps, orderId, call)
    const wanted = { orderId, reason, isRunning }
    const { answer, isReplay } = await restartOrder(deps.database, attempt, wanted, call.deadline)
    call.record.isReplay = isReplay
    return answer
  },

  rehydrateOrders: async ({ idempotencyKey, reason, limit, cursor }, call) => {
    const attempt = attemptOf(idempotencyKey, call, 'admin')
    const earlier = await findRehydrated(deps.database, attempt)
    call.record.isReplay = earlier !== undefined
    if (earlier !== undefined) return earlier
    const asked = pageOf({ limit, offset: 0, cursor }, FILTER, PLACE_PATTERN)
    const rows = await pageOpenOrders(
      deps.database,
      asked.after === undefined ? undefined : readPlace(asked.after),
      asked.limit,
    )
    const { page, nextCursor } = cutPage(rows, limit, FILTER, placeOf)
    const { lost, running } = await tellApart(deps, page, call)
    const found = { lost, running, reason, nextCursor }
    const { answer, isReplay } = await rehydrateOrders(deps.database, attempt, found, call.deadline)
    call.record.isReplay = isReplay
    return answer
  },
})

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
  for (let at = 0; at < orders.length; at += WIDTH) {
    await Promise.all(
      orders.slice(at, at + WIDTH).map(async ({ orderId }) => {
        const found = (await isAlive(deps, orderId, call)) ? running : lost
        found.push(orderId)
      }),
    )
  }
  return { lost, running }
}

const isAlive = ({ isRunning }: OrderAdminDeps, orderId: string, { deadline }: Call): Promise<boolean> =>
  isRunning(orderId, deadline).catch((error: unknown) => {
    throw engineUnavailable(error)
  })
