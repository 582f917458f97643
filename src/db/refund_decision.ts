// Decisions about refunds: an operator's wish, the customer's address, approvals and rejections, each once per attempt.
// A change locks the order's row first. The database checks every rule again (guard_refund, guard_refund_approval).

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import { DomainError, RETRY_HINT_MS } from '../domain/failure.ts'
import { formatFiat } from '../domain/money.ts'
import { ORDER_STATUSES } from '../domain/order.ts'
import { ASSETS, type Asset } from '../domain/payment.ts'
import {
  FEE_BEARERS,
  isLookAlike,
  REFUND_APPROVALS,
  REFUND_STATUSES,
  refundAmountOf,
  refundRefusalOf,
  type FeeBearer,
  type RefundAct,
  type RefundAmountRefusal,
  type RefundWish,
} from '../domain/refund.ts'
import { minorOf } from './accept/accept.ts'
import type { Database } from './connection/pool.ts'
import { REFUND_CEILING_STATE, sqlStateOf } from './connection/sqlstate.ts'
import { answerOnce, type Attempt } from './idempotency.ts'
import type { OrderScope } from './read.ts'
import type { ApprovalStatement, DestinationStatement } from '../domain/refund_statement.ts'
import { getRefund, inOrderScope } from './refund.ts'

/** As stored with an answer: 64-bit numbers and amounts are text. */
const ANSWER = z.object({
  refundId: z.string(),
  status: z.enum(REFUND_STATUSES),
  version: z.string(),
  units: z.string(),
  asset: z.enum(ASSETS),
  destination: z.string().nullable(),
  feeBearer: z.enum(FEE_BEARERS).nullable(),
  approvals: z.int(),
})
export type RefundAnswer = z.output<typeof ANSWER>
type Answered = Promise<{ answer: RefundAnswer; isReplay: boolean }>

async function answerOf(tx: DatabaseTransactionConnection, refundId: string): Promise<RefundAnswer> {
  const { status, version, amount, asset, destination, feeBearer, approvals } = await getRefund(tx, refundId)
  return { refundId, status, version: version.toString(), units: amount, asset, destination, feeBearer, approvals }
}

const NOTHING = z.unknown()
const orderMissing = (): DomainError => new DomainError('NOT_FOUND', 'There is no such order.')
const refundMissing = (): DomainError => new DomainError('NOT_FOUND', 'There is no such refund of this order.')

export type RefundRequest = {
  orderId: string
  wish: RefundWish
  feeBearer: FeeBearer
  reason: string
  rateOf: (asset: Asset) => bigint | undefined
}

const REFUNDABLE = z.object({
  status: z.enum(ORDER_STATUSES),
  network: z.string(),
  asset: z.enum(ASSETS),
  rate: z.string(),
  decimals: z.int(),
  available: z.string(),
})

/**
 * Opens a refund that an operator wishes.
 * @throws {DomainError} NOT_FOUND, ORDER_STATUS, REFUND_TOO_LARGE, RATE_UNAVAILABLE, and those of answerOnce
 */
export const requestRefund = (
  database: Pick<Database, 'sql'>,
  attempt: Attempt,
  request: RefundRequest,
  deadline: number,
): Answered =>
  answerOnce(
    database,
    { ...attempt, by: { ...attempt.by, reason: request.reason } },
    ANSWER,
    (tx) => openRefund(tx, attempt.actor, request),
    deadline,
  )

async function openRefund(
  tx: DatabaseTransactionConnection,
  actor: string,
  { orderId, wish, feeBearer, reason, rateOf }: RefundRequest,
): Promise<RefundAnswer> {
  // The lock first: what is available is read by a statement that sees all that was committed before it.
  const locked = await tx.any(sql.type(NOTHING)`select from orders where order_id = ${orderId} for no key update`)
  if (locked.length === 0) throw orderMissing()
  const order = await tx.one(sql.type(REFUNDABLE)`
    select o.status, i.network, i.asset, i.rate::text, c.decimals,
      greatest(0, received_money(o.order_id, i.network, i.asset, null)
        - promised_refunds(o.order_id, i.network, i.asset, null, null))::text as available
    from orders o join invoice i on i.order_id = o.order_id join currency c on c.currency = i.asset
    where o.order_id = ${orderId}`)
  const amount = refundAmountOf(wish, {
    status: order.status,
    available: BigInt(order.available),
    decimals: order.decimals,
    orderRateMinor: minorOf(order.rate),
    todayRateMinor: rateOf(order.asset),
  })
  if ('reason' in amount) throw amountRefused(amount, order.asset)
  const inFiat = amount.namedIn === 'fiat' ? amount : undefined
  const { refundId } = await tx.one(sql.type(z.object({ refundId: z.string() }))`
    insert into refund (order_id, network, asset, amount, kind, fee_bearer, named_in, fiat_amount, rate_basis, rate,
      requested_by, reason)
    values (${orderId}, ${order.network}, ${order.asset}, ${amount.units.toString()}::numeric, 'goodwill', ${feeBearer},
      ${amount.namedIn}, ${inFiat === undefined ? null : formatFiat(inFiat.fiatMinor)}::numeric, ${inFiat?.basis ?? null},
      ${inFiat === undefined ? null : formatFiat(inFiat.rateMinor)}::numeric, ${actor}, ${reason})
    returning refund_id as "refundId"`)
  return answerOf(tx, refundId)
}

