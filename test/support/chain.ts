// A simulated chain in memory: the second implementation of the chain port. The same seed gives the same hashes.

import { createHash } from 'node:crypto'
import type { ChainClient } from '../../src/chain/client.ts'
import type { Block, ChainOutput } from '../../src/domain/chain.ts'

const BLOCK_TIME_MS = 12_000
const GENESIS_MS = Date.UTC(2026, 0, 1)

export type SimulatedChain = {
  client: ChainClient
  /** Blocks in order of height; the first has height 0. */
  blocks: () => readonly Block[]
  /** Mines one block with these outputs. */
  mine: (outputs?: readonly ChainOutput[]) => Block
  /** Drops the newest blocks and returns them. Mining then builds another branch; no hash is used twice. */
  drop: (count: number) => readonly Block[]
  /** An internal transfer: a contract sends coins in the newest block, and no transfer shows it. */
  sendInside: (address: string, amount: bigint) => void
  /** The balance of an address at the branch's tip. */
  balanceOf: (address: string) => bigint
  /** A transfer with a new transaction id. */
  transferTo: (address: string, amount: bigint) => ChainOutput
}

export type SimulatedChainOptions = {
  network: string
  seed: string
  /** The timestamp of a block; by default every 12 s from a fixed day. */
  minedAt?: (height: number) => Date
}

export function createSimulatedChain({ network, seed, minedAt }: SimulatedChainOptions): SimulatedChain {
  let made = 0
  const nextHash = (): string => {
    made += 1
    return `0x${createHash('sha256').update(`${seed}/${network}/${made}`).digest('hex')}`
  }
  const timeOf = minedAt ?? ((height) => new Date(GENESIS_MS + height * BLOCK_TIME_MS))
  const branch: Block[] = []
  const inside: { hash: string; address: string; amount: bigint }[] = []
  const mine = (outputs: readonly ChainOutput[] = []): Block => {
    const height = branch.length
    const parentHash = branch.at(-1)?.hash ?? `0x${'0'.repeat(64)}`
    const time = timeOf(height)
    const block: Block = {
      height,
      hash: nextHash(),
      parentHash,
      minedAt: time,
      chainTime: time,
      outputs: [...outputs],
    }
    branch.push(block)
    return block
  }
  mine()
  return {
    client: {
      network,
      getTip: async () => {
        const last = branch.at(-1)
        if (last === undefined) throw new Error('a chain has at least its first block')
        return headerOf(last)
      },
      findHeader: async (height) => {
        const block = branch[height]
        return block === undefined ? undefined : headerOf(block)
      },
      findBlock: async (height) => branch[height],
    },
    blocks: () => branch,
    mine,
    drop: (count) => {
      if (count >= branch.length) throw new Error('the first block stays')
      return branch.splice(branch.length - count)
    },
    sendInside: (address, amount) => {
      inside.push({ hash: branch.at(-1)?.hash ?? '', address, amount })
    },
    balanceOf: (address) => {
      const hashes = new Set(branch.map(({ hash }) => hash))
      const moved = [...branch.flatMap(({ outputs }) => outputs), ...inside.filter(({ hash }) => hashes.has(hash))]
      return moved.reduce((sum, each) => (each.address === address ? sum + each.amount : sum), 0n)
    },
    transferTo: (address, amount) => ({ asset: 'ETH', txId: nextHash(), outputIndex: 0, address, amount }),
  }
}

const headerOf = ({ height, hash, minedAt, chainTime }: Block) => ({ height, hash, minedAt, chainTime })

/** Replaces the newest blocks by a new branch, and spreads the kept ones of the dropped outputs over it. */
export function reorganise(chain: SimulatedChain, depth: number, keeps: readonly boolean[], blocks: number): void {
  const lost = chain.drop(Math.min(depth, chain.blocks().length - 1)).flatMap(({ outputs }) => outputs)
  const kept = lost.filter((_, index) => keeps[index] ?? false)
  for (let block = 0; block < blocks; block += 1) {
    const share = Math.ceil(kept.length / (blocks - block))
    chain.mine(kept.splice(0, share))
  }
}
