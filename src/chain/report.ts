// How a fact about the chain is named, the same by whoever tells it again.

import { createHash } from 'node:crypto'
import type { Observation } from '../db/chain.ts'

/** SHA-256, in hexadecimal, over what makes the fact, joined by line feeds: none of the parts can hold one. */
export function reportIdOf(network: string, { txId, outputIndex, state, blockHash, seq }: Observation): string {
  return createHash('sha256').update([network, txId, outputIndex, state, blockHash, seq].join('\n')).digest('hex')
}
