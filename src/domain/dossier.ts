// What support sees of an order's money: what became of each report, and how much of an address is shown.

import type { TransferState } from './payment.ts'

export const REPORT_JUDGEMENTS = [
  'waiting',
  'counts',
  'superseded',
  'outweighed',
  'retired_source',
  'wrong_asset',
  'too_early',
  'of_another_order',
] as const
export type ReportJudgement = (typeof REPORT_JUDGEMENTS)[number]

/** A report, and what the shop has of its output now. */
export type JudgedReport = {
  isAssessed: boolean
  /** Its source has reported the output again since. */
  isSuperseded: boolean
  isSourceRetired: boolean
  isRightAsset: boolean
  /** Its source saw the money before the order was made, less the chain's clock tolerance. */
  isEarly: boolean
  state: TransferState
  amount: bigint
  /** What the output was credited as; undefined: to no order. */
  credit: { isOfThisOrder: boolean; state: TransferState; amount: bigint } | undefined
}

/** What became of a report: the first rule that holds. */
export function judgementOf(report: JudgedReport): ReportJudgement {
  const { credit } = report
  if (!report.isAssessed) return 'waiting'
  if (credit !== undefined && !credit.isOfThisOrder) return 'of_another_order'
  if (report.isSuperseded) return 'superseded'
  if (!report.isRightAsset) return 'wrong_asset'
  if (credit === undefined && report.isEarly) return 'too_early'
  if (credit?.state === report.state && credit.amount === report.amount) return 'counts'
  return report.isSourceRetired ? 'retired_source' : 'outweighed'
}

const SHOWN_BEFORE = 6
const SHOWN_AFTER = 4

/** The ends of an address: enough to compare it with one that is known, and too little to look its owner up. */
export const maskedAddressOf = (address: string): string =>
  address.length <= SHOWN_BEFORE + SHOWN_AFTER
    ? '…'
    : `${address.slice(0, SHOWN_BEFORE)}…${address.slice(-SHOWN_AFTER)}`
