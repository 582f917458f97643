// The schemas of requests about refunds: a part of SCHEMAS.

import { z } from 'zod'
import { feeBearer, rateBasis, refundStatus } from './enum.ts'
import { fiat, MAX_INT64, page, units, uuid, whole64, word, wordOrAny } from './field.ts'
import { text } from './text.ts'

const MAX_REASON_CHARACTERS = 200
/** ASCII without spaces: what it must be in detail depends on the refund's asset (keyvault/destination.ts). */
const ADDRESS_SHAPE = /^[!-~]{1,128}$/

const version = whole64(1n, MAX_INT64)
const reason = text(MAX_REASON_CHARACTERS)
const price = fiat.refine((minor) => minor > 0n, 'must be above zero')

/** An amount of fiat at a rate, which is stated or known. */
const fiatRefund = z
  .strictObject({ amount: price, basis: word(rateBasis), rate: price.optional() })
  .transform(({ amount: minor, basis, rate }, context) => {
    if (basis === 'stated' && rate !== undefined) return { kind: 'fiat' as const, minor, basis, rateMinor: rate }
    if (basis !== 'stated' && rate === undefined) return { kind: 'fiat' as const, minor, basis }
    context.addIssue({ code: 'custom', message: 'must be given with RATE_BASIS_STATED, and only then', path: ['rate'] })
    return z.NEVER
  })

const wish = z
  .discriminatedUnion(
    '$case',
    [
      z.strictObject({ $case: z.literal('everything'), value: z.literal(true, 'must be true') }),
      z.strictObject({ $case: z.literal('units'), value: units }),
      z.strictObject({ $case: z.literal('fiat'), value: fiatRefund }),
    ],
    { error: 'must be given: everything, units or fiat' },
  )
  .transform((one) => {
    if (one.$case === 'everything') return { kind: 'everything' as const }
    return one.$case === 'units' ? { kind: 'coin' as const, units: one.value } : one.value
  })

export const REFUND_SCHEMAS = {
  '/holdfast.v1.RefundService/ListRefunds': z.strictObject({ orderId: uuid }),
  '/holdfast.v1.RefundService/SetRefundAddress': z.strictObject({
    idempotencyKey: uuid,
    orderId: uuid,
    refundId: uuid,
    address: z.string().regex(ADDRESS_SHAPE, 'must be an address: 1 to 128 characters without spaces'),
    confirm: z.boolean(),
  }),
  '/holdfast.v1.RefundAdminService/RequestRefund': z.strictObject({
    idempotencyKey: uuid,
    orderId: uuid,
    amount: wish,
    feeBearer: wordOrAny(feeBearer),
    reason,
  }),
  '/holdfast.v1.RefundAdminService/ApproveRefund': z.strictObject({
    idempotencyKey: uuid,
    orderId: uuid,
    refundId: uuid,
    version,
  }),
  '/holdfast.v1.RefundAdminService/RejectRefund': z.strictObject({
    idempotencyKey: uuid,
    orderId: uuid,
    refundId: uuid,
    version: version.optional(),
    reason,
  }),
  '/holdfast.v1.RefundAdminService/ListRefundQueue': z.strictObject({
    status: wordOrAny(refundStatus),
    limit: page.limit,
    cursor: page.cursor,
  }),
} as const
