// Full blocks on a development chain: 4,000 transfers each, some of them to addresses of the shop.

import { z } from 'zod'
import { createBatchRpc, createRpc } from '../../src/chain/rpc.ts'

const RPC_TIMEOUT_MS = 120_000
const TRANSFER_GAS = 21_000
/** Room for twice as many transfers as asked for. */
const SPARE = 2
/** Wei in each transfer. */
const AMOUNT = '0x5'
const QUANTITY = z.string().transform(Number)

const hex = (value: number): string => `0x${value.toString(16)}`

/**
 * Mines blocks of `transfers` transfers. Those to `paid` come first, the rest goes to strangers.
 * @returns the height of the first of them
 */
export async function mineFullBlocks(
  url: string,
  { blocks, transfers, paid }: { blocks: number; transfers: number; paid: readonly string[] },
): Promise<number> {
  const rpc = createRpc(url, RPC_TIMEOUT_MS)
  const batch = createBatchRpc(url, RPC_TIMEOUT_MS)
  await rpc('evm_setBlockGasLimit', [hex(transfers * TRANSFER_GAS * SPARE)], z.unknown())
  // The new limit holds from the next block on.
  await rpc('evm_mine', [], z.unknown())
  const senders = await rpc('eth_accounts', [], z.array(z.string()).min(1))
  const before = await rpc('eth_blockNumber', [], QUANTITY)
  for (let block = 0; block < blocks; block += 1) {
    const calls = Array.from({ length: transfers }, (_, at) => [
      {
        from: senders[at % senders.length],
        to: paid[at] ?? strangerOf(block * transfers + at),
        value: AMOUNT,
        gas: hex(TRANSFER_GAS),
      },
    ])
    await batch('eth_sendTransaction', calls, z.string())
    await rpc('evm_mine', [], z.unknown())
  }
  const found = await rpc('eth_getBlockTransactionCountByNumber', [hex(before + blocks)], QUANTITY)
  if (found !== transfers) throw new Error(`a full block has ${found} transactions, not ${transfers}`)
  return before + 1
}

const strangerOf = (number: number): string => `0xee${number.toString(16).padStart(38, '0')}`
