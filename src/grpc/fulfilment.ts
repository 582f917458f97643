// FulfilmentService: what to ship, what was shipped, what arrived.

import { UUID_PATTERN } from '../domain/identifier.ts'
import type { Database } from '../db/connection/pool.ts'
import { listOrdersToShip } from '../db/read.ts'
import type { CursorSeal } from '../keyvault/cursor.ts'
import type { Commander } from './command.ts'
import { commandMessage, toShipMessage } from './convert.ts'
import { OrderToShip, type FulfilmentServiceService } from './gen/holdfast/v1/fulfilment.ts'
import type { Handlers } from './handle.ts'
import { cutPage, messageBytes, pageOf } from './page.ts'

export const createFulfilmentHandlers = (deps: {
  database: Database
  command: Commander
  cursors: CursorSeal
}): Handlers<typeof FulfilmentServiceService> => ({
  markShipped: async (request, call) => commandMessage(request.orderId, await deps.command('ship', request, call)),

  markDelivered: async (request, call) => commandMessage(request.orderId, await deps.command('deliver', request, call)),

  listOrdersToShip: async (request, call) => {
    const listing = { cursors: deps.cursors, call, idPattern: UUID_PATTERN }
    const rows = await listOrdersToShip(deps.database, pageOf(listing, request))
    const { page, nextCursor } = cutPage(listing, rows, {
      limit: request.limit,
      idOf: ({ orderId }) => orderId,
      bytesOf: messageBytes(OrderToShip, toShipMessage),
    })
    return { orders: page.map(toShipMessage), nextCursor }
  },
})
