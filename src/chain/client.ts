// The port to a blockchain: what the watcher needs to know, and no more. Every adapter passes chain/contract.ts.

import type { Asset } from '../domain/payment.ts'

/** One output to an address, whoever's it is; identified by txId and outputIndex in the chain's canonical form. */
export type ChainTransfer = {
  asset: Asset
  txId: string
  /** 0 for an account chain's own coin, where a transaction has one recipient; what contracts send has others. */
  outputIndex: number
  /** Canonical: lower-case hexadecimal on Ethereum. */
  address: string
  /** Base units, more than zero. */
  amount: bigint
}

export type Header = {
  height: number
  hash: string
  /** The block's own time. */
  minedAt: Date
  /**
   * Chain time: a lower bound of `minedAt` of every later block on this branch, and never later than this block's own
   * time. Where block times strictly increase, as on Ethereum, it is `minedAt`. Bitcoin's do not: a block need only be
   * later than the median of the eleven before it, so there it is that median, which is about an hour old.
   */
  chainTime: Date
}

export type Tip = Header

/** A transfer that could not be read for certain: an error where the address is the shop's, else of no interest. */
export type Doubt = {
  address: string
  /** What is wrong with it, for the log. */
  flaw: string
}

export type Block = Header & {
  parentHash: string
  /** Money that moved: failed transactions and empty transfers are left out. */
  transfers: readonly ChainTransfer[]
  /** The block's transactions, where what they did inside contracts could not be read: `transfers` lacks it. */
  untracedTxIds?: readonly string[]
  doubts?: readonly Doubt[]
}

/** All calls reject when the node does not answer, or answers with something that cannot be true. */
export type ChainClient = {
  network: string
  /** The newest block of the node's branch, now. */
  getTip: () => Promise<Tip>
  /** The header at a height of the node's branch, now; undefined: not there yet. */
  findHeader: (height: number) => Promise<Header | undefined>
  /** A block of the node's branch, whole and from one fork; undefined: not there yet, or no longer. */
  findBlock: (height: number) => Promise<Block | undefined>
  /**
   * What each address holds at the end of this very block. Absent where every transfer leaves an output, so that
   * balances say nothing more.
   */
  findBalances?: (addresses: readonly string[], blockHash: string) => Promise<ReadonlyMap<string, bigint>>
}

/** The node cannot be believed, or cannot do what is needed: nothing is scanned on its word. The message is ours. */
export class ChainError extends Error {
  override readonly name: string = 'ChainError'
}
