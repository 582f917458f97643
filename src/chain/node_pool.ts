// Several nodes of one network as one ChainClient: getTip chooses the node for all calls until the next getTip, and
// compares it with the others.

import type { Header } from '../domain/chain.ts'
import { ChainError, type ChainClient } from './client.ts'
import { createNodeChoice, type NodeChoiceOptions } from './node_choice.ts'
import { createNodeSurvey, type SurveyRules } from './node_survey.ts'

/** Behind a load balancer, a node may lack a block for a moment. */
const GAPS_BEFORE_ASIDE = 4

export type NodePoolOptions = SurveyRules & Omit<NodeChoiceOptions<ChainClient>, 'network'>

/** Calls reject as the chosen node's do; getTip also with NodesDifferError, and when no node can be used. */
export function createNodePool(options: NodePoolOptions): ChainClient {
  const { nodes, now = () => performance.now() } = options
  const [{ network, findBalances }] = nodes
  const choice = createNodeChoice({ ...options, network })
  const isBehind = createNodeSurvey({ ...options, ...choice, count: nodes.length, now })
  let tip: Header | undefined
  /** Whether the node gave no block up to its own tip in this step, and in how many steps in a row. */
  let hasGap = false
  let gaps = 0

  async function begin(): Promise<Header> {
    gaps = hasGap ? gaps + 1 : 0
    hasGap = false
    if (gaps >= GAPS_BEFORE_ASIDE) {
      gaps = 0
      choice.giveUp('gap')
    }
    tip = await choice.begin({ start: (node) => node.getTip(), isBehind })
    return tip
  }

  return {
    network,
    getTip: begin,
    findHeader: (height) => choice.ask((node) => node.findHeader(height)),
    findBlock: async (height) => {
      const block = await choice.ask((node) => node.findBlock(height))
      // A node without traces is used while a better one is away, and no longer.
      if (block?.untracedTxIds !== undefined) choice.preferFirst()
      if (block === undefined && tip !== undefined && height <= tip.height) hasGap = true
      return block
    },
    ...(findBalances !== undefined && {
      findBalances: (addresses, blockHash) =>
        choice.ask(async (node) => {
          if (node.findBalances === undefined) throw new ChainError('the node reads no balances, unlike the first one')
          return node.findBalances(addresses, blockHash)
        }),
    }),
  }
}
