// The schemas of requests about the money of orders: a part of SCHEMAS.

import { z } from 'zod'
import { PAYMENT_FLAGS } from '../domain/payment.ts'
import { paymentFlag, paymentState, transferState } from './enum.ts'
import { asset, instant, listOf, page, uuid, word, wordOrAny } from './field.ts'

/** Ethereum writes with and without a checksum in the letter case. All is stored without it. */
const lowered = (text: string): string => (/^0x[0-9a-fA-F]+$/.test(text) ? text.toLowerCase() : text)

const address = z
  .string()
  .regex(/^[A-Za-z0-9]{1,128}$/, 'must be an address: 1 to 128 letters and digits')
  .transform(lowered)
const HEX_64 = /^[0-9a-fA-F]{64}$/
const txId = z
  .string()
  .regex(/^[A-Za-z0-9]{64,88}$/, 'must be a transaction id: 64 to 88 letters and digits')
  .transform((text) => (HEX_64.test(text) ? text.toLowerCase() : lowered(text)))

const filter = z.strictObject({
  orderId: uuid.optional(),
  address: address.optional(),
  txId: txId.optional(),
  state: wordOrAny(transferState),
  paymentState: wordOrAny(paymentState),
  flags: listOf(word(paymentFlag), PAYMENT_FLAGS.length, { min: 0 }),
  asset: asset.optional(),
  firstSeenFrom: instant.optional(),
  firstSeenBefore: instant.optional(),
})

export const PAYMENT_ADMIN_SCHEMAS = {
  '/holdfast.v1.PaymentAdminService/ListPayments': z.strictObject({
    filter: filter.optional(),
    oldestFirst: z.boolean(),
    limit: page.limit,
    cursor: page.cursor,
  }),
  '/holdfast.v1.PaymentAdminService/GetPaymentDossier': z.strictObject({
    orderId: uuid,
    includeDestinations: z.boolean(),
  }),
} as const
