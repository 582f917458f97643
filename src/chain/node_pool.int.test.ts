// Fall-over between nodes, on two real ones. Each test begins with both nodes on one chain of twenty blocks or more.

import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import {
  openTestPool,
  PAIR_CONFIRMATIONS,
  PAIR_MAX_LAG,
  startNodePair,
  type TestPool,
} from '../../test/support/node_pair.ts'
import { until } from '../../test/support/until.ts'
import { NodesDifferError, type ChainClient } from './client.ts'

jest.setTimeout(180_000)

/** Above each back-off of a node. */
const LONG_MS = 3_600_000
const HASH = /^0x[0-9a-f]{64}$/

let pair: Awaited<ReturnType<typeof startNodePair>>
beforeAll(async () => {
  pair = await startNodePair()
  await pair.first.mine(20)
})
afterAll(() => pair.stop())
beforeEach(async () => {
  for (const { proxy } of [pair.first, pair.second]) proxy.restore()
  await pair.first.mine(1)
  await pair.copy(pair.first, pair.second)
})

const openPair = (): TestPool => openTestPool(pair.first, pair.second)
/** The hashes of a height on both nodes, past their proxies. */
async function hashesAt(height: number): Promise<(string | undefined)[]> {
  const pools = [pair.first, pair.second].map(({ directUrl }) => openTestPool({ url: directUrl }))
  return Promise.all(
    pools.map(async ({ client }) => {
      await client.getTip()
      return (await client.findHeader(height))?.hash
    }),
  )
}
/** The nodes have different blocks at the same height. */
async function splitTip(): Promise<void> {
  await pair.second.branchOff()
  await pair.first.mine(1)
  await pair.second.mine(1)
}

describe('a step', () => {
  test('stays with the node that its tip came from, also while another node has another branch', async () => {
    const { client, inUse } = openPair()
    await splitTip()
    const tip = await client.getTip()
    const [first, second] = await hashesAt(tip.height)
    expect(first).toMatch(HASH)
    expect(first).not.toBe(second)
    expect(tip.hash).toBe(first)
    expect((await client.findHeader(tip.height))?.hash).toBe(first)
    expect((await client.findBlock(tip.height))?.hash).toBe(first)
    expect(await inUse()).toBe(1)
  })

  test('fails when its node fails, and only the next step goes to another node', async () => {
    const { client, inUse, aside } = openPair()
    await splitTip()
    const tip = await client.getTip()
    pair.first.proxy.cut()
    await expect(client.findBlock(tip.height)).rejects.toThrow('did not answer')
    await expect(client.findHeader(tip.height)).rejects.toThrow('did not answer')
    expect(await inUse()).toBe(1)
    const [, second] = await hashesAt(tip.height)
    expect((await client.getTip()).hash).toBe(second)
    expect((await client.findHeader(tip.height))?.hash).toBe(second)
    expect([await inUse(), await aside()]).toEqual([2, ['1 error']])
  })

  test('stays with its node when the one before it in the list is well again', async () => {
    const { client, inUse, aside, pass } = openPair()
    pair.first.proxy.cut()
    await client.getTip()
    pair.first.proxy.restore()
    pass(LONG_MS)
    await until(async () => {
      pass(LONG_MS)
      await client.getTip()
      return (await aside()).length === 0
    })
    expect(await inUse()).toBe(2)
  })

  test('leaves a node without traces for the one before it in the list, once that is well again', async () => {
    const untraced = (node: ChainClient): ChainClient => ({
      ...node,
      findBlock: async (height) => {
        const block = await node.findBlock(height)
        return block && { ...block, untracedTxIds: [] }
      },
    })
    const { client, inUse, pass } = openTestPool(pair.first, { url: pair.second.url, change: untraced })
    pair.first.proxy.cut()
    const { height } = await client.getTip()
    await client.findBlock(height)
    expect(await inUse()).toBe(2)
    pair.first.proxy.restore()
    await until(async () => {
      pass(LONG_MS)
      await client.getTip()
      await client.findBlock(height)
      return (await inUse()) === 1
    })
  })

  test('costs one call while there is no new block, and four for a new one with two nodes', async () => {
    const { client, messages } = openPair()
    await client.getTip()
    const callsOf = async (): Promise<string[]> => {
      messages.length = 0
      await client.getTip()
      return messages.map(({ node, method }) => `${node} ${method}`).toSorted()
    }
    expect(await callsOf()).toEqual(['1 eth_getBlockByNumber'])
    await pair.first.mine(1)
    await pair.copy(pair.first, pair.second)
    const read = 'eth_getBlockByNumber'
    expect(await callsOf()).toEqual([`1 ${read}`, `1 ${read}`, `2 ${read}`, `2 ${read}`])
  })
})

