// RefundService and RefundAdminService: the refunds of orders, where they go, and who approves them.

import type { Database } from '../db/connection/pool.ts'
import { listRefundQueue, listRefunds, type RefundView } from '../db/refund.ts'
import {
  approveRefund,
  rejectRefund,
  requestRefund,
  setRefundAddress,
  type AddressProblem,
  type RefundAnswer,
} from '../db/refund_decision.ts'
import { maskedAddressOf } from '../domain/dossier.ts'
import type { Asset } from '../domain/payment.ts'
import type { Rate, RateOutage } from '../domain/rate.ts'
import type { FeeBearer } from '../domain/refund.ts'
import { formatAddress } from '../keyvault/address.ts'
import type { CursorSeal } from '../keyvault/cursor.ts'
import { parseDestination } from '../keyvault/destination.ts'
import type { RefundSealer } from '../keyvault/refund_seal.ts'
import { attemptOf } from './command.ts'
import { feeBearer, rateBasis, refundKind, refundStatus } from './enum.ts'
import { UUID_PATTERN } from '../domain/identifier.ts'
import { RateBasis, type Refund, type RefundServiceService } from './gen/holdfast/v1/refund.ts'
import type { RefundAdminServiceService } from './gen/holdfast/v1/refund_admin.ts'
import type { Handlers } from './handle.ts'
import { cutPage, pageOf } from './page.ts'
import { orderScopeOf, orderUnreachable, reachesAllOrders } from './permission.ts'
import { isOwner } from './personal_data.ts'
import { assertSteppedUp } from './step_up.ts'
import { fieldInvalid } from './validate.ts'

export type RefundDeps = {
  database: Database
  cursors: CursorSeal
  /** Signs what customers confirm and approvers approve, for the payer. */
  refundSealer: RefundSealer
  shop: {
    rateOf: (asset: Asset) => Rate | RateOutage
    /** Who bears the network's fee of a refund that does not say. */
    refundFeeBearer: FeeBearer
  }
}

/** Undefined where there is no rate now. */
const rateMinorOf = (rate: Rate | RateOutage): bigint | undefined => ('rateMinor' in rate ? rate.rateMinor : undefined)

export const createRefundHandlers = ({
  database,
  shop,
  refundSealer,
}: RefundDeps): Handlers<typeof RefundServiceService> => ({
  listRefunds: async ({ orderId }, call) => {
    const found = await listRefunds(database, orderId, orderScopeOf(call))
    if (found === undefined) throw orderUnreachable(call)
    const isOfShop = reachesAllOrders(call)
    const showing = { feeBearer: shop.refundFeeBearer, isOfShop, isWhole: isOwner(found, call) }
    return { refunds: found.refunds.map((refund) => refundMessage(refund, showing)) }
  },

  setRefundAddress: async ({ idempotencyKey, orderId, refundId, address, confirm }, call) => {
    assertSteppedUp(call.principal)
    const { answer, isReplay } = await setRefundAddress(
      database,
      attemptOf(idempotencyKey, call, 'customer'),
      {
        ...{ orderId, refundId, scope: orderScopeOf(call), isConfirmation: confirm, feeBearer: shop.refundFeeBearer },
        seal: refundSealer.sealDestination,
        parse: (asset, network) => canonicalOf(asset, network, address),
      },
      { refuse: addressRefused, unreachable: () => orderUnreachable(call) },
      call.deadline,
    )
    call.record.isReplay = isReplay
    return {
      ...decisionMessage(answer),
      destination: formatAddress(answer.asset, answer.destination ?? ''),
      feeBearer: feeBearer.codeOf(answer.feeBearer ?? shop.refundFeeBearer),
    }
  },
})

