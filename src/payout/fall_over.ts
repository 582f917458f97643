// Several nodes as one for the payer: getHead chooses the node for all calls until the next getHead, which is a turn.

import { createNodeChoice, type NodeChoiceOptions } from '../chain/node_choice.ts'
import type { PayoutNode } from './node.ts'

/** A node that is further behind the last head is passed over. One block behind is usual. */
const MAX_BEHIND_BLOCKS = 5

/** What a node behind the last one says delays payouts, and sends none twice: only what is final ends one. */
export function createPayoutNodes(options: NodeChoiceOptions<PayoutNode>): PayoutNode {
  const choice = createNodeChoice(options)
  let lastHeight = 0
  return {
    getHead: async () => {
      const least = lastHeight - MAX_BEHIND_BLOCKS
      try {
        const head = await choice.begin({
          start: (node) => node.getHead(),
          isBehind: async (_, { height }) => height < least,
        })
        lastHeight = head.height
        return head
      } catch (error) {
        // Where no node has reached that height, it was wrong.
        lastHeight = 0
        throw error
      }
    },
    getTip: () => choice.ask((node) => node.getTip()),
    getBalance: (address, height) => choice.ask((node) => node.getBalance(address, height)),
    countTransactions: (address, height) => choice.ask((node) => node.countTransactions(address, height)),
    estimateGas: (transfer) => choice.ask((node) => node.estimateGas(transfer)),
    findInclusion: (txId) => choice.ask((node) => node.findInclusion(txId)),
    findTransfer: (txId, outputIndex) => choice.ask((node) => node.findTransfer(txId, outputIndex)),
    hasTransaction: (txId) => choice.ask((node) => node.hasTransaction(txId)),
    send: (raw) => choice.ask((node) => node.send(raw)),
  }
}
