// Signer for development: a hot wallet whose key is in a file. It signs for development chains alone, so that a copied
// configuration moves no real money.

import { privateKeyToAccount } from 'viem/accounts'
import { viemTransactionOf } from './transaction.ts'
import type { Signer } from './signer.ts'

/** anvil and hardhat, and the id that local nodes had before them. */
const DEVELOPMENT_CHAINS: readonly number[] = [31_337, 1_337]
const KEY = /^0x[0-9a-f]{64}$/

/** @throws {Error} for a text that is no key, without the text */
export function createDevelopmentSigner(keyText: string): Signer {
  const key = keyText.trim()
  if (!KEY.test(key)) throw new Error('it is not a private key: 0x and 64 lower-case hex digits')
  const account = privateKeyToAccount(key as `0x${string}`)
  return {
    sender: account.address.toLowerCase(),
    sign: async ({ transaction }) => {
      if (!DEVELOPMENT_CHAINS.includes(transaction.chainId))
        throw new Error(`the development signer does not sign for chain ${transaction.chainId}`)
      return account.signTransaction(viemTransactionOf(transaction))
    },
    forget: async () => undefined,
  }
}
