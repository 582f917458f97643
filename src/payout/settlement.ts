// Whether a transaction that no payout knows paid a refund, by the chain: for an operator who settles a failed payout.

import type { PayingRefund } from '../db/payout_operation.ts'
import type { PayoutNode } from './node.ts'

/** @returns what the network took, or why the transaction did not pay the refund, as the end of a sentence */
export async function findSettlement(
  node: Pick<PayoutNode, 'findTransfer'>,
  { txId, settled }: { txId: string; settled: number },
  refund: Pick<PayingRefund, 'destination' | 'values' | 'senders'>,
): Promise<{ networkFee: bigint } | { problem: string }> {
  const transfer = await node.findTransfer(txId, 0)
  if (transfer === undefined) return { problem: 'is in no block, or had no effect' }
  const { from, to, value, inclusion } = transfer
  if (to !== refund.destination) return { problem: 'went to another address' }
  if (!refund.values.includes(value.toString())) return { problem: 'sent another amount' }
  if (!refund.senders.some(({ sender }) => sender === from))
    return { problem: 'came from an account that sends no refunds' }
  if (inclusion.height > settled) return { problem: 'is not final yet' }
  return { networkFee: inclusion.networkFee }
}
