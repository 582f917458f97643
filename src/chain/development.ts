// Pays, mines and reorganises on a development chain. It works with anvil and refuses every other node.

import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { createRpc } from './rpc.ts'

const RPC_TIMEOUT_MS = 10_000
const ADDRESS_BYTES = 20

const word = z.string().regex(/^0x[0-9a-f]+$/i)
const HEADER = z.object({ number: word.transform(Number), hash: word })

export type DevelopmentChain = {
  /** Sends wei from an account anvil funded, and returns the transaction's id. It is mined when the chain next mines. */
  pay: (address: string, amount: bigint) => Promise<string>
  mine: (blocks: number) => Promise<void>
  /** Replaces the newest blocks by as many empty ones. */
  reorganise: (blocks: number) => Promise<void>
  /**
   * Replaces the block of a transaction, and those above, by as many empty ones. The node forgets the transaction, so it
   * is sent again, as a wallet does. It is mined when the chain next mines.
   */
  reorganiseAway: (txId: string) => Promise<void>
}

/** @throws {Error} when the node is not anvil */
export async function openDevelopmentChain(url: string): Promise<DevelopmentChain> {
  const rpc = createRpc(url, RPC_TIMEOUT_MS)
  const version = await rpc('web3_clientVersion', [], z.string())
  if (!version.startsWith('anvil/')) throw new Error('this works on a development chain (anvil) only')

  const headerAt = (height: string) => rpc('eth_getBlockByNumber', [height, false], HEADER)
  const mine = async (blocks: number): Promise<void> => {
    await rpc('anvil_mine', [`0x${blocks.toString(16)}`], z.unknown())
  }
  const reorganise = async (blocks: number): Promise<void> => {
    const tip = await headerAt('latest')
    await rpc('anvil_rollback', [blocks], z.unknown())
    // Another producer makes another hash. Otherwise a block mined within the same second is identical.
    await rpc('anvil_setCoinbase', [`0x${randomBytes(ADDRESS_BYTES).toString('hex')}`], z.unknown())
    await mine(blocks)
    const { hash } = await headerAt(`0x${tip.number.toString(16)}`)
    if (hash === tip.hash) throw new Error('anvil rolled back and mined the same block again')
  }
  return {
    pay: async (address, amount) => {
      const [from] = await rpc('eth_accounts', [], z.array(word))
      return rpc('eth_sendTransaction', [{ from, to: address, value: `0x${amount.toString(16)}` }], word)
    },
    mine,
    reorganise,
    reorganiseAway: async (txId) => {
      const raw = await rpc('eth_getRawTransactionByHash', [txId], word)
      const { blockNumber } = await rpc(
        'eth_getTransactionByHash',
        [txId],
        z.object({ blockNumber: HEADER.shape.number }),
      )
      const { number } = await headerAt('latest')
      // One more: the chain may mine in this moment.
      await reorganise(number - blockNumber + 2)
      await rpc('eth_sendRawTransaction', [raw], word)
    },
  }
}

/**
 * Gives an account of a development chain this much money at least.
 * @throws {Error} when the node is not anvil
 */
export async function fundDevelopmentAccount(url: string, address: string, least: bigint): Promise<void> {
  await openDevelopmentChain(url)
  const rpc = createRpc(url, RPC_TIMEOUT_MS)
  const balance = await rpc('eth_getBalance', [address, 'latest'], word.transform(BigInt))
  if (balance < least) await rpc('anvil_setBalance', [address, `0x${least.toString(16)}`], z.unknown())
}
