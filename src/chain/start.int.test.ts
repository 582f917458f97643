import { afterAll, beforeAll, expect, test } from '@jest/globals'
import {
  HOUR_MS,
  minePayment,
  openWatcherFixture,
  statesOf,
  type WatcherHarness,
  type WatcherFixture,
} from '../../test/support/watcher_fixture.ts'
import { ChainError } from './client.ts'

const DAY_MS = 24 * HOUR_MS

let fixture: WatcherFixture
beforeAll(async () => {
  fixture = await openWatcherFixture()
})
afterAll(async () => {
  await fixture.close()
})

const startOf = async (harness: WatcherHarness): Promise<number> => Number((await harness.status())?.start)
/** Blocks a minute apart, the newest of which is mined now. */
const minedUpToNow = (blocks: number) => (height: number) => new Date(Date.now() - (blocks - height) * 60_000)

test('without an open order a first watcher begins at the tip', async () => {
  const harness = await fixture.createHarness({ isShop: false, minedAt: minedUpToNow(20) })
  for (let block = 1; block <= 20; block += 1) harness.chain.mine()
  await harness.step()
  expect(await startOf(harness)).toBe(20)
})

test('a first watcher begins before the oldest open order, and finds it with few questions', async () => {
  const blocks = 2 * 24 * 60
  const harness = await fixture.createHarness({ minedAt: minedUpToNow(blocks) })
  for (let block = 1; block < blocks; block += 1) harness.chain.mine()
  minePayment(harness)
  let questions = 0
  const { findHeader } = harness.client
  harness.client.findHeader = async (height) => {
    questions += 1
    return findHeader(height)
  }
  for (let look = 0; look < 3; look += 1) await harness.step()
  const startedAt = harness.chain.blocks()[await startOf(harness)]?.minedAt.getTime() ?? 0
  const ageMs = Date.now() - startedAt
  expect(ageMs).toBeGreaterThan(2 * HOUR_MS)
  expect(ageMs).toBeLessThan(4 * HOUR_MS)
  expect(questions).toBeLessThanOrEqual(13)
  expect(statesOf(harness)).toEqual(['1 seen'])
})

test('a configured start is taken as it is, whatever is open', async () => {
  const harness = await fixture.createHarness({ startHeight: 2, minedAt: minedUpToNow(5) })
  for (let block = 1; block <= 5; block += 1) harness.chain.mine()
  await harness.step()
  expect(await startOf(harness)).toBe(2)
})

test('no cursor is made from the tip of a node that is still syncing', async () => {
  let age = 300 * DAY_MS
  const harness = await fixture.createHarness({ maxBlockAgeMs: 120_000, minedAt: () => new Date(Date.now() - age) })
  await expect(harness.step()).rejects.toThrow(ChainError)
  expect(await harness.status()).toBeUndefined()
  age = 0
  harness.chain.mine()
  await harness.step()
  expect(await harness.status()).toBeDefined()
})

test('a look while the chain is being halved that finds no block is made again', async () => {
  const harness = await fixture.createHarness({ minedAt: minedUpToNow(5) })
  for (let block = 1; block <= 5; block += 1) harness.chain.mine()
  const { findHeader } = harness.client
  harness.client.findHeader = async () => undefined
  await expect(harness.step()).rejects.toThrow(/is not there, below the tip 5/)
  harness.client.findHeader = findHeader
  await harness.step()
  expect(await harness.status()).toBeDefined()
})
