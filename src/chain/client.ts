// The port to a blockchain node, and all that the watcher needs of one. Every adapter passes the suite in contract.ts.

import type { Block, Header } from '../domain/chain.ts'

/** Each call rejects when the node does not answer, or when its answer contradicts itself. */
export type ChainClient = {
  network: string
  /**
   * The newest block of the node's present branch. It begins a step: where there are several nodes, it chooses one, and
   * the calls after it go to that one.
   */
  getTip: () => Promise<Header>
  /** The header at a height of the node's present branch. Undefined: above the tip. */
  findHeader: (height: number) => Promise<Header | undefined>
  /** A block of the node's present branch, all of it read from one fork. Undefined: above the tip, or gone meanwhile. */
  findBlock: (height: number) => Promise<Block | undefined>
  /**
   * The balance of each address at the end of this very block. Adapters leave it out where every transfer is an output
   * of a transaction, as on Bitcoin: balances then add no knowledge.
   */
  findBalances?: (addresses: readonly string[], blockHash: string) => Promise<ReadonlyMap<string, bigint>>
}

/**
 * The node's answer is not credible, or the node lacks a needed method. Nothing is stored from such an answer. The
 * message is written here and quotes no data of the node beyond a short reason, so that it can be logged.
 */
export class ChainError extends Error {
  override readonly name: string = 'ChainError'
}

/**
 * Two nodes have different blocks at a height that is final for one of them. Nothing is scanned, sent or stamped until
 * they agree, or an operator removes the wrong node from the list.
 */
export class NodesDifferError extends Error {
  override readonly name = 'NodesDifferError'
}

/** The node has a tip above this block, but not the block: it was pruned, has left the branch, or is not there yet. */
export class BlockGoneError extends ChainError {
  override readonly name = 'BlockGoneError'
  readonly height: number

  constructor(height: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.height = height
  }
}
