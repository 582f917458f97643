import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { HOUR_MS, minePayment, openStage, statesOf, type Scene, type Stage } from '../../test/support/chain_scene.ts'
import { ChainError } from './client.ts'

const DAY_MS = 24 * HOUR_MS

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(async () => {
  await stage.close()
})

const startOf = async (scene: Scene): Promise<number> => Number((await scene.status())?.start)
/** Blocks a minute apart, the newest of which is mined now. */
const minedUpToNow = (blocks: number) => (height: number) => new Date(Date.now() - (blocks - height) * 60_000)

test('without an open order a first watcher begins at the tip', async () => {
  const scene = await stage.openScene({ isShop: false, minedAt: minedUpToNow(20) })
  for (let block = 1; block <= 20; block += 1) scene.chain.mine()
  await scene.step()
  expect(await startOf(scene)).toBe(20)
})

test('a first watcher begins before the oldest open order, and finds it with few questions', async () => {
  const blocks = 2 * 24 * 60
  const scene = await stage.openScene({ minedAt: minedUpToNow(blocks) })
  for (let block = 1; block < blocks; block += 1) scene.chain.mine()
  minePayment(scene)
  let questions = 0
  const { findHeader } = scene.client
  scene.client.findHeader = async (height) => {
    questions += 1
    return findHeader(height)
  }
  for (let look = 0; look < 3; look += 1) await scene.step()
  const startedAt = scene.chain.blocks()[await startOf(scene)]?.minedAt.getTime() ?? 0
  const ageMs = Date.now() - startedAt
  expect(ageMs).toBeGreaterThan(2 * HOUR_MS)
  expect(ageMs).toBeLessThan(4 * HOUR_MS)
  expect(questions).toBeLessThanOrEqual(13)
  expect(statesOf(scene)).toEqual(['1 seen'])
})

test('a configured start is taken as it is, whatever is open', async () => {
  const scene = await stage.openScene({ startHeight: 2, minedAt: minedUpToNow(5) })
  for (let block = 1; block <= 5; block += 1) scene.chain.mine()
  await scene.step()
  expect(await startOf(scene)).toBe(2)
})

test('no cursor is made from the tip of a node that is still syncing', async () => {
  let age = 300 * DAY_MS
  const scene = await stage.openScene({ maxBlockAgeMs: 120_000, minedAt: () => new Date(Date.now() - age) })
  await expect(scene.step()).rejects.toThrow(ChainError)
  expect(await scene.status()).toBeUndefined()
  age = 0
  scene.chain.mine()
  await scene.step()
  expect(await scene.status()).toBeDefined()
})

test('a look while the chain is being halved that finds no block is made again', async () => {
  const scene = await stage.openScene({ minedAt: minedUpToNow(5) })
  for (let block = 1; block <= 5; block += 1) scene.chain.mine()
  const { findHeader } = scene.client
  scene.client.findHeader = async () => undefined
  await expect(scene.step()).rejects.toThrow(/is not there, below the tip 5/)
  scene.client.findHeader = findHeader
  await scene.step()
  expect(await scene.status()).toBeDefined()
})
