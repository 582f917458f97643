import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { MAX_RECONNECT_MS } from '../grpc/client.ts'
import { MAX_PAUSE_MS } from './delivery.ts'
import { MAX_RETRY_MS } from './watcher.ts'
import { CONFIRMATIONS, minePayment, openStage, statesOf, type Stage } from '../../test/support/chain_scene.ts'

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(async () => {
  await stage.close()
})

test('a receiver that asks for time gets it', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  minePayment(scene)
  await scene.step({ fates: ['limited'] })
  await scene.step({ waitMs: 999 })
  expect(statesOf(scene)).toEqual([])
  expect((await scene.status())?.caughtUpAt).toBeNull()
  await scene.step({ waitMs: 1_000 })
  expect(statesOf(scene)).toEqual(['1 seen'])
  expect((await scene.status())?.caughtUpAt).not.toBeNull()
})

test('after an outage of any length the first report is sent within ten seconds', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  minePayment(scene)
  for (let look = 0; look < 20; look += 1) await scene.step({ fates: ['lost'] })
  await scene.step({ waitMs: MAX_PAUSE_MS })
  expect(statesOf(scene)).toEqual(['1 seen'])
  // The channel's pause, then one of delivery, then one of a node that fails at the same time.
  expect(MAX_RECONNECT_MS + MAX_PAUSE_MS + MAX_RETRY_MS).toBeLessThanOrEqual(10_000)
})

test('a report that is refused is sent alone and later, holds up no other, and nothing is vouched for until it is taken', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  for (const amount of [1n, 2n, 3n]) minePayment(scene, amount)
  await scene.step({ fates: ['refused', 'refused', 'one', 'one'] })
  expect(scene.delivered.map(({ amount }) => amount)).toEqual([2n, 3n])
  expect((await scene.status())?.caughtUpAt).toBeNull()
  await stage.query('update chain_report set next_at = clock_timestamp() where network = $1', [scene.network])
  await scene.step()
  expect(scene.delivered.map(({ amount }) => amount)).toEqual([2n, 3n, 1n])
  expect((await scene.status())?.caughtUpAt).not.toBeNull()
})

test('a report refused again and again no longer holds back what came after it', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  minePayment(scene)
  for (let refusal = 1; refusal <= 5; refusal += 1) {
    await stage.query('update chain_report set next_at = clock_timestamp() where network = $1', [scene.network])
    await scene.step({ fates: ['refused'] })
  }
  for (let block = 1; block < CONFIRMATIONS; block += 1) scene.chain.mine()
  await scene.step()
  expect(statesOf(scene)).toEqual(['2 final'])
  expect((await scene.status())?.caughtUpAt).toBeNull()
})
