import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { listDeadReports } from '../db/chain/outbox.ts'
import { MAX_RECONNECT_MS } from '../grpc/client.ts'
import { MAX_PAUSE_MS } from './delivery.ts'
import { MAX_RETRY_MS } from './watcher.ts'
import {
  CONFIRMATIONS,
  minePayment,
  openWatcherFixture,
  statesOf,
  type WatcherFixture,
} from '../../test/support/watcher_fixture.ts'

let fixture: WatcherFixture
beforeAll(async () => {
  fixture = await openWatcherFixture()
})
afterAll(async () => {
  await fixture.close()
})

test('a receiver that asks for time gets it', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  await harness.step({ fates: ['limited'] })
  await harness.step({ waitMs: 999 })
  expect(statesOf(harness)).toEqual([])
  expect((await harness.status())?.caughtUpAt).toBeNull()
  await harness.step({ waitMs: 1_000 })
  expect(statesOf(harness)).toEqual(['1 seen'])
  expect((await harness.status())?.caughtUpAt).not.toBeNull()
})

test('after an outage of any length the first report is sent within ten seconds', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  for (let look = 0; look < 20; look += 1) await harness.step({ fates: ['lost'] })
  await harness.step({ waitMs: MAX_PAUSE_MS })
  expect(statesOf(harness)).toEqual(['1 seen'])
  // The channel's pause, then one of delivery, then one of a node that fails at the same time.
  expect(MAX_RECONNECT_MS + MAX_PAUSE_MS + MAX_RETRY_MS).toBeLessThanOrEqual(10_000)
})

test('a report that is refused is sent alone and later, holds up no other, and nothing is vouched for until it is taken', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  for (const amount of [1n, 2n, 3n]) minePayment(harness, amount)
  await harness.step({ fates: ['refused', 'refused', 'one', 'one'] })
  expect(harness.delivered.map(({ amount }) => amount)).toEqual([2n, 3n])
  expect((await harness.status())?.caughtUpAt).toBeNull()
  await fixture.query('update chain_report set next_at = clock_timestamp() where network = $1', [harness.network])
  await harness.step()
  expect(harness.delivered.map(({ amount }) => amount)).toEqual([2n, 3n, 1n])
  expect((await harness.status())?.caughtUpAt).not.toBeNull()
})

test('a report refused again and again no longer holds back what came after it', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  for (let refusal = 1; refusal <= 5; refusal += 1) {
    await fixture.query('update chain_report set next_at = clock_timestamp() where network = $1', [harness.network])
    await harness.step({ fates: ['refused'] })
  }
  for (let block = 1; block < CONFIRMATIONS; block += 1) harness.chain.mine()
  await harness.step()
  expect(statesOf(harness)).toEqual(['2 final'])
  expect((await harness.status())?.caughtUpAt).toBeNull()
})

test('a report that contradicts a stored one stays as a dead letter with its reason, and holds up no other', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  for (const amount of [1n, 2n]) minePayment(harness, amount)
  await harness.step({ fates: ['contradicted', 'contradicted', 'one'] })
  expect(harness.delivered.map(({ amount }) => amount)).toEqual([2n])
  const dead = (await listDeadReports(fixture.database)).filter(({ network }) => network === harness.network)
  expect(dead).toMatchObject([{ seq: 1, state: 'seen', refusals: 5, reason: 'REPORT_CONFLICT' }])
  expect(await harness.count('holdfast_chain_outbox_refused')).toBe(1)
  // Later states of the same output pass it, and nothing is vouched for.
  for (let block = 1; block < CONFIRMATIONS; block += 1) harness.chain.mine()
  await harness.step()
  expect(harness.delivered.map(({ amount, state }) => `${amount} ${state}`)).toEqual(['2 seen', '1 final', '2 final'])
  expect(await listDeadReports(fixture.database)).toEqual(expect.arrayContaining(dead))
  expect((await harness.status())?.caughtUpAt).toBeNull()
})
