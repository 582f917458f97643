// FulfilmentService: what to ship, what was shipped, what arrived.

import type { Database } from '../db/connection/pool.ts'
import { listOrdersToShip } from '../db/read.ts'
import type { Commander } from './command.ts'
import { commandMessage, cutPage, pageOf, toShipMessage } from './convert.ts'
import { UUID_PATTERN } from './field.ts'
import type { FulfilmentServiceService } from './gen/holdfast/v1/fulfilment.ts'
import type { Handlers } from './handle.ts'

export const createFulfilmentHandlers = (deps: {
  database: Database
  command: Commander
}): Handlers<typeof FulfilmentServiceService> => ({
  markShipped: async (request, call) => commandMessage(request.orderId, await deps.command('ship', request, call)),

  markDelivered: async (request, call) => commandMessage(request.orderId, await deps.command('deliver', request, call)),

  listOrdersToShip: async (request) => {
    const filter = 'to ship'
    const rows = await listOrdersToShip(deps.database, pageOf(request, filter, UUID_PATTERN))
    const { page, nextCursor } = cutPage(rows, request.limit, filter, (order) => order.orderId)
    return { orders: page.map(toShipMessage), nextCursor }
  },
})
