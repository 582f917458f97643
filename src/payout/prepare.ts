// Preparing payouts: approved refunds get their nonce and transaction, while the account has the money for all that is
// under way. One that must wait is noted with its reason, and hides no other.

import { RpcRefusal } from '../chain/rpc.ts'
import { findEarlierPayouts, preparePayout, type PayoutAttempt, type PayoutSender } from '../db/payout.ts'
import {
  countPostponed,
  findPayableRefunds,
  forgetPostponed,
  postponePayout,
  type PayableRefund,
} from '../db/payout_queue.ts'
import { gasPriceOf, MAX_TRANSFER_GAS } from '../domain/payout.ts'
import { findPayoutRefusal } from './check.ts'
import { findOpen, MAX_OPEN, PAYER, settledHeightOf, type ChainHead, type PayoutDeps } from './deps.ts'

/** Refunds looked at in a turn. */
const MAX_WAITING = 200

export const accountOf = (
  { network, chainId, signer }: PayoutDeps,
  { chainNonce }: ChainHead,
): PayoutSender & { chainNonce: number } => ({ network, chainId, sender: signer.sender, chainNonce })

export async function prepareAll(deps: PayoutDeps, head: ChainHead): Promise<void> {
  const { database, network, node, signer } = deps
  const open = await findOpen(deps)
  const waiting = await findPayableRefunds(database, network, MAX_WAITING)
  if (waiting.length > 0) {
    let room = MAX_OPEN - open.length
    let free = (await node.getBalance(signer.sender)) - open.reduce((sum, { attempts }) => sum + costOf(attempts), 0n)
    for (const refund of waiting) {
      if (room === 0) break
      const result = await prepareOrSay(deps, head, refund, free)
      if (typeof result === 'bigint') {
        free -= result
        room -= 1
        await forgetPostponed(database, refund.refundId)
      } else await postpone(deps, refund.refundId, result)
    }
  }
  deps.metrics.waiting.reset()
  for (const each of await countPostponed(database, network))
    deps.metrics.waiting.set({ reason: each.reason }, each.waiting)
}

async function postpone({ database, retry, logger }: PayoutDeps, refundId: string, reason: string): Promise<void> {
  if (await postponePayout(database, refundId, reason, retry))
    logger.warn({ refundId, reason }, 'a refund waits for its payout')
}

/** The most that the newest transaction can take from the account. */
const costOf = (attempts: readonly PayoutAttempt[]): bigint => {
  const last = attempts.at(-1)?.transaction
  return last === undefined ? 0n : last.value + last.gasLimit * last.maxFee
}

/** A node that refuses a question about one refund holds up no other one. A node that is away stops the turn. */
async function prepareOrSay(...given: Parameters<typeof prepare>): Promise<bigint | string> {
  try {
    return await prepare(...given)
  } catch (error) {
    if (error instanceof RpcRefusal) return 'node_refuses'
    throw error
  }
}

/** @returns what it takes from the account at most, or why it waits */
async function prepare(
  deps: PayoutDeps,
  head: ChainHead,
  refund: PayableRefund,
  free: bigint,
): Promise<bigint | string> {
  const { database, node, signer } = deps
  const price = gasPriceOf(head.baseFee, head.tip, refund.feeBearer)
  if (price.maxFee > deps.maxFee) return 'fee_too_high'
  const earlier = refund.isAgain ? await earlierOutcome(deps, head, refund.refundId) : 'nothing'
  if (earlier !== 'nothing') return earlier
  // Before the estimate, which a node refuses for an account without the money.
  if (free < refund.amount + MAX_TRANSFER_GAS * price.maxFee) return 'insufficient_funds'
  const refusal = await findPayoutRefusal(deps, head, refund, false)
  if (refusal !== undefined) return refusal
  const gasLimit = await node.estimateGas({ from: signer.sender, to: refund.destination, value: refund.amount })
  if (gasLimit === undefined || gasLimit > MAX_TRANSFER_GAS) return 'destination_refuses'
  const terms = { ...price, gasLimit, actor: PAYER }
  const outcome = await preparePayout(database, refund.refundId, accountOf(deps, head), terms)
  if (outcome === 'prepared') deps.metrics.prepared.inc()
  return outcome === 'prepared' || outcome === 'repeated' ? refund.amount + gasLimit * price.maxFee : outcome
}

/**
 * What the failed payouts of a refund may still do or have done, by the chain: a row says that they failed, and an
 * operator released them, but neither is a proof.
 */
async function earlierOutcome(deps: PayoutDeps, head: ChainHead, refundId: string) {
  for (const { sender, nonce, txIds } of await findEarlierPayouts(deps.database, refundId)) {
    const settled = settledHeightOf(deps, head)
    if (settled < 0 || (await deps.node.countTransactions(sender, settled)) <= nonce) return 'may_be_paid'
    for (const txId of txIds) if ((await deps.node.findInclusion(txId))?.isReverted === false) return 'paid_before'
  }
  return 'nothing'
}
