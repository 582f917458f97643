// The customers' wallet: one account that signs each payment once, and sends it again until a block has it. As wallets do
// after their node has lost what it knew.

import { mnemonicToAccount } from 'viem/accounts'
import { z } from 'zod'
import { createRpc, RpcRefusal } from '../../../src/chain/rpc.ts'
import { ANVIL_CHAIN_ID } from '../../../src/servers/anvil.ts'

const RPC_WITHIN_MS = 10_000
/** The accounts that anvil funds. */
const MNEMONIC = 'test test test test test test test test test test test junk'
const GWEI = 1_000_000_000n
const MAX_FEE = 500n * GWEI
const TRANSFER_GAS = 21_000n
/** Sent again in one turn: nodes keep few waiting transactions of one account. */
const MAX_WAITING = 64

export type Wallet = {
  address: string
  /** Signs a payment; `sendAll` sends it. */
  pay: (address: string, amount: bigint) => Promise<void>
  /** Sends what no block has. Errors of a node that is down are thrown. */
  sendAll: () => Promise<void>
  /** How many payments were signed. */
  count: () => number
}

export function createWallet(url: string): Wallet {
  const account = mnemonicToAccount(MNEMONIC)
  const rpc = createRpc(url, RPC_WITHIN_MS)
  const signed: Promise<string>[] = []
  return {
    address: account.address.toLowerCase(),
    pay: async (address, amount) => {
      // The place in the list is the nonce: both are taken before anything is awaited.
      const nonce = signed.length
      const raw = account.signTransaction({
        ...{
          type: 'eip1559',
          chainId: ANVIL_CHAIN_ID,
          nonce,
          to: z.templateLiteral(['0x', z.string()]).parse(address),
        },
        ...{ value: amount, gas: TRANSFER_GAS, maxFeePerGas: MAX_FEE, maxPriorityFeePerGas: GWEI },
      })
      signed.push(raw)
      await raw
    },
    sendAll: async () => {
      const mined = await rpc('eth_getTransactionCount', [account.address, 'latest'], z.string().transform(Number))
      for (const raw of signed.slice(mined, mined + MAX_WAITING)) {
        await rpc('eth_sendRawTransaction', [await raw], z.string()).catch((error: unknown) => {
          // Known already, or mined meanwhile.
          if (!(error instanceof RpcRefusal)) throw error
        })
      }
    },
    count: () => signed.length,
  }
}
