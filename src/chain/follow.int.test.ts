import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { reorganise } from '../../test/support/chain.ts'
import {
  CONFIRMATIONS,
  HOUR_MS,
  expectTruth,
  keyOf,
  minePayment,
  openWatcherFixture,
  statesOf,
  type WatcherFixture,
} from '../../test/support/watcher_fixture.ts'
import { appendBlock, CursorMovedError } from '../db/chain/cursor.ts'
import { ChainError } from './client.ts'
import { DeepReorgError } from './follow.ts'

let fixture: WatcherFixture
beforeAll(async () => {
  fixture = await openWatcherFixture()
})
afterAll(async () => {
  await fixture.close()
})

test('a transfer is final at the depth asked for, its own block counted, and not one block earlier', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  for (let depth = 2; depth < CONFIRMATIONS; depth += 1) harness.chain.mine()
  await harness.step()
  expect(statesOf(harness)).toEqual(['1 seen'])
  harness.chain.mine()
  await harness.step()
  expect(statesOf(harness)).toEqual(['1 seen', '2 final'])
})

test('a transfer mined again in another block is the same transfer, seen again', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  harness.chain.mine()
  const transfer = minePayment(harness)
  await harness.step()
  harness.chain.drop(1)
  harness.chain.mine()
  harness.chain.mine([transfer])
  await harness.step()
  expect(statesOf(harness)).toEqual(['1 seen', '2 reorged', '3 seen'])
  expect(new Set(harness.delivered.map(keyOf)).size).toBe(1)
})

test('a lost transfer that does not come back is dropped, and still known when it does', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  const transfer = minePayment(harness)
  await harness.step()
  harness.chain.drop(1)
  for (let block = 0; block < CONFIRMATIONS; block += 1) harness.chain.mine()
  harness.chain.mine([transfer])
  await harness.step()
  expect(statesOf(harness)).toEqual(['1 seen', '2 reorged', '3 dropped', '4 seen'])
})

test('a block that was found late counts from its own time, one with a clock ahead from ours', async () => {
  const past = new Date(Date.now() - HOUR_MS)
  const late = await fixture.createHarness({ startHeight: 0, minedAt: () => past })
  minePayment(late)
  await late.step()
  expect(late.delivered[0]?.firstSeenAt).toEqual(past)
  const ahead = await fixture.createHarness({ startHeight: 0, minedAt: () => new Date(Date.now() + HOUR_MS) })
  minePayment(ahead)
  await ahead.step()
  expect(ahead.delivered[0]?.firstSeenAt.getTime()).toBeLessThanOrEqual(Date.now())
})

test('no start skips a block after the first', async () => {
  const harness = await fixture.createHarness()
  minePayment(harness, 1n)
  minePayment(harness, 2n)
  await harness.step()
  minePayment(harness, 3n)
  minePayment(harness, 4n)
  await harness.step({ crash: { after: 0, as: 'before' } })
  await harness.step()
  const seen = harness.delivered.filter(({ state }) => state === 'seen')
  expect(seen.map(({ amount }) => amount)).toEqual([1n, 2n, 3n, 4n])
})

test('a reorganisation of final blocks stops everything until the node returns or an operator lets it pass', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  harness.chain.mine()
  minePayment(harness)
  for (let block = 0; block < CONFIRMATIONS; block += 1) harness.chain.mine()
  await harness.step()
  const before = await harness.status()
  const told = statesOf(harness)
  harness.chain.drop(CONFIRMATIONS + 1)
  for (let block = 0; block < CONFIRMATIONS + 3; block += 1) minePayment(harness)
  for (let attempt = 0; attempt < 3; attempt += 1) expect(await harness.step()).toBeInstanceOf(DeepReorgError)
  expect(await harness.status()).toEqual(before)
  expect(statesOf(harness)).toEqual(told)
  expect(await fixture.query('select cause from suspended_network where network = $1', [harness.network])).toEqual([
    { cause: 'deep_reorg' },
  ])

  await harness.acceptReorg()
  await harness.step()
  expect(statesOf(harness).slice(0, 3)).toEqual(['1 seen', '2 final', '3 reorged'])
  await expectTruth(harness)
  const [row] = await fixture.query('select rewind_to from chain_status where network = $1', [harness.network])
  expect(row).toEqual({ rewind_to: null })
})

test('the longest reorganisation that touches nothing final is followed without asking', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  for (let block = 0; block < CONFIRMATIONS + 2; block += 1) minePayment(harness)
  await harness.step()
  harness.chain.drop(CONFIRMATIONS - 1)
  for (let block = 0; block < CONFIRMATIONS; block += 1) minePayment(harness)
  expect(await harness.step()).toBeUndefined()
  await expectTruth(harness)
})

test('a node that stands behind our branch is waited for, and nothing is vouched for meanwhile', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  harness.chain.mine()
  minePayment(harness)
  await harness.step()
  const before = await harness.status()
  const [block] = harness.chain.drop(1)
  expect(await harness.step()).toBeUndefined()
  expect(await harness.status()).toEqual(before)
  expect(statesOf(harness)).toEqual(['1 seen'])
  expect(block?.height).toBe(2)
})

