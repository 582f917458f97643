// The only way from a sealed address to an answer. A read by anyone but the owner is an audit entry, written before the
// data is decrypted: without the entry, nothing is shown. The owner's own reads leave a log line: they are no access by
// somebody else, and a customer must not be able to make the audit grow.

import { noteReads } from '../db/audit/read.ts'
import type { Database } from '../db/connection/pool.ts'
import type { OrderView } from '../db/read.ts'
import { actorOf, hasRole } from '../domain/access.ts'
import type { Logger } from '../telemetry.ts'
import { auditActorOf, type Call } from './call.ts'
import { permissionDenied, seesPart } from './permission.ts'

export type PersonalDataDeps = {
  database: Database
  logger: Logger
  pii: { open: (userId: bigint, orderId: string, sealed: Buffer) => Promise<string> }
}

/** Whether the caller is the customer of the order. */
export const isOwner = (order: Pick<OrderView, 'userId'>, { principal }: Pick<Call, 'principal'>): boolean =>
  hasRole(principal, 'customer') && order.userId === principal.userId

/** The roles of the audit that see addresses of orders they do not own, the one with more rights first. */
const READERS = ['admin', 'fulfilment'] as const

/**
 * Decrypts an order's address for a caller who may see it, and records who reads it, why and with which call.
 * @throws {DomainError} PERMISSION_DENIED; and what the entry fails with
 */
export async function openAddress(deps: PersonalDataDeps, order: OrderView, call: Call): Promise<string> {
  if (!seesPart(call.principal, 'shippingAddress', order)) throw permissionDenied()
  if (!isOwner(order, call)) {
    const role = READERS.find((reader) => hasRole(call.principal, reader))
    if (role === undefined) throw permissionDenied()
    // The method is the purpose: the audit's actor has the call, the token and the place.
    const by = { ...auditActorOf(call, role), reason: call.record.path }
    const read = { orderIds: [order.orderId], fields: ['shipping_address'], by } as const
    await noteReads(deps.database, read, call.deadline)
  }
  deps.logger.info(
    {
      event: 'pii_access',
      requestId: call.record.requestId,
      actor: actorOf(call.principal),
      roles: call.principal.roles,
      orderId: order.orderId,
      customer: order.userId.toString(),
      field: 'shipping_address',
    },
    'personal data decrypted',
  )
  return deps.pii.open(order.userId, order.addressOrderId, order.addressSealed)
}
