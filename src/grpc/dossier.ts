// Converts transfers and payment dossiers to proto messages.

import type { PaymentDossier, RefundRecord } from '../db/payment_dossier.ts'
import type { TransferView } from '../db/payment_list.ts'
import { judgementOf, type ReportJudgement } from '../domain/dossier.ts'
import { explainOrderMoney, type OrderFacts } from '../domain/explanation.ts'
import { minimumOf } from '../domain/payment.ts'
import { formatAddress } from '../keyvault/address.ts'
import { stateMessage } from './convert.ts'
import { paymentFlag, paymentState, reportJudgement, transferState } from './enum.ts'
import type {
  DossierRefund,
  DossierReport,
  GetPaymentDossierResponse,
  LateDecision,
  Transfer,
} from './gen/holdfast/v1/payment_admin.ts'
import { refundMessage, type RefundShowing } from './refund.ts'

export const transferMessage = (transfer: TransferView): Transfer => ({
  network: transfer.network,
  txId: transfer.txId,
  outputIndex: transfer.outputIndex,
  orderId: transfer.orderId,
  address: formatAddress(transfer.asset, transfer.address),
  amount: { asset: transfer.asset, units: transfer.amount.toString() },
  state: transferState.codeOf(transfer.state),
  isInTime: transfer.isInTime,
  firstSeenAt: transfer.firstSeenAt,
  blockHeight: heightOf(transfer.blockHeight),
  blockHash: transfer.blockHash ?? undefined,
  confirmations: transfer.confirmations ?? undefined,
  updatedAt: transfer.updatedAt,
  paymentState: paymentState.codeOf(transfer.paymentState),
  paymentFlags: transfer.paymentFlags.map(paymentFlag.codeOf),
})

const heightOf = (height: number | null): bigint | undefined => (height === null ? undefined : BigInt(height))

export function dossierMessage(
  orderId: string,
  dossier: PaymentDossier,
  showing: RefundShowing,
): GetPaymentDossierResponse {
  const { order, late } = dossier
  return {
    state: stateMessage({ orderId, ...order }),
    explanation: explainOrderMoney(factsOf(orderId, dossier)),
    readAt: dossier.readAt,
    userId: order.userId,
    createdAt: order.createdAt,
    paymentFlags: order.flags.map(paymentFlag.codeOf),
    quote: quoteMessage(dossier),
    money: moneyMessage(dossier),
    transfers: dossier.transfers.map(transferMessage),
    transferCount: dossier.transferCount,
    reports: dossier.reports.map((report) => reportMessage(orderId, report)),
    reportCount: dossier.reportCount,
    doubts: dossier.doubts.map(({ kind, ...doubt }) => ({ ...doubt, isContradiction: kind === 'differing' })),
    refunds: dossier.refunds.map((refund) => refundRecordMessage(refund, showing)),
    refundCount: dossier.refundCount,
    ledger: dossier.ledger.map((row) => ({ ...row, token: row.token ?? undefined })),
    lateDecision: late === null ? undefined : lateMessage(late),
    replacesOrderId: dossier.replacesOrderId ?? undefined,
    suspensions: dossier.suspensions,
    suspendedSince: dossier.suspendedSince ?? undefined,
    auditEntries: dossier.auditEntries,
    ignoredTransfers: dossier.ignored.map((each) => ({ ...each, token: each.token ?? undefined })),
    ignoredTransferCount: dossier.ignoredCount,
  }
}

function factsOf(orderId: string, dossier: PaymentDossier): OrderFacts {
  const { order, quote, transfers, reports, refunds } = dossier
  const open = transfers.filter(({ state }) => state === 'seen')
  const depths = open.flatMap(({ confirmations }) => confirmations ?? [])
  return {
    ...{ status: order.status, paymentState: order.paymentState, hold: order.hold, cancelReason: order.cancelReason },
    ...{ network: quote.network, asset: quote.asset, due: quote.due, endsAt: quote.endsAt, now: dossier.readAt },
    money: dossier.money,
    confirmations: depths.length > 0 && depths.length === open.length ? Math.min(...depths) : undefined,
    waitingReports: dossier.waitingCount,
    doubts: dossier.doubts,
    hasWrongAsset: order.flags.includes('wrong_asset'),
    hasEarly: reports.some((report) => judgedAs(orderId, report) === 'too_early'),
    ...{ late: dossier.late, replacesOrderId: dossier.replacesOrderId, suspensions: dossier.suspensions },
    isSuspended: dossier.suspendedSince !== null,
    refunds: refunds.map(({ status, asset, amount, approvals }) => ({
      ...{ status, asset, amount: BigInt(amount), approvals },
    })),
  }
}

type Report = PaymentDossier['reports'][number]

function judgedAs(orderId: string, report: Report): ReportJudgement {
  const { credit } = report
  return judgementOf({
    ...report,
    credit: credit === null ? undefined : { ...credit, isOfThisOrder: credit.orderId === orderId },
  })
}

function reportMessage(orderId: string, report: Report): DossierReport {
  const { source, network, txId, outputIndex, seq, firstSeenAt, receivedAt } = report
  const judgement = judgedAs(orderId, report)
  return {
    ...{ source, network, txId, outputIndex, seq, firstSeenAt, receivedAt },
    state: transferState.codeOf(report.state),
    amount: { asset: report.asset, units: report.amount.toString() },
    blockHeight: heightOf(report.blockHeight),
    blockHash: report.blockHash ?? undefined,
    judgement: reportJudgement.codeOf(judgement),
    creditedOrderId: judgement === 'of_another_order' ? report.credit?.orderId : undefined,
  }
}

const quoteMessage = ({ order, quote }: PaymentDossier): NonNullable<GetPaymentDossierResponse['quote']> => ({
  network: quote.network,
  address: formatAddress(quote.asset, quote.address),
  amount: { asset: quote.asset, units: quote.due.toString() },
  minimumUnits: minimumOf(quote.due).toString(),
  total: order.total,
  currency: order.currency,
  rate: quote.rate,
  rateMadeAt: quote.rateMadeAt ?? undefined,
  prices: quote.prices.map(({ source, price, read_at: readAt }) => ({ source, price, readAt })),
  quotedAt: quote.quotedAt,
  expiresAt: quote.expiresAt,
  endsAt: quote.endsAt,
  leasedAt: quote.leasedAt ?? undefined,
})

const moneyMessage = ({ money }: PaymentDossier): NonNullable<GetPaymentDossierResponse['money']> => ({
  final: money.final.toString(),
  seen: money.seen.toString(),
  lateFinal: money.lateFinal.toString(),
  lateSeen: money.lateSeen.toString(),
  accepted: money.accepted.toString(),
  owed: money.owed.toString(),
})

function refundRecordMessage(record: RefundRecord, showing: RefundShowing): DossierRefund {
  return {
    refund: refundMessage(record, showing),
    approvals: record.approvedBy.map(({ approver, version, at }) => ({ approver, version, approvedAt: at })),
    payouts: record.payouts.map(({ blockHeight, failure, ...payout }) => ({
      ...payout,
      failure: failure ?? undefined,
      blockHeight: heightOf(blockHeight),
    })),
  }
}

const lateMessage = (late: NonNullable<PaymentDossier['late']>): LateDecision => ({
  replacementOrderId: late.replacementId ?? undefined,
  refusal: late.refusal ?? undefined,
  rate: late.rate ?? undefined,
  dueNow: late.dueNow ?? undefined,
  decidedAt: late.decidedAt,
})
