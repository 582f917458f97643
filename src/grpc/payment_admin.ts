// PaymentAdminService: the money of orders as support and accountants read it. Handlers translate and check the scope;
// the explanation is domain/explanation.ts.

import type { Database } from '../db/connection/pool.ts'
import { findPaymentDossier, type PaymentDossier } from '../db/payment_dossier.ts'
import { listTransfers, type TransferPlace } from '../db/payment_list.ts'
import type { FeeBearer } from '../domain/refund.ts'
import type { CursorSeal } from '../keyvault/cursor.ts'
import type { Logger } from '../telemetry.ts'
import type { Call } from './call.ts'
import { dossierMessage, transferMessage } from './dossier.ts'
import type { PaymentAdminServiceService } from './gen/holdfast/v1/payment_admin.ts'
import type { Handlers } from './handle.ts'
import { cutPage, pageOf } from './page.ts'
import { orderScopeOf, orderUnreachable, permissionDenied, seesPart } from './permission.ts'
import { logRead, noteReadByOther } from './personal_data.ts'

export type PaymentAdminDeps = {
  database: Database
  logger: Logger
  cursors: CursorSeal
  shop: { refundFeeBearer: FeeBearer }
}

export const createPaymentAdminHandlers = (deps: PaymentAdminDeps): Handlers<typeof PaymentAdminServiceService> => ({
  listPayments: async ({ filter = {}, oldestFirst, limit, cursor }, call) => {
    const listing = { cursors: deps.cursors, call, filter: { ...filter, oldestFirst }, idPattern: PLACE_PATTERN }
    const asked = pageOf(listing, { limit, cursor })
    const after = asked.after === undefined ? undefined : readPlace(asked.after)
    const walk = { limit: asked.limit, isOldestFirst: oldestFirst, after }
    const { transfers, reached } = await listTransfers(deps.database, filter, walk)
    const { page, nextCursor } = cutPage(listing, transfers, { limit, idOf: placeOf, reached })
    return { transfers: page.map(transferMessage), nextCursor }
  },

  getPaymentDossier: async ({ orderId, includeDestinations }, call) => {
    const dossier = await findPaymentDossier(deps.database, orderId, orderScopeOf(call))
    if (dossier === undefined) throw orderUnreachable(call)
    if (includeDestinations) await noteDestinations(deps, orderId, dossier, call)
    const { refundFeeBearer: feeBearer } = deps.shop
    return dossierMessage(orderId, dossier, { feeBearer, isOfShop: true, isWhole: includeDestinations })
  },
})

const PLACE_PATTERN = /^[a-z0-9][a-z0-9_-]{0,31}\.[0-9A-Za-z]{64,88}\.\d{1,10}$/
const placeOf = ({ network, txId, outputIndex }: TransferPlace): string => `${network}.${txId}.${outputIndex}`

/** @param place matches PLACE_PATTERN */
function readPlace(place: string): TransferPlace {
  const [network = '', txId = '', outputIndex = ''] = place.split('.')
  return { network, txId, outputIndex: Number(outputIndex) }
}

/**
 * Notes who reads the addresses of refunds, before any of them is shown. Only admins may, and the audit says so.
 * @throws {DomainError} PERMISSION_DENIED; and what the entry fails with
 */
async function noteDestinations(
  deps: PaymentAdminDeps,
  orderId: string,
  { order }: PaymentDossier,
  call: Call,
): Promise<void> {
  const field = 'refund_destination'
  if (!seesPart(call.principal, 'refundDestinations', order)) throw permissionDenied()
  const read = { orderId, userId: order.userId }
  await noteReadByOther(deps, read, call, { field, readers: ['admin'] })
  logRead(deps, read, call, { field, said: 'refund addresses shown' })
}