describe('a node is set aside', () => {
  test('while it hangs: its calls end at their deadline, and it comes back after a health check', async () => {
    const { client, inUse, aside, pass, log } = openPair()
    await client.getTip()
    pair.first.proxy.hang()
    await client.getTip()
    expect([await inUse(), await aside()]).toEqual([2, ['1 error']])
    // No step waits for it any more: it is asked in the background.
    pass(LONG_MS)
    await client.getTip()
    pair.first.proxy.cut()
    pair.first.proxy.restore()
    await until(async () => {
      pass(LONG_MS)
      await client.getTip()
      return (await aside()).length === 0
    })
    expect(log.join('')).toContain('a node can be used again')
  })

  test('while it lags by more blocks than allowed, and not for fewer', async () => {
    const { client, inUse, aside, exposition } = openTestPool(pair.second, pair.first)
    await pair.first.mine(PAIR_MAX_LAG)
    const tip = await client.getTip()
    expect([await inUse(), await aside()]).toEqual([1, []])
    await pair.first.mine(1)
    const pool = openTestPool(pair.second, pair.first)
    expect((await pool.client.getTip()).height).toBe(tip.height + PAIR_MAX_LAG + 1)
    expect([await pool.inUse(), await pool.aside()]).toEqual([2, ['1 lag']])
    expect(await exposition()).toMatch(/holdfast_chain_node_lag_blocks\{[^}]*node="1"[^}]*\} 5/)
  })

  test('until it has caught up, however often it is asked', async () => {
    const { client, inUse, aside, pass } = openTestPool(pair.second, pair.first)
    await pair.first.mine(PAIR_MAX_LAG + 1)
    const step = async (): Promise<void> => {
      pass(LONG_MS)
      await client.getTip()
    }
    for (let each = 0; each < 5; each += 1) await step()
    expect([await inUse(), await aside()]).toEqual([2, ['1 lag']])
    await pair.copy(pair.first, pair.second)
    await until(async () => {
      await step()
      return (await aside()).length === 0
    })
  })

  test('while it names a tip far above, and has no block there', async () => {
    const boasting = (node: ChainClient): ChainClient => ({
      ...node,
      getTip: async () => {
        const tip = await node.getTip()
        return { ...tip, height: tip.height + 1_000 }
      },
    })
    const { client, inUse, aside, pass } = openTestPool(pair.first, { url: pair.second.url, change: boasting })
    for (let look = 0; look < 3; look += 1) {
      await client.getTip()
      expect([await inUse(), await aside()]).toEqual([1, ['2 gap']])
      pass(LONG_MS)
      await pair.first.mine(1)
    }
  })

  test('while it answers for another chain', async () => {
    const { client, inUse, aside, log } = openTestPool({ url: pair.first.url, chainId: 1 }, pair.second)
    expect((await client.getTip()).hash).toMatch(HASH)
    expect([await inUse(), await aside()]).toEqual([2, ['1 error']])
    expect(log.join('')).toContain('a node is set aside')
  })

  test('when it lacks a block up to its own tip several times in a row', async () => {
    const pruned = (node: ChainClient): ChainClient => ({ ...node, findBlock: async () => undefined })
    const { client, inUse, aside } = openTestPool({ url: pair.first.url, change: pruned }, pair.second)
    for (let look = 0; look < 4; look += 1) {
      const { height } = await client.getTip()
      expect(await client.findBlock(height + 1)).toBeUndefined()
      expect(await client.findBlock(height)).toBeUndefined()
    }
    const { height, hash } = await client.getTip()
    expect((await client.findBlock(height))?.hash).toBe(hash)
    expect([await inUse(), await aside()]).toEqual([2, ['1 gap']])
  })

  test('and is used all the same when there is no other, as soon as it answers', async () => {
    const { client, aside } = openPair()
    for (const { proxy } of [pair.first, pair.second]) proxy.cut()
    for (let look = 0; look < 3; look += 1) await expect(client.getTip()).rejects.toThrow('did not answer')
    expect(await aside()).toEqual(['1 error', '2 error'])
    pair.second.proxy.restore()
    expect((await client.getTip()).hash).toMatch(HASH)
    await client.getTip()
    expect(await aside()).toEqual(['1 error'])
  })
})

describe('two nodes with different final blocks', () => {
  /** Each node goes on with a branch of its own. */
  async function split(firstBlocks: number, secondBlocks: number): Promise<void> {
    await pair.second.branchOff()
    await pair.first.mine(firstBlocks)
    await pair.second.mine(secondBlocks)
  }

  test('are both not believed until they agree', async () => {
    const { client } = openPair()
    await split(PAIR_CONFIRMATIONS - 1, PAIR_CONFIRMATIONS - 1)
    await client.getTip()
    await pair.first.mine(1)
    await pair.second.mine(1)
    for (let look = 0; look < 3; look += 1)
      await expect(client.getTip()).rejects.toThrow(/^nodes 1 and 2 have different blocks at the final height \d+$/)
    await expect(client.getTip()).rejects.toBeInstanceOf(NodesDifferError)
    await pair.copy(pair.first, pair.second)
    expect((await client.getTip()).hash).toMatch(HASH)
  })

  test('differ also where the other one is behind, on a shorter branch', async () => {
    const { client } = openPair()
    await split(PAIR_CONFIRMATIONS, 3)
    await expect(client.getTip()).rejects.toBeInstanceOf(NodesDifferError)
  })

  test('do not differ where the other one stopped at a block that was replaced', async () => {
    const { client, inUse, aside } = openPair()
    await split(PAIR_CONFIRMATIONS + 3, 1)
    expect((await client.getTip()).hash).toMatch(HASH)
    expect([await inUse(), await aside()]).toEqual([1, ['2 lag']])
  })
})
