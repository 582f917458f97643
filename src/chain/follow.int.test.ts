import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { reorganise } from '../../test/support/chain.ts'
import {
  CONFIRMATIONS,
  HOUR_MS,
  expectTruth,
  keyOf,
  minePayment,
  openStage,
  statesOf,
  type Stage,
} from '../../test/support/chain_scene.ts'
import { appendBlock, CursorMovedError } from '../db/chain/cursor.ts'
import { ChainError } from './client.ts'
import { DeepReorgError } from './follow.ts'

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(async () => {
  await stage.close()
})

test('a transfer is final at the depth asked for, its own block counted, and not one block earlier', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  minePayment(scene)
  for (let depth = 2; depth < CONFIRMATIONS; depth += 1) scene.chain.mine()
  await scene.step()
  expect(statesOf(scene)).toEqual(['1 seen'])
  scene.chain.mine()
  await scene.step()
  expect(statesOf(scene)).toEqual(['1 seen', '2 final'])
})

test('a transfer mined again in another block is the same transfer, seen again', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  scene.chain.mine()
  const transfer = minePayment(scene)
  await scene.step()
  scene.chain.drop(1)
  scene.chain.mine()
  scene.chain.mine([transfer])
  await scene.step()
  expect(statesOf(scene)).toEqual(['1 seen', '2 reorged', '3 seen'])
  expect(new Set(scene.delivered.map(keyOf)).size).toBe(1)
})

test('a lost transfer that does not come back is dropped, and still known when it does', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  const transfer = minePayment(scene)
  await scene.step()
  scene.chain.drop(1)
  for (let block = 0; block < CONFIRMATIONS; block += 1) scene.chain.mine()
  scene.chain.mine([transfer])
  await scene.step()
  expect(statesOf(scene)).toEqual(['1 seen', '2 reorged', '3 dropped', '4 seen'])
})

test('a block that was found late counts from its own time, one with a clock ahead from ours', async () => {
  const past = new Date(Date.now() - HOUR_MS)
  const late = await stage.openScene({ startHeight: 0, minedAt: () => past })
  minePayment(late)
  await late.step()
  expect(late.delivered[0]?.firstSeenAt).toEqual(past)
  const ahead = await stage.openScene({ startHeight: 0, minedAt: () => new Date(Date.now() + HOUR_MS) })
  minePayment(ahead)
  await ahead.step()
  expect(ahead.delivered[0]?.firstSeenAt.getTime()).toBeLessThanOrEqual(Date.now())
})

test('no start skips a block after the first', async () => {
  const scene = await stage.openScene()
  minePayment(scene, 1n)
  minePayment(scene, 2n)
  await scene.step()
  minePayment(scene, 3n)
  minePayment(scene, 4n)
  await scene.step({ crash: { after: 0, as: 'before' } })
  await scene.step()
  const seen = scene.delivered.filter(({ state }) => state === 'seen')
  expect(seen.map(({ amount }) => amount)).toEqual([1n, 2n, 3n, 4n])
})

test('a reorganisation of final blocks stops everything until the node returns or an operator lets it pass', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  scene.chain.mine()
  minePayment(scene)
  for (let block = 0; block < CONFIRMATIONS; block += 1) scene.chain.mine()
  await scene.step()
  const before = await scene.status()
  const told = statesOf(scene)
  scene.chain.drop(CONFIRMATIONS + 1)
  for (let block = 0; block < CONFIRMATIONS + 3; block += 1) minePayment(scene)
  for (let attempt = 0; attempt < 3; attempt += 1) expect(await scene.step()).toBeInstanceOf(DeepReorgError)
  expect(await scene.status()).toEqual(before)
  expect(statesOf(scene)).toEqual(told)

  await scene.acceptReorg()
  await scene.step()
  expect(statesOf(scene).slice(0, 3)).toEqual(['1 seen', '2 final', '3 reorged'])
  await expectTruth(scene)
  const [row] = await stage.query('select rewind_to from chain_status where network = $1', [scene.network])
  expect(row).toEqual({ rewind_to: null })
})

test('the longest reorganisation that touches nothing final is followed without asking', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  for (let block = 0; block < CONFIRMATIONS + 2; block += 1) minePayment(scene)
  await scene.step()
  scene.chain.drop(CONFIRMATIONS - 1)
  for (let block = 0; block < CONFIRMATIONS; block += 1) minePayment(scene)
  expect(await scene.step()).toBeUndefined()
  await expectTruth(scene)
})

test('a node that stands behind our branch is waited for, and nothing is vouched for meanwhile', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  scene.chain.mine()
  minePayment(scene)
  await scene.step()
  const before = await scene.status()
  const [block] = scene.chain.drop(1)
  expect(await scene.step()).toBeUndefined()
  expect(await scene.status()).toEqual(before)
  expect(statesOf(scene)).toEqual(['1 seen'])
  expect(block?.height).toBe(2)
})

test('a node further behind than the depth of final is waited for like any other: behind is not reorganised', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  for (let block = 0; block < CONFIRMATIONS + 4; block += 1) scene.chain.mine()
  minePayment(scene)
  await scene.step({ fates: ['lost'] })
  const before = await scene.status()
  scene.chain.drop(CONFIRMATIONS + 2)
  expect(await scene.step()).toBeUndefined()
  expect(statesOf(scene)).toEqual(['1 seen'])
  expect(await scene.status()).toEqual(before)
})

