// The port to a blockchain: what the watcher needs to know, and no more. Every adapter passes chain/contract.ts.

import type { Asset } from '../domain/payment.ts'

/** One output to an address, whoever's it is; identified by txId and outputIndex in the chain's canonical form. */
export type ChainTransfer = {
  asset: Asset
  txId: string
  /** 0 for an account chain's own coin, where a transaction has one recipient. */
  outputIndex: number
  /** Canonical: lower-case hexadecimal on Ethereum. */
  address: string
  /** Base units, more than zero. */
  amount: bigint
}

export type Tip = { height: number; hash: string; minedAt: Date }

export type Block = Tip & {
  parentHash: string
  /** Money that moved: failed transactions and empty transfers are left out. */
  transfers: readonly ChainTransfer[]
}

/** All calls reject when the node does not answer, or answers with something that cannot be true. */
export type ChainClient = {
  network: string
  /** The newest block of the node's branch, now. */
  getTip: () => Promise<Tip>
  /** The hash at a height of the node's branch, now; undefined above its tip. */
  findHash: (height: number) => Promise<string | undefined>
  /** A block of the node's branch, whole and from one fork; undefined above its tip or when it left the branch meanwhile. */
  findBlock: (height: number) => Promise<Block | undefined>
}
