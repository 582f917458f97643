// Read-ahead: a bounded prefetch of blocks. While one block is stored, the next ones are already read, so that a backfill
// does not wait for the node block by block. Blocks are given in the order of height, and only as many are in memory.

import type { Block } from '../domain/chain.ts'
import type { ChainClient } from './client.ts'

/** Blocks read at once. A full block with its receipts and traces has about ten megabytes while it is parsed. */
export const MAX_READ_AHEAD = 4

/**
 * The node's blocks from one height to another. The caller compares each with the one before: the node may change its
 * branch meanwhile. An error is thrown at its block, after those below it. Who stops early waits for what is being read.
 */
export async function* readBlocks(
  client: Pick<ChainClient, 'findBlock'>,
  first: number,
  last: number,
): AsyncGenerator<Block | undefined, void, void> {
  const reading: Promise<Block | undefined>[] = []
  let next = first
  try {
    while (next <= last || reading.length > 0) {
      for (; next <= last && reading.length < MAX_READ_AHEAD; next += 1) {
        const block = client.findBlock(next)
        // It is thrown when it is awaited below. Without this, one that is not awaited would end the process.
        block.catch(() => undefined)
        reading.push(block)
      }
      yield await reading.shift()
    }
  } finally {
    await Promise.allSettled(reading)
  }
}