function amountRefused(refusal: RefundAmountRefusal, asset: Asset): DomainError {
  switch (refusal.reason) {
    case 'REFUND_TOO_LARGE':
      return new DomainError('REFUND_TOO_LARGE', 'This is more than the order has left to give back.', {
        metadata: { available: refusal.available.toString() },
      })
    case 'RATE_UNAVAILABLE':
      return new DomainError('RATE_UNAVAILABLE', `There is no current price for ${asset}.`, {
        metadata: { asset },
        retryAfterMs: RETRY_HINT_MS.chain,
      })
    case 'ORDER_STATUS':
      return new DomainError('ORDER_STATUS', 'The order may yet be paid: cancel it, and its money is owed back.', {
        metadata: { status: refusal.status },
      })
  }
}

const STANDING = z.object({
  status: z.enum(REFUND_STATUSES),
  version: z.bigint(),
  requestedBy: z.string(),
  customer: z.string(),
  network: z.string(),
  asset: z.enum(ASSETS),
  destination: z.string().nullable(),
  approvers: z.array(z.string()),
})
type Standing = z.output<typeof STANDING>

export type RefundTarget = { orderId: string; refundId: string; version: bigint | undefined }

/** Locks the order of a refund and reads the refund, or throws why this may not be done to it. */
async function lockRefund(
  tx: DatabaseTransactionConnection,
  act: RefundAct,
  actor: string,
  { orderId, refundId, version }: RefundTarget,
): Promise<Standing> {
  await tx.any(sql.type(NOTHING)`select from orders where order_id = ${orderId} for no key update`)
  const refund = await tx.maybeOne(sql.type(STANDING)`
    select r.status, r.version, r.requested_by as "requestedBy", 'user:' || o.user_id as customer, r.network, r.asset,
      r.destination, array(
        select a.approver from refund_approval a where a.refund_id = r.refund_id and a.version = r.version) as approvers
    from refund r join orders o on o.order_id = r.order_id
    where r.refund_id = ${refundId} and r.order_id = ${orderId}`)
  if (refund === null) throw refundMissing()
  const refusal = refundRefusalOf(act, version === undefined ? { actor } : { actor, version }, refund)
  if (refusal === undefined) return refund
  const metadata = {
    REFUND_STATUS: { status: refund.status },
    VERSION_MISMATCH: { version: refund.version.toString() },
    REFUND_APPROVER: {},
  }[refusal.reason]
  throw new DomainError(refusal.reason, refusal.message, { metadata })
}

/**
 * Approves one version of a refund; the last approval that is needed lets it be paid.
 * @throws {DomainError} NOT_FOUND, REFUND_STATUS, REFUND_APPROVER, VERSION_MISMATCH, REFUND_TOO_LARGE, and those of
 *   answerOnce
 */
export async function approveRefund(
  database: Pick<Database, 'sql'>,
  attempt: Attempt,
  target: RefundTarget & { version: bigint; seal: (statement: ApprovalStatement) => string },
  deadline: number,
): Answered {
  const act = async (tx: DatabaseTransactionConnection): Promise<RefundAnswer> => {
    const { approvers } = await lockRefund(tx, 'approve', attempt.actor, target)
    const seal = target.seal(await approvalOf(tx, target, attempt.actor))
    await tx.query(sql.type(NOTHING)`
      insert into refund_approval (refund_id, version, approver, order_id, seal)
      values (${target.refundId}, ${target.version}, ${attempt.actor}, ${target.orderId}, ${seal})`)
    const approvals = approvers.length + 1
    if (approvals < REFUND_APPROVALS) return { ...(await answerOf(tx, target.refundId)), approvals }
    await tx.query(sql.type(NOTHING)`update refund set status = 'approved' where refund_id = ${target.refundId}`)
    return { ...(await answerOf(tx, target.refundId)), approvals }
  }
  try {
    return await answerOnce(database, attempt, ANSWER, act, deadline)
  } catch (error) {
    if (sqlStateOf(error) !== REFUND_CEILING_STATE) throw error
    throw new DomainError('REFUND_TOO_LARGE', 'The order no longer has this money; it may come back.', { cause: error })
  }
}

/** What is approved, as it is in the transaction that approves it. */
async function approvalOf(
  tx: DatabaseTransactionConnection,
  { refundId, orderId, version }: RefundTarget & { version: bigint },
  approver: string,
): Promise<ApprovalStatement> {
  const { network, asset, amount, destination, feeBearer } = await getRefund(tx, refundId)
  const where = { refundId, orderId, network, asset, destination: destination ?? '' }
  return { ...where, version: version.toString(), units: amount, feeBearer: feeBearer ?? '', approver }
}