test('a node further behind than the depth of final, but on another branch, is a deep reorganisation', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  for (let block = 0; block < CONFIRMATIONS + 4; block += 1) scene.chain.mine()
  await scene.step()
  scene.chain.drop(CONFIRMATIONS + 3)
  scene.chain.mine()
  expect(await scene.step()).toBeInstanceOf(DeepReorgError)
})

test('nodes behind one address that stand at N, N-1 and N-2 cause no reorganisation', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  for (let block = 0; block < 3; block += 1) scene.chain.mine()
  minePayment(scene)
  await scene.step()
  const before = await scene.status()
  const blocks = scene.chain.blocks()
  for (const tipAt of [2, 3, 4]) {
    for (const knownBelow of [2, 3, 4, 5]) {
      scene.client.getTip = async () => blocks[tipAt] ?? Promise.reject(new Error('no block'))
      scene.client.findHeader = async (height) => (height < knownBelow ? blocks[height] : undefined)
      scene.client.findBlock = async (height) => (height < knownBelow ? blocks[height] : undefined)
      expect(await scene.step()).toBeUndefined()
    }
  }
  expect(statesOf(scene)).toEqual(['1 seen'])
  expect(await scene.status()).toEqual(before)
})

test('a rewind withdraws what was vouched for, down to the common block, in its own transaction', async () => {
  const times = [1, 2, 3, 4, 5, 6].map((minutes) => new Date(Date.now() - HOUR_MS + minutes * 60_000))
  const scene = await stage.openScene({ startHeight: 0, minedAt: (height) => times[height] ?? new Date() })
  scene.chain.mine()
  scene.chain.mine()
  const transfer = minePayment(scene)
  await scene.step()
  expect((await scene.status())?.caughtUpAt).toEqual(times[3])
  scene.chain.drop(1)
  scene.chain.mine([transfer])
  scene.chain.mine()
  const { findBlock } = scene.client
  let looks = 0
  scene.client.findBlock = async (height) => {
    looks += 1
    // The block that shows the fork is read; then the node is away.
    if (looks > 1) throw new ChainError('429')
    return findBlock(height)
  }
  await expect(scene.step()).rejects.toThrow('429')
  expect((await scene.status())?.caughtUpAt).toEqual(times[2])
  expect(statesOf(scene)).toEqual(['1 seen', '2 reorged'])
  scene.client.findBlock = findBlock
  await scene.step()
  expect((await scene.status())?.caughtUpAt).toEqual(times[4])
  expect(statesOf(scene)).toEqual(['1 seen', '2 reorged', '3 seen'])
})

test('a transfer that cannot be read for certain stops the cursor where it is to us, and nothing where it is not', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  await scene.step()
  scene.chain.mine()
  const { findBlock } = scene.client
  const unreadableAt = (address: string) => async (height: number) => {
    const block = await findBlock(height)
    return block && { ...block, unreadable: [{ address, flaw: 'the value of transaction 0xab is no quantity' }] }
  }
  scene.client.findBlock = unreadableAt(scene.addresses[0] ?? '')
  const before = await scene.status()
  await expect(scene.step()).rejects.toThrow(
    'block 1: the value of transaction 0xab is no quantity, in a transfer to an address of the shop',
  )
  expect(await scene.status()).toEqual(before)
  scene.client.findBlock = unreadableAt(`0x${'0'.repeat(40)}`)
  await scene.step()
  expect((await scene.status())?.caughtUpAt).not.toEqual(before?.caughtUpAt)
})

test('a block the node does not give is waited for, counted, and told of when it stays away', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  minePayment(scene)
  scene.client.findBlock = async () => undefined
  for (let look = 0; look < 4; look += 1) await scene.step()
  expect(await scene.count('holdfast_chain_missing_blocks_total')).toBe(4)
  expect(scene.log.filter(({ msg }) => msg === 'the node does not give a block')).toMatchObject([
    { height: 0, tip: 1, missed: 4 },
  ])
  expect((await scene.status())?.caughtUpAt).toBeNull()
})

test('a block that does not follow the last one stored is refused, whatever its height', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  const { network, chain } = scene
  await scene.step()
  chain.mine()
  const [foreign] = chain.drop(1)
  if (foreign === undefined) throw new Error('no block was dropped')
  const block = { ...foreign, parentHash: foreign.hash }
  await expect(appendBlock(stage.database, network, block, CONFIRMATIONS)).rejects.toBeInstanceOf(CursorMovedError)
  expect(await appendBlock(stage.database, network, foreign, CONFIRMATIONS)).toMatchObject({
    scannedHash: foreign.hash,
  })
})

test('two watchers of one network share the work and tell nothing twice over', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  const other = scene.start()
  for (let round = 0; round < 20; round += 1) {
    minePayment(scene)
    if (round % 3 === 0) reorganise(scene.chain, 2, [true], 3)
    const results = await Promise.allSettled([scene.watcher().step(), other.step()])
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(CursorMovedError)
    }
  }
  await scene.step()
  await expectTruth(scene)
})
