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

type Owned = Pick<OrderView, 'orderId' | 'userId'>
type PersonalField = 'shipping_address' | 'refund_destination'

/**
 * Notes that somebody else reads a field of an order. The method is the purpose: the audit's actor has the call, the
 * token and the place.
 * @param readers the roles that may, the one with more rights first
 * @throws {DomainError} PERMISSION_DENIED for other roles; and what the entry fails with
 */
export async function noteReadByOther(
  { database }: Pick<PersonalDataDeps, 'database'>,
  { orderId }: Owned,
  call: Call,
  { field, readers }: { field: PersonalField; readers: readonly ('admin' | 'fulfilment')[] },
): Promise<void> {
  const role = readers.find((reader) => hasRole(call.principal, reader))
  if (role === undefined) throw permissionDenied()
  const by = { ...auditActorOf(call, role), reason: call.record.path }
  await noteReads(database, { orderIds: [orderId], fields: [field], by }, call.deadline)
}

export function logRead(
  { logger }: Pick<PersonalDataDeps, 'logger'>,
  { orderId, userId }: Owned,
  { record, principal }: Call,
  { field, said }: { field: PersonalField; said: string },
): void {
  logger.info(
    {
      event: 'pii_access',
      requestId: record.requestId,
      actor: actorOf(principal),
      roles: principal.roles,
      orderId,
      customer: userId.toString(),
      field,
    },
    said,
  )
}

/**
 * Decrypts an order's address for a caller who may see it, and records who reads it, why and with which call.
 * @throws {DomainError} PERMISSION_DENIED; and what the entry fails with
 */
export async function openAddress(deps: PersonalDataDeps, order: OrderView, call: Call): Promise<string> {
  const field = 'shipping_address'
  if (!seesPart(call.principal, 'shippingAddress', order)) throw permissionDenied()
  if (!isOwner(order, call)) await noteReadByOther(deps, order, call, { field, readers: READERS })
  logRead(deps, order, call, { field, said: 'personal data decrypted' })
  return deps.pii.open(order.userId, order.addressOrderId, order.addressSealed)
}
