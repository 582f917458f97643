// Codecs between the domain's words and proto enum numbers. A word without a number, or a number without a word, does
// not compile.

import { REPORT_JUDGEMENTS } from '../domain/dossier.ts'
import { CANCEL_REASONS, HOLDS, ORDER_STATUSES } from '../domain/order.ts'
import { PAYMENT_FLAGS, PAYMENT_STATES, TRANSFER_STATES } from '../domain/payment.ts'
import { FEE_BEARERS, RATE_BASES, REFUND_KINDS, REFUND_STATUSES } from '../domain/refund.ts'
import * as common from './gen/holdfast/v1/common.ts'
import { TransferState } from './gen/holdfast/v1/payment.ts'
import { ReportJudgement } from './gen/holdfast/v1/payment_admin.ts'
import { FeeBearer, RateBasis, RefundKind, RefundStatus } from './gen/holdfast/v1/refund.ts'

export type Codec<Word extends string, Code extends number> = {
  codeOf: (word: Word) => Code
  /** Undefined for the unspecified value and for numbers of a newer proto version. */
  wordOf: (code: number) => Word | undefined
  /** The values' names in the proto, for texts about them. */
  names: readonly string[]
}

type Key<Prefix extends string, Word extends string> = `${Prefix}_${Uppercase<Word>}`

function codec<Prefix extends string, Word extends string, Numbers extends Readonly<Record<Key<Prefix, Word>, number>>>(
  prefix: Prefix,
  words: readonly Word[],
  numbers: Numbers,
): Codec<Word, Numbers[Key<Prefix, Word>]> {
  const codeOf = (word: Word) => numbers[`${prefix}_${word.toUpperCase() as Uppercase<Word>}`]
  const wordsByCode = new Map<number, Word>(words.map((word) => [codeOf(word), word]))
  const names = words.map((word) => `${prefix}_${word.toUpperCase()}`)
  return { codeOf, wordOf: (code) => wordsByCode.get(code), names }
}

export const orderStatus = codec('ORDER_STATUS', ORDER_STATUSES, common.OrderStatus)
export const paymentState = codec('PAYMENT_STATE', PAYMENT_STATES, common.PaymentState)
export const paymentFlag = codec('PAYMENT_FLAG', PAYMENT_FLAGS, common.PaymentFlag)
export const orderHold = codec('ORDER_HOLD', HOLDS, common.OrderHold)
export const cancelReason = codec('CANCEL_REASON', CANCEL_REASONS, common.CancelReason)
export const transferState = codec('TRANSFER_STATE', TRANSFER_STATES, TransferState)
export const refundStatus = codec('REFUND_STATUS', REFUND_STATUSES, RefundStatus)
export const refundKind = codec('REFUND_KIND', REFUND_KINDS, RefundKind)
export const feeBearer = codec('FEE_BEARER', FEE_BEARERS, FeeBearer)
export const rateBasis = codec('RATE_BASIS', RATE_BASES, RateBasis)
export const reportJudgement = codec('REPORT_JUDGEMENT', REPORT_JUDGEMENTS, ReportJudgement)
