// What the payer works with, and what it knows of the chain in a turn.

import type { Database } from '../db/connection/pool.ts'
import { findOpenPayouts, type OpenPayout } from '../db/payout.ts'
import type { Retry } from '../db/payout_queue.ts'
import { systemActor } from '../domain/audit.ts'
import type { RefundSealCheck } from '../keyvault/refund_seal.ts'
import type { Logger } from '../telemetry.ts'
import type { PayoutMetrics } from './metrics.ts'
import type { PayoutNode } from './node.ts'
import type { Signer } from './signer.ts'

export const PAYER = systemActor('payer')

/** Payouts under way at a time: nodes keep few waiting transactions of one account. */
export const MAX_OPEN = 50

export type PayoutDeps = {
  database: Pick<Database, 'run'>
  node: PayoutNode
  signer: Signer
  network: string
  chainId: number
  /** Blocks from which on a payout is final, its own included. */
  confirmations: number
  /** A transaction that no block has after this gets a higher fee. */
  stuckAfterMs: number
  /** Above this fee per gas nothing is prepared or raised. */
  maxFee: bigint
  /** The most that one refund, and the payouts of a day, may send: what a thief gets at most. */
  limits: { refund: bigint; day: bigint }
  /** When a refund that got no payout is looked at again. */
  retry: Retry
  /** What the api signed: a database credential alone makes none. */
  seals: RefundSealCheck
  /** By payout, the terms whose money and approvals this process has checked, and at which height it did so last. */
  checked: Map<string, { terms: string; height: number }>
  holder: string
  metrics: PayoutMetrics
  logger: Logger
}

export type ChainHead = { height: number; baseFee: bigint; tip: bigint; chainNonce: number }

/** The highest block whose transactions are final. */
export const settledHeightOf = ({ confirmations }: PayoutDeps, { height }: Pick<ChainHead, 'height'>): number =>
  height - confirmations + 1

export const findOpen = ({ database, network, signer }: PayoutDeps): Promise<OpenPayout[]> =>
  findOpenPayouts(database, { network, sender: signer.sender }, MAX_OPEN)