/**
 * Rejects a refund that is not being paid. If its money is still owed, the database opens another one.
 * @throws {DomainError} NOT_FOUND, REFUND_STATUS, VERSION_MISMATCH, and those of answerOnce
 */
export const rejectRefund = (
  database: Pick<Database, 'sql'>,
  attempt: Attempt,
  target: RefundTarget & { reason: string },
  deadline: number,
): Answered =>
  answerOnce(
    database,
    { ...attempt, by: { ...attempt.by, reason: target.reason } },
    ANSWER,
    async (tx) => {
      await lockRefund(tx, 'reject', attempt.actor, target)
      await tx.query(sql.type(NOTHING)`update refund set status = 'rejected' where refund_id = ${target.refundId}`)
      return answerOf(tx, target.refundId)
    },
    deadline,
  )

export type RefundAddress = {
  orderId: string
  refundId: string
  scope: OrderScope
  isConfirmation: boolean
  /** Who bears the fee of a refund that does not say. */
  feeBearer: FeeBearer
  /** Signs the address once it is confirmed. */
  seal: (statement: DestinationStatement) => string
  /** Canonical form of what the caller gave, by the refund's own asset and network. Throws for what is no address. */
  parse: (asset: Asset, network: string) => string
}

/** Why an address is not taken, in words that a caller may read. */
export type AddressProblem =
  'is an address of the shop' | 'looks like another address' | 'is not the one that was given'

/**
 * Stores the address that a refund goes to, or confirms the one that is stored.
 * @param refuse makes the error of an address that is not taken
 * @param unreachable makes the error of an order that is not in scope
 * @throws {DomainError} NOT_FOUND, REFUND_STATUS, and those of answerOnce
 */
export const setRefundAddress = (
  database: Pick<Database, 'sql'>,
  attempt: Attempt,
  given: RefundAddress,
  errors: { refuse: (problem: AddressProblem) => DomainError; unreachable: () => DomainError },
  deadline: number,
): Answered =>
  answerOnce(
    database,
    attempt,
    ANSWER,
    async (tx) => {
      const { orderId, refundId, scope } = given
      const found = await tx.any(sql.type(NOTHING)`
        select from orders o where o.order_id = ${orderId} and ${inOrderScope(scope)} for no key update`)
      if (found.length === 0) throw errors.unreachable()
      const refund = await lockRefund(tx, 'set address', attempt.actor, { orderId, refundId, version: undefined })
      const address = given.parse(refund.asset, refund.network)
      const problem = await findProblem(tx, given, refund, address)
      if (problem !== undefined) throw errors.refuse(problem)
      // Confirmed before: another version would end the approvals.
      if (given.isConfirmation && refund.status === 'awaiting_approval') return answerOf(tx, refundId)
      const { network, asset } = refund
      if (given.isConfirmation)
        await tx.query(sql.type(NOTHING)`
          update refund set destination_confirmed_at = clock_timestamp(), status = 'awaiting_approval',
            destination_seal = ${given.seal({ refundId, orderId, network, asset, destination: address })},
            fee_bearer = coalesce(fee_bearer, ${given.feeBearer})
          where refund_id = ${refundId}`)
      else
        await tx.query(sql.type(NOTHING)`
          update refund set destination = ${address}, destination_confirmed_at = null, destination_seal = null,
            status = 'awaiting_destination'
          where refund_id = ${refundId}`)
      return answerOf(tx, refundId)
    },
    deadline,
  )

/** Addresses that a customer has met here: the newest of the own orders and refunds. */
const MAX_COMPARED = 100

async function findProblem(
  tx: DatabaseTransactionConnection,
  { isConfirmation, orderId, refundId }: RefundAddress,
  { network, asset, destination }: Standing,
  address: string,
): Promise<AddressProblem | undefined> {
  if (isConfirmation && destination !== address) return 'is not the one that was given'
  const ours = await tx.any(sql.type(NOTHING)`
    select from invoice where network = ${network} and address = ${address}
    union all select from address_pool where network = ${network} and address = ${address}`)
  if (ours.length > 0) return 'is an address of the shop'
  const met = await tx.anyFirst(sql.type(z.object({ address: z.string() }))`
    (select i.address from invoice i join orders o on o.order_id = i.order_id
     where o.user_id = (select x.user_id from orders x where x.order_id = ${orderId}) and i.asset = ${asset}
     order by o.created_at desc limit ${MAX_COMPARED})
    union all
    (select r.destination from refund r join orders o on o.order_id = r.order_id
     where o.user_id = (select x.user_id from orders x where x.order_id = ${orderId}) and r.asset = ${asset}
       and r.refund_id <> ${refundId} and r.destination_confirmed_at is not null
     order by r.created_at desc limit ${MAX_COMPARED})`)
  return met.some((other) => isLookAlike(address, other)) ? 'looks like another address' : undefined
}
