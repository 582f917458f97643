// Whether a refund may be paid, by the payer's own knowledge: its own node, its own limits. The database says what to pay,
// and others write to it: a stolen credential of theirs must not be enough to send money.

import { findEvidence, sumOfDay, type PayoutEvidence } from '../db/payout_evidence.ts'
import { REFUND_APPROVALS } from '../domain/refund.ts'
import { settledHeightOf, type ChainHead, type PayoutDeps } from './deps.ts'

const TX_ID = /^0x[0-9a-f]{64}$/

/** Why a refund is not paid; they are the reasons of holdfast_payout_waiting. */
export type PayoutRefusal = 'not_sealed' | 'money_unproven' | 'above_limit' | 'above_day_limit' | 'changed'

/** What is to be paid, as a payout or a refund says. */
type Payable = { refundId: string; amount: bigint; destination: string }

/**
 * Checks a refund before it gets a payout, and the payout again before it is signed.
 * @param isCounted whether the payout is among those of the day
 */
export async function findPayoutRefusal(
  deps: PayoutDeps,
  head: ChainHead,
  { refundId, amount, destination }: Payable,
  isCounted: boolean,
): Promise<PayoutRefusal | undefined> {
  const { database, network, signer, limits } = deps
  if (amount > limits.refund) return 'above_limit'
  const ofDay = await sumOfDay(database, { network, sender: signer.sender })
  if (ofDay + (isCounted ? 0n : amount) > limits.day) return 'above_day_limit'
  const evidence = await findEvidence(database, refundId)
  if (evidence?.amount !== amount || evidence.destination !== destination || evidence.network !== network)
    return 'changed'
  if (!isSealed(deps, evidence, destination)) return 'not_sealed'
  return (await hasArrived(deps, head, evidence)) ? undefined : 'money_unproven'
}

/** Whether the customer confirmed the address and enough people approved one version of it, by the api's signatures. */
function isSealed({ seals }: PayoutDeps, evidence: PayoutEvidence, destination: string): boolean {
  const { refundId, orderId, network, asset, amount, feeBearer, destinationSeal, approvals } = evidence
  const confirmed = { refundId, orderId, network, asset, destination }
  if (feeBearer === null || !seals.isDestinationSealed(confirmed, destinationSeal)) return false
  const good = approvals.filter(({ version, approver, seal }) =>
    seals.isApprovalSealed({ ...confirmed, version, units: amount.toString(), feeBearer, approver }, seal),
  )
  const byVersion = Map.groupBy(good, ({ version }) => version).values()
  return [...byVersion].some((each) => new Set(each.map(({ approver }) => approver)).size >= REFUND_APPROVALS)
}

/**
 * Whether the money came in: the order's own addresses got at least what its refunds send, this one included. Transfers
 * that are found count while they are final; where they do not suffice, the balance of the addresses does, which shows
 * money that no transaction shows. Both are less than what came in or equal to it.
 */
async function hasArrived(deps: PayoutDeps, head: ChainHead, evidence: PayoutEvidence): Promise<boolean> {
  const settled = settledHeightOf(deps, head)
  const wanted = evidence.amount + evidence.spent
  if (settled < 0) return false
  let found = 0n
  for (const { txId, outputIndex } of evidence.claims) {
    if (found >= wanted) return true
    if (!TX_ID.test(txId)) continue
    const transfer = await deps.node.findTransfer(txId, outputIndex)
    if (transfer === undefined || transfer.inclusion.height > settled) continue
    if (evidence.addresses.includes(transfer.to)) found += transfer.value
  }
  if (found >= wanted) return true
  let held = 0n
  for (const address of evidence.addresses) held += await deps.node.getBalance(address, settled)
  return held >= wanted
}
