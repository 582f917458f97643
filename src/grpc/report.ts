// Payment reports as bytes: what watchers sign and the front reads. One place, so that both name a fact the same way.

import { createHash } from 'node:crypto'
import type { Asset, TransferState } from '../domain/payment.ts'
import { PaymentReport } from './gen/holdfast/v1/payment.ts'
import { transferState } from './enum.ts'

/** A report larger than this is refused before its signature is looked at (requirements C-14). */
export const MAX_REPORT_BYTES = 1_024
export const MAX_OBSERVATIONS = 16

/** One state of one output, in the chain's canonical form. */
export type ObservedTransfer = {
  asset: Asset
  txId: string
  outputIndex: number
  /** Counted per output from 1; the highest is the present view. */
  seq: number
  state: TransferState
  address: string
  amount: bigint
  /** Absent: in no block. */
  block?: { height: number; hash: string }
  /** The including block counts as 1; 0: in no block. */
  depth?: number
  firstSeenAt: Date
}

type Fact = Pick<ObservedTransfer, 'txId' | 'outputIndex' | 'state' | 'seq'> & {
  blockHash?: string | undefined
}

/** The name of a fact: hex SHA-256, whatever request carries it. */
export const reportIdOf = (network: string, fact: Fact): string =>
  createHash('sha256')
    .update([network, fact.txId, fact.outputIndex, fact.state, fact.blockHash ?? '', fact.seq].join('\n'))
    .digest('hex')

/**
 * Serialises as many of the first transfers as fit one report.
 * @returns the bytes to sign and how many transfers they hold; at least one
 */
export function packReport(
  source: string,
  network: string,
  transfers: readonly ObservedTransfer[],
): { report: Buffer; count: number } {
  for (let count = Math.min(transfers.length, MAX_OBSERVATIONS); count > 0; count -= 1) {
    const report = encodeReport(source, network, transfers.slice(0, count))
    if (report.length <= MAX_REPORT_BYTES) return { report, count }
  }
  throw new RangeError('no transfer, or one that does not fit a report')
}

const encodeReport = (source: string, network: string, transfers: readonly ObservedTransfer[]): Buffer =>
  Buffer.from(
    PaymentReport.encode({
      source,
      network,
      observations: transfers.map(({ block, depth, amount, ...fact }) => ({
        ...fact,
        reportId: reportIdOf(network, { ...fact, blockHash: block?.hash }),
        state: transferState.codeOf(fact.state),
        units: amount.toString(),
        blockHeight: block === undefined ? undefined : BigInt(block.height),
        blockHash: block?.hash,
        depth: depth ?? 0,
      })),
    }).finish(),
  )
