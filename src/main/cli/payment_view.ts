// Converts transfers and payment dossiers to plain values with the domain's words, for `--json` and for tables. Money and
// times are strings.

import type { GetPaymentDossierResponse, Transfer } from '../../grpc/client.ts'
import { paymentFlag, paymentState, reportJudgement, transferState } from '../../grpc/client.ts'
import { refundView, stateView } from './view.ts'

/** Shown for an enum value of a newer API. */
const NEWER = 'unknown'
const isoOf = (time: Date | undefined): string | null => time?.toISOString() ?? null
const flagsOf = (flags: Transfer['paymentFlags']): string[] => flags.map((flag) => paymentFlag.wordOf(flag) ?? NEWER)
const countOf = (count: bigint): number => Number(count)
const heightOf = (height: bigint | undefined): number | null => (height === undefined ? null : Number(height))

export const transferView = (transfer: Transfer) => ({
  firstSeenAt: isoOf(transfer.firstSeenAt),
  orderId: transfer.orderId,
  network: transfer.network,
  txId: transfer.txId,
  outputIndex: transfer.outputIndex,
  asset: transfer.amount?.asset ?? '',
  units: transfer.amount?.units ?? '',
  state: transferState.wordOf(transfer.state) ?? NEWER,
  isInTime: transfer.isInTime,
  blockHeight: heightOf(transfer.blockHeight),
  confirmations: transfer.confirmations ?? null,
  paymentState: paymentState.wordOf(transfer.paymentState) ?? NEWER,
  flags: flagsOf(transfer.paymentFlags).join(' '),
})

const reportView = (report: GetPaymentDossierResponse['reports'][number]) => ({
  receivedAt: isoOf(report.receivedAt),
  source: report.source,
  txId: report.txId,
  outputIndex: report.outputIndex,
  seq: report.seq,
  state: transferState.wordOf(report.state) ?? NEWER,
  asset: report.amount?.asset ?? '',
  units: report.amount?.units ?? '',
  blockHeight: heightOf(report.blockHeight),
  firstSeenAt: isoOf(report.firstSeenAt),
  judgement: reportJudgement.wordOf(report.judgement) ?? NEWER,
  creditedOrderId: report.creditedOrderId ?? null,
})

const refundRecordView = ({ refund, approvals, payouts }: GetPaymentDossierResponse['refunds'][number]) => ({
  ...(refund !== undefined && refundView(refund)),
  approvedBy: approvals.map(({ approver, version, approvedAt }) => ({
    ...{ approver, version: Number(version), approvedAt: isoOf(approvedAt) },
  })),
  payouts: payouts.map((payout) => ({
    payoutId: payout.payoutId,
    status: payout.status,
    failure: payout.failure ?? null,
    nonce: Number(payout.nonce),
    blockHeight: heightOf(payout.blockHeight),
    updatedAt: isoOf(payout.updatedAt),
    txIds: payout.txIds,
  })),
})

const quoteView = (quote: NonNullable<GetPaymentDossierResponse['quote']>) => ({
  network: quote.network,
  address: quote.address,
  asset: quote.amount?.asset ?? '',
  units: quote.amount?.units ?? '',
  minimumUnits: quote.minimumUnits,
  total: `${quote.total} ${quote.currency}`,
  rate: quote.rate,
  rateMadeAt: isoOf(quote.rateMadeAt),
  prices: quote.prices.map(({ source, price, readAt }) => ({ source, price, readAt: isoOf(readAt) })),
  quotedAt: isoOf(quote.quotedAt),
  expiresAt: isoOf(quote.expiresAt),
  endsAt: isoOf(quote.endsAt),
})

export type DossierOutput = ReturnType<typeof dossierView>

export const dossierView = (dossier: GetPaymentDossierResponse) => ({
  explanation: dossier.explanation,
  readAt: isoOf(dossier.readAt),
  order: dossier.state === undefined ? null : stateView(dossier.state),
  userId: String(dossier.userId),
  flags: flagsOf(dossier.paymentFlags),
  quote: dossier.quote === undefined ? null : quoteView(dossier.quote),
  money: dossier.money ?? null,
  transfers: dossier.transfers.map(transferView),
  transferCount: countOf(dossier.transferCount),
  reports: dossier.reports.map(reportView),
  reportCount: countOf(dossier.reportCount),
  doubts: dossier.doubts.map(({ since, ...doubt }) => ({ ...doubt, since: isoOf(since) })),
  refunds: dossier.refunds.map(refundRecordView),
  refundCount: countOf(dossier.refundCount),
  ledger: dossier.ledger.map((row) => ({ ...row, token: row.token ?? null, postings: Number(row.postings) })),
  lateDecision:
    dossier.lateDecision === undefined
      ? null
      : { ...dossier.lateDecision, decidedAt: isoOf(dossier.lateDecision.decidedAt) },
  replacesOrderId: dossier.replacesOrderId ?? null,
  suspensions: dossier.suspensions.map(({ cause, since }) => ({ cause, since: isoOf(since) })),
  suspendedSince: isoOf(dossier.suspendedSince),
  ignoredTransfers: dossier.ignoredTransfers.map(({ blockHeight, firstSeenAt, ...each }) => ({
    ...{ ...each, token: each.token ?? null, blockHeight: Number(blockHeight), firstSeenAt: isoOf(firstSeenAt) },
  })),
  ignoredTransferCount: countOf(dossier.ignoredTransferCount),
  auditEntries: dossier.auditEntries.map(({ seq, entryId, at, actor }) => ({
    ...{ seq: Number(seq), entryId: Number(entryId), at: isoOf(at), actor },
  })),
})
