// What the chain itself says at the end: every transfer in its blocks, read from the node and without our own code.

import { z } from 'zod'
import { createRpc } from '../../../src/chain/rpc.ts'

const RPC_WITHIN_MS = 30_000
const BLOCK = z.object({
  transactions: z.array(
    z.object({ hash: z.string(), from: z.string(), to: z.string().nullable(), value: z.string().transform(BigInt) }),
  ),
})
const amount = z.string().transform(BigInt)
const RECEIPT = z.object({ status: z.string(), gasUsed: amount, effectiveGasPrice: amount })

export type Transfer = { txId: string; from: string; to: string; value: bigint; fee: bigint }

/** All transfers that were executed, in order. */
export async function readTransfers(url: string): Promise<Transfer[]> {
  const rpc = createRpc(url, RPC_WITHIN_MS)
  const tip = await rpc('eth_blockNumber', [], z.string().transform(Number))
  const transfers: Transfer[] = []
  for (let height = 1; height <= tip; height += 1) {
    const { transactions } = await rpc('eth_getBlockByNumber', [`0x${height.toString(16)}`, true], BLOCK)
    for (const { hash, from, to, value } of transactions) {
      const { status, gasUsed, effectiveGasPrice } = await rpc('eth_getTransactionReceipt', [hash], RECEIPT)
      const fee = gasUsed * effectiveGasPrice
      if (status === '0x1' && to !== null) transfers.push({ txId: hash, from, to: to.toLowerCase(), value, fee })
    }
  }
  return transfers
}
