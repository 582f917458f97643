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
  /** Times in a row that a block up to the tip was not given. */
  let gaps = 0

  /** A node that lacks blocks below its own tip is set aside. */
  function noteGap(height: number): void {
    if (tip === undefined || height > tip.height) return
    gaps += 1
    if (gaps < GAPS_BEFORE_ASIDE) return
    gaps = 0
    choice.giveUp('gap')
  }

  return {
    network,
    getTip: async () => (tip = await choice.begin({ start: (node) => node.getTip(), isBehind })),
    findHeader: (height) => choice.ask((node) => node.findHeader(height)),
    findBlock: async (height) => {
      const block = await choice.ask((node) => node.findBlock(height))
      if (block === undefined) noteGap(height)
      else gaps = 0
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
