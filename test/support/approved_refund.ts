// Refunds of test shops, brought to where a payout begins.

import { randomBytes } from 'node:crypto'
import { assessPayments, recordReport } from '../../src/db/payment.ts'
import type { Actor } from '../../src/domain/audit.ts'
import type { FeeBearer } from '../../src/domain/refund.ts'
import { poolAddresses } from './address.ts'
import { putRefund } from './refund.ts'
import { refundSealer } from './refund_seal.ts'
import { buildObservation, type TestShop } from './shop.ts'

const CUSTOMER: Actor = { actor: 'user:7', role: 'customer' }
const APPROVERS: readonly Actor[] = [18, 19].map((id) => ({ actor: `user:${id}`, role: 'admin' }))

export const makeDestination = (): string => `0x${randomBytes(20).toString('hex')}`

export type Arrival = (address: string, amount: bigint) => Promise<unknown>

export type ApprovedRefund = { refundId: string; orderId: string; amount: bigint; destination: string }

/** A paid order that is owed `amount` (by default 0.1 ETH more than it cost), with its refund approved by two people. */
export async function approveRefund(
  shop: TestShop,
  {
    amount = 10n ** 17n,
    bearer = 'shop',
    destination = makeDestination(),
    arrive,
    hasSeals = true,
  }: {
    amount?: bigint
    bearer?: FeeBearer
    destination?: string
    /** Puts the money on the chain that the payer looks at; without it, the order has it by report alone. */
    arrive?: Arrival
    /** Without: as the api's database credential alone can write it. */
    hasSeals?: boolean
  } = {},
): Promise<ApprovedRefund> {
  const { order, run } = await shop.orderIn('processing')
  await poolAddresses(shop.test, [order.address])
  const txId = await arrive?.(order.address, amount)
  await recordReport(shop.api, 'w1', [buildObservation(order, { amount, ...(typeof txId === 'string' && { txId }) })])
  await assessPayments(shop.worker, run.next())
  const [refund] = await shop.query<{ id: string }>(
    `select refund_id as id from refund where order_id = $1 and status = 'awaiting_destination'`,
    [order.orderId],
  )
  if (refund === undefined) throw new Error('the order is owed nothing')
  await decide(shop, refund.id, { destination, bearer, hasSeals })
  return { refundId: refund.id, orderId: order.orderId, amount, destination }
}

/** A further refund of the order, of one base unit as goodwill, approved by two people. */
export async function approveFurther(shop: TestShop, { orderId, destination }: ApprovedRefund): Promise<string> {
  const { refundId } = await putRefund(shop.test, orderId, { isWithAddress: false })
  await decide(shop, refundId, { destination, bearer: 'shop', hasSeals: true })
  return refundId
}

async function decide(
  shop: TestShop,
  refundId: string,
  { destination, bearer, hasSeals }: { destination: string; bearer: FeeBearer; hasSeals: boolean },
): Promise<void> {
  const [row] = await shop.query<{ orderId: string; amount: string; version: bigint }>(
    'select order_id as "orderId", amount, version from refund where refund_id = $1',
    [refundId],
  )
  if (row === undefined) throw new Error('there is no such refund')
  const where = { refundId, orderId: row.orderId, network: 'ethereum', asset: 'ETH', destination }
  // The confirmation makes the next version, which is the one that is approved.
  const approved = { ...where, version: (row.version + 1n).toString(), units: row.amount, feeBearer: bearer }
  const write = (by: Actor, text: string, ...values: unknown[]) =>
    shop.test.writeAs('app_api', by, text, [refundId, ...values])
  await write(
    CUSTOMER,
    `update refund set destination = $2, destination_confirmed_at = now(), fee_bearer = $3, destination_seal = $4,
       status = 'awaiting_approval'
     where refund_id = $1`,
    destination,
    bearer,
    hasSeals ? refundSealer.sealDestination(where) : null,
  )
  for (const by of APPROVERS)
    await write(
      by,
      `insert into refund_approval (refund_id, version, approver, order_id, seal)
       select refund_id, version, $2, order_id, $3 from refund where refund_id = $1`,
      by.actor,
      hasSeals ? refundSealer.sealApproval({ ...approved, approver: by.actor }) : null,
    )
  await write(APPROVERS[0] ?? CUSTOMER, `update refund set status = 'approved' where refund_id = $1`)
}