export const createRefundAdminHandlers = ({
  database,
  cursors,
  shop,
  refundSealer,
}: RefundDeps): Handlers<typeof RefundAdminServiceService> => ({
  requestRefund: async ({ idempotencyKey, orderId, amount, feeBearer: bearer, reason }, call) => {
    const { answer, isReplay } = await requestRefund(
      database,
      attemptOf(idempotencyKey, call, 'admin'),
      {
        orderId,
        wish: amount,
        feeBearer: bearer ?? shop.refundFeeBearer,
        reason,
        rateOf: (asset) => rateMinorOf(shop.rateOf(asset)),
      },
      call.deadline,
    )
    call.record.isReplay = isReplay
    return { ...decisionMessage(answer), units: answer.units }
  },

  approveRefund: async ({ idempotencyKey, orderId, refundId, version }, call) => {
    assertSteppedUp(call.principal)
    const attempt = attemptOf(idempotencyKey, call, 'admin')
    const target = { orderId, refundId, version, seal: refundSealer.sealApproval }
    const { answer, isReplay } = await approveRefund(database, attempt, target, call.deadline)
    call.record.isReplay = isReplay
    return { ...decisionMessage(answer), approvals: answer.approvals }
  },

  rejectRefund: async ({ idempotencyKey, orderId, refundId, version, reason }, call) => {
    const attempt = attemptOf(idempotencyKey, call, 'admin')
    const target = { orderId, refundId, version, reason }
    const { answer, isReplay } = await rejectRefund(database, attempt, target, call.deadline)
    call.record.isReplay = isReplay
    return decisionMessage(answer)
  },

  listRefundQueue: async ({ status, limit, cursor }, call) => {
    const listing = { cursors, call, filter: { status }, idPattern: UUID_PATTERN }
    const rows = await listRefundQueue(database, status, pageOf(listing, { limit, cursor }))
    const { page, nextCursor } = cutPage(listing, rows, { limit, idOf: ({ refundId }) => refundId })
    const showing = { feeBearer: shop.refundFeeBearer, isOfShop: true, isWhole: false }
    return { refunds: page.map((refund) => refundMessage(refund, showing)), nextCursor }
  },
})

function canonicalOf(asset: Asset, network: string, text: string): string {
  const parsed = parseDestination(asset, network, text)
  if (parsed.ok) return parsed.address
  throw fieldInvalid([{ field: 'address', description: parsed.problem }])
}

const ADDRESS_PROBLEMS: Readonly<Record<AddressProblem, string>> = {
  'is an address of the shop': 'must be your own address: this one is the shop’s',
  'looks like another address': 'looks like another address that you use here, but is not the same: copy it again',
  'is not the one that was given': 'must be the address that was given before',
}
const addressRefused = (problem: AddressProblem) =>
  fieldInvalid([{ field: 'address', description: ADDRESS_PROBLEMS[problem] }])

const decisionMessage = ({ refundId, status, version }: RefundAnswer) => ({
  refundId,
  status: refundStatus.codeOf(status),
  version: BigInt(version),
})

/** How a refund is shown. */
export type RefundShowing = {
  /** Who bears the fee of one that does not say. */
  feeBearer: FeeBearer
  /** Whether the reader may see who in the shop did what, and why. */
  isOfShop: boolean
  /** Whether the reader may see the whole address; without, its ends. */
  isWhole: boolean
}

export function refundMessage(refund: RefundView, showing: RefundShowing): Refund {
  const { isOfShop } = showing
  const { refundId, orderId, network, asset, approvals, version, createdAt, updatedAt } = refund
  return {
    ...{ refundId, orderId, network, approvals, version, createdAt, updatedAt },
    status: refundStatus.codeOf(refund.status),
    kind: refundKind.codeOf(refund.kind),
    amount: { asset, units: refund.amount },
    token: refund.token ?? undefined,
    feeBearer: feeBearer.codeOf(refund.feeBearer ?? showing.feeBearer),
    fiatAmount: refund.fiatAmount ?? undefined,
    rateBasis: refund.rateBasis === null ? RateBasis.RATE_BASIS_UNSPECIFIED : rateBasis.codeOf(refund.rateBasis),
    rate: refund.rate ?? undefined,
    destination: destinationOf(refund, showing),
    isDestinationConfirmed: refund.isConfirmed,
    txId: refund.txId ?? '',
    networkFee: refund.networkFee ?? undefined,
    requestedBy: isOfShop ? refund.requestedBy : '',
    reason: isOfShop ? (refund.reason ?? '') : '',
  }
}

function destinationOf({ asset, destination }: RefundView, { isWhole }: RefundShowing): string {
  if (destination === null) return ''
  const whole = formatAddress(asset, destination)
  return isWhole ? whole : maskedAddressOf(whole)
}
