// Whether a refund may be paid, by the payer's own knowledge: its own node, its own limits. The database says what to pay,
// and others write to it: a stolen credential of theirs must not be enough to send money.

import { RpcRefusal } from '../chain/rpc.ts'
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
 * Whether the money came in: the order's own addresses got at least what its refunds send, this one included. An address
 * got at least what it holds, which shows also money that no transaction shows, and at least the transfers to it that are
 * final, which show also money that was moved on. The larger of both counts.
 */
async function hasArrived(deps: PayoutDeps, head: ChainHead, evidence: PayoutEvidence): Promise<boolean> {
  const settled = settledHeightOf(deps, head)
  if (settled < 0) return false
  const wanted = evidence.amount + evidence.spent
  const held = new Map<string, bigint>()
  for (const address of evidence.addresses) held.set(address, await balanceOf(deps, address, settled))
  const proven = new Map<string, bigint>()
  const total = (): bigint =>
    evidence.addresses.reduce((sum, address) => sum + larger(held.get(address), proven.get(address)), 0n)
  // The balances first: they cost one call each, however many transfers there were.
  for (const { txId, outputIndex } of evidence.claims) {
    if (total() >= wanted) return true
    if (!TX_ID.test(txId)) continue
    const transfer = await deps.node.findTransfer(txId, outputIndex)
    if (transfer === undefined || transfer.inclusion.height > settled) continue
    proven.set(transfer.to, (proven.get(transfer.to) ?? 0n) + transfer.value)
  }
  return total() >= wanted
}

const larger = (one = 0n, other = 0n): bigint => (one > other ? one : other)

/** A node without the account's state at the height shows nothing there: then the transfers must suffice. */
async function balanceOf({ node }: PayoutDeps, address: string, height: number): Promise<bigint> {
  try {
    return await node.getBalance(address, height)
  } catch (error) {
    if (error instanceof RpcRefusal) return 0n
    throw error
  }
}
