// What is read on a chain, in one shape for every chain: a block with its outputs, and an observation, which is the
// state of one of the shop's outputs. Rows and messages spell the same fields otherwise; they are mapped at the edge.

import type { Asset, TransferState } from './payment.ts'

/** One output: coins that a transaction sent to an address. Its identity on a network is `txId` with `outputIndex`. */
export type ChainOutput = {
  asset: Asset
  /** In the chain's canonical form. */
  txId: string
  /** On an account chain, 0 for what the transaction itself sends; what its contracts send has other numbers. */
  outputIndex: number
  /** The recipient, in the chain's canonical form: lower-case hexadecimal on Ethereum. */
  address: string
  /** Base units of the asset, more than zero. */
  amount: bigint
  /** The account that signed the transaction; undefined: not known, or the chain's transactions have many. */
  sender?: string | undefined
}

/** A transfer of a token, which is no coin of the chain. Whatever its contract claims: it is never money of an order. */
export type TokenTransfer = {
  txId: string
  /** The number of its log in the block. */
  logIndex: number
  /** The token's contract. */
  token: string
  /** As the contract claims. */
  sender: string
  address: string
  /** In the token's own units, more than zero; 1 for a token that is one of a kind. */
  amount: bigint
}

export type BlockRef = { height: number; hash: string }

export type Header = BlockRef & {
  /** The block's own time. */
  minedAt: Date
  /**
   * Chain time: a lower bound of `minedAt` of every later block on this branch, and never later than this block's own
   * time. Where block times strictly increase, as on Ethereum, it is `minedAt`. Bitcoin's do not: a block need only be
   * later than the median of the eleven before it. There chain time is that median, which is about an hour old.
   */
  chainTime: Date
}

export type Block = Header & {
  parentHash: string
  /** Outputs to any address. Failed transactions and outputs without an amount are left out. */
  outputs: readonly ChainOutput[]
  /** Ids of the block's transactions, where calls inside contracts could not be read: `outputs` lacks what they sent. */
  untracedTxIds?: readonly string[]
  unreadable?: readonly UnreadableOutput[]
  /** Transfers of tokens to any address; absent: the chain has none. */
  tokenTransfers?: readonly TokenTransfer[]
}

/** An output with data that breaks the chain's rules: an error where the address is the shop's, else ignored. */
export type UnreadableOutput = {
  address: string
  /** Which rule is broken, for the log. */
  flaw: string
}

/** The state of one of the shop's outputs, as one source saw it. A later observation of the output has a higher `seq`. */
export type Observation = ChainOutput & {
  network: string
  /** Counted per output and source from 1. The highest is the present view. */
  seq: number
  state: TransferState
  /** Undefined: in no block. */
  block: BlockRef | undefined
  /** The earliest time at which the source saw the output. */
  firstSeenAt: Date
}

/** An observation as it arrives in a report. Its id names the fact, so that the inbox stores it once. */
export type ReportedObservation = Observation & {
  /** Hex SHA-256; grpc/report.ts computes it. */
  reportId: string
}
