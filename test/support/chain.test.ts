import { randomBytes } from 'node:crypto'
import { describeAdapter, type ChainUnderTest } from '../../src/chain/contract.ts'
import type { ChainOutput } from '../../src/domain/chain.ts'
import { createSimulatedChain } from './chain.ts'

async function open(): Promise<ChainUnderTest> {
  const chain = createSimulatedChain({ network: 'simulated', seed: 'contract' })
  let waiting: ChainOutput[] = []
  const mine = async (blocks: number): Promise<void> => {
    for (let block = 0; block < blocks; block += 1) {
      chain.mine(waiting)
      waiting = []
    }
  }
  return {
    client: chain.client,
    makeAddress: () => `0x${randomBytes(20).toString('hex')}`,
    pay: async (address, amount) => {
      const transfer = chain.transferTo(address, amount)
      if (amount > 0n) waiting.push(transfer)
      return transfer.txId
    },
    mine,
    reorganise: async (blocks) => {
      chain.drop(blocks)
      await mine(blocks)
    },
  }
}

describeAdapter('simulated', open)
