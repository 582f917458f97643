// The contract suite that every adapter passes, on a chain that the suite controls. A new adapter calls
// describeAdapter in its own test.

import { describe, expect, test } from '@jest/globals'
import type { Block } from '../domain/chain.ts'
import type { ChainClient } from './client.ts'

/** A chain that the suite controls. A payment is mined by the next `mine` at the latest. */
export type ChainUnderTest = {
  client: ChainClient
  /** A new address, in the chain's canonical form. */
  makeAddress: () => string
  /** Returns the transaction's id. */
  pay: (address: string, amount: bigint) => Promise<string>
  mine: (blocks: number) => Promise<void>
  /** Replaces the newest blocks by as many empty ones. */
  reorganise: (blocks: number) => Promise<void>
}

export function describeAdapter(name: string, open: () => Promise<ChainUnderTest>): void {
  describe(`the ${name} adapter`, () => {
    test('returns the tip also as a block and as a header', async () => {
      const { client, mine } = await open()
      await mine(2)
      const tip = await client.getTip()
      const block = await client.findBlock(tip.height)
      expect(block).toMatchObject(tip)
      expect(await client.findHeader(tip.height)).toEqual(tip)
    })

    test('links each block to the one before, and no block is older than the chain time before it', async () => {
      const { client, mine } = await open()
      await mine(3)
      const { height } = await client.getTip()
      const [older, newer] = [await getBlock(client, height - 1), await getBlock(client, height)]
      expect(newer.parentHash).toBe(older.hash)
      expect(newer.minedAt.getTime()).toBeGreaterThanOrEqual(older.chainTime.getTime())
      expect(newer.chainTime.getTime()).toBeGreaterThanOrEqual(older.chainTime.getTime())
      expect(newer.chainTime.getTime()).toBeLessThanOrEqual(newer.minedAt.getTime())
    })

    test('finds nothing above the tip', async () => {
      const { client } = await open()
      const { height } = await client.getTip()
      expect(await client.findHeader(height + 1)).toBeUndefined()
      expect(await client.findBlock(height + 1)).toBeUndefined()
    })

    test('returns each output once, to the base unit, in the canonical form', async () => {
      const { client, makeAddress, pay, mine } = await open()
      const from = (await client.getTip()).height
      const [first, second] = [makeAddress(), makeAddress()]
      const amounts = [1n, 1_234_567_890_123_456_789n, 7n]
      await pay(first, amounts[0] ?? 0n)
      const txId = await pay(second, amounts[1] ?? 0n)
      await pay(first, amounts[2] ?? 0n)
      await mine(1)
      const outputs = await outputsSince(client, from)
      expect(outputs.map(({ address, amount }) => [address, amount])).toEqual([
        [first, amounts[0]],
        [second, amounts[1]],
        [first, amounts[2]],
      ])
      expect(outputs[1]).toMatchObject({ txId, outputIndex: 0, address: second })
      expect(new Set(outputs.map((output) => `${output.txId}/${output.outputIndex}`)).size).toBe(3)
    })

    test('leaves out an output without an amount', async () => {
      const { client, makeAddress, pay, mine } = await open()
      const from = (await client.getTip()).height
      await pay(makeAddress(), 0n)
      await mine(1)
      expect(await outputsSince(client, from)).toEqual([])
    })

    test('returns other blocks, without the lost outputs, after a reorganisation', async () => {
      const { client, makeAddress, pay, mine, reorganise } = await open()
      await mine(1)
      const from = (await client.getTip()).height
      await pay(makeAddress(), 5n)
      await mine(2)
      const tip = await client.getTip()
      const lost = tip.height - from
      await reorganise(lost)
      expect((await client.getTip()).height).toBe(tip.height)
      expect((await client.findHeader(tip.height))?.hash).not.toBe(tip.hash)
      expect((await getBlock(client, from + 1)).parentHash).toBe((await client.findHeader(from))?.hash)
      expect(await outputsSince(client, from)).toEqual([])
    })
  })
}

async function getBlock(client: ChainClient, height: number): Promise<Block> {
  const block = await client.findBlock(height)
  if (block === undefined) throw new Error(`there is no block ${height}`)
  return block
}

async function outputsSince(client: ChainClient, height: number): Promise<Block['outputs']> {
  const tip = await client.getTip()
  const heights = Array.from({ length: tip.height - height }, (_, index) => height + 1 + index)
  const blocks = await Promise.all(heights.map((each) => getBlock(client, each)))
  return blocks.flatMap(({ outputs }) => outputs)
}