test('a node further behind than the depth of final is waited for like any other: behind is not reorganised', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  for (let block = 0; block < CONFIRMATIONS + 4; block += 1) harness.chain.mine()
  minePayment(harness)
  await harness.step({ fates: ['lost'] })
  const before = await harness.status()
  harness.chain.drop(CONFIRMATIONS + 2)
  expect(await harness.step()).toBeUndefined()
  expect(statesOf(harness)).toEqual(['1 seen'])
  expect(await harness.status()).toEqual(before)
})

test('a node further behind than the depth of final, but on another branch, is a deep reorganisation', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  for (let block = 0; block < CONFIRMATIONS + 4; block += 1) harness.chain.mine()
  await harness.step()
  harness.chain.drop(CONFIRMATIONS + 3)
  harness.chain.mine()
  expect(await harness.step()).toBeInstanceOf(DeepReorgError)
})

test('nodes behind one address that stand at N, N-1 and N-2 cause no reorganisation', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  for (let block = 0; block < 3; block += 1) harness.chain.mine()
  minePayment(harness)
  await harness.step()
  const before = await harness.status()
  const blocks = harness.chain.blocks()
  for (const tipAt of [2, 3, 4]) {
    for (const knownBelow of [2, 3, 4, 5]) {
      harness.client.getTip = async () => blocks[tipAt] ?? Promise.reject(new Error('no block'))
      harness.client.findHeader = async (height) => (height < knownBelow ? blocks[height] : undefined)
      harness.client.findBlock = async (height) => (height < knownBelow ? blocks[height] : undefined)
      expect(await harness.step()).toBeUndefined()
    }
  }
  expect(statesOf(harness)).toEqual(['1 seen'])
  expect(await harness.status()).toEqual(before)
})

test('a rewind withdraws what was vouched for, down to the common block, in its own transaction', async () => {
  const times = [1, 2, 3, 4, 5, 6].map((minutes) => new Date(Date.now() - HOUR_MS + minutes * 60_000))
  const harness = await fixture.createHarness({ startHeight: 0, minedAt: (height) => times[height] ?? new Date() })
  harness.chain.mine()
  harness.chain.mine()
  const transfer = minePayment(harness)
  await harness.step()
  expect((await harness.status())?.caughtUpAt).toEqual(times[3])
  harness.chain.drop(1)
  harness.chain.mine([transfer])
  harness.chain.mine()
  const { findBlock } = harness.client
  let looks = 0
  harness.client.findBlock = async (height) => {
    looks += 1
    // The block that shows the fork is read; then the node is away.
    if (looks > 1) throw new ChainError('429')
    return findBlock(height)
  }
  await expect(harness.step()).rejects.toThrow('429')
  expect((await harness.status())?.caughtUpAt).toEqual(times[2])
  expect(statesOf(harness)).toEqual(['1 seen', '2 reorged'])
  harness.client.findBlock = findBlock
  await harness.step()
  expect((await harness.status())?.caughtUpAt).toEqual(times[4])
  expect(statesOf(harness)).toEqual(['1 seen', '2 reorged', '3 seen'])
})

test('a transfer that cannot be read for certain stops the cursor where it is to us, and nothing where it is not', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  await harness.step()
  harness.chain.mine()
  const { findBlock } = harness.client
  const unreadableAt = (address: string) => async (height: number) => {
    const block = await findBlock(height)
    return block && { ...block, unreadable: [{ address, flaw: 'the value of transaction 0xab is no quantity' }] }
  }
  harness.client.findBlock = unreadableAt(harness.addresses[0] ?? '')
  const before = await harness.status()
  await expect(harness.step()).rejects.toThrow(
    'block 1: the value of transaction 0xab is no quantity, in a transfer to an address of the shop',
  )
  expect(await harness.status()).toEqual(before)
  harness.client.findBlock = unreadableAt(`0x${'0'.repeat(40)}`)
  await harness.step()
  expect((await harness.status())?.caughtUpAt).not.toEqual(before?.caughtUpAt)
})

test('a block the node does not give is waited for, counted, and told of when it stays away', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  harness.client.findBlock = async () => undefined
  for (let look = 0; look < 4; look += 1) await harness.step()
  expect(await harness.count('holdfast_chain_missing_blocks_total')).toBe(4)
  expect(harness.log.filter(({ msg }) => msg === 'the node does not give a block')).toMatchObject([
    { height: 0, tip: 1, missed: 4 },
  ])
  expect((await harness.status())?.caughtUpAt).toBeNull()
})

test('a block that does not follow the last one stored is refused, whatever its height', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  const { network, chain } = harness
  await harness.step()
  chain.mine()
  const [foreign] = chain.drop(1)
  if (foreign === undefined) throw new Error('no block was dropped')
  const block = { ...foreign, parentHash: foreign.hash }
  await expect(appendBlock(fixture.database, network, block, CONFIRMATIONS)).rejects.toBeInstanceOf(CursorMovedError)
  expect(await appendBlock(fixture.database, network, foreign, CONFIRMATIONS)).toMatchObject({
    scannedHash: foreign.hash,
  })
})

test('two watchers of one network share the work and tell nothing twice over', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  const other = harness.start()
  for (let round = 0; round < 20; round += 1) {
    minePayment(harness)
    if (round % 3 === 0) reorganise(harness.chain, 2, [true], 3)
    const results = await Promise.allSettled([harness.watcher().step(), other.step()])
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(CursorMovedError)
    }
  }
  await harness.step()
  await expectTruth(harness)
})
