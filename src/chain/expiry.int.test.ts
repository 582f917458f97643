// Whatever the node's lag and the chain's block time: no order that was paid within its window may expire, and one that
// was not may, once the chain itself is past its end. All happens in the past by the database's clock, so that nothing
// but chain time keeps an order.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  HOUR_MS,
  openWatcherFixture,
  type WatcherHarness,
  type WatcherFixture,
} from '../../test/support/watcher_fixture.ts'
import { randomOf } from '../../test/support/scale.ts'
import { recordReport } from '../db/payment.ts'
import { reportIdOf } from '../grpc/report.ts'

const LAGS_MS = [0, 1_000, 10_000, 100_000, 1_000_000]
const BLOCK_TIMES_MS = [400, 12_000, 150_000, 1_200_000]
const BLOCKS = 12

let fixture: WatcherFixture
beforeAll(async () => {
  fixture = await openWatcherFixture()
})
afterAll(async () => {
  await fixture.close()
})

/** What the watcher told, in the inbox. */
async function passOn(harness: WatcherHarness): Promise<void> {
  const observations = harness.delivered.splice(0)
  if (observations.length === 0) return
  await recordReport(
    fixture.api,
    'watcher-1',
    observations.map((each) => ({ ...each, reportId: reportIdOf(each) })),
  )
}

async function expirableIn({ network }: WatcherHarness): Promise<string[]> {
  const rows = await fixture.query<{ address: string }>(
    'select i.address from expirable e join invoice i using (order_id) where i.network = $1',
    [network],
  )
  return rows.map(({ address }) => address)
}

describe.each(LAGS_MS)('a node %i ms behind', (lagMs) => {
  test.each(BLOCK_TIMES_MS)('with a block every %i ms: none that was paid in its window expires', async (blockMs) => {
    const random = randomOf(`${lagMs}/${blockMs}`)
    const from = Date.now() - 24 * HOUR_MS
    const minedAtMs = (height: number): number => Math.floor(from + height * blockMs)
    const harness = await fixture.createHarness({ startHeight: 0, minedAt: (height) => new Date(minedAtMs(height)) })
    const [early = '', late = '', unpaid = ''] = harness.addresses
    const endMs = Math.floor(minedAtMs(4) + random() * 4 * blockMs)
    await fixture.query(
      `update invoice set created_at = $2::timestamptz - interval '1 hour', expires_at = $2::timestamptz - interval '1 ms', grace = interval '1 ms'
       where network = $1`,
      [harness.network, new Date(endMs)],
    )
    await fixture.query(
      'update reservation r set expires_at = i.expires_at + i.grace from invoice i where i.order_id = r.order_id and i.network = $1',
      [harness.network],
    )
    const lastInTime = Math.floor((endMs - from) / blockMs)
    const payments = new Map([
      [Math.max(1, lastInTime - 2), early],
      [lastInTime, late],
    ])
    // Looks when a block becomes visible, and right after the end by the wall clock.
    const looks = [endMs + 1, endMs + 700, ...Array.from({ length: BLOCKS }, (_, n) => minedAtMs(n + 1) + lagMs)]
    for (const nowMs of looks.toSorted((a, b) => a - b)) {
      while (minedAtMs(harness.chain.blocks().length) + lagMs <= nowMs) {
        const to = payments.get(harness.chain.blocks().length)
        harness.chain.mine(to === undefined ? [] : [harness.chain.transferTo(to, 10n ** 30n)])
      }
      await harness.step()
      await passOn(harness)
      const expirable = await expirableIn(harness)
      expect(expirable).not.toContain(early)
      expect(expirable).not.toContain(late)
      const isPast = minedAtMs(harness.chain.blocks().length - 1) > endMs
      expect(expirable.includes(unpaid)).toBe(isPast)
    }
  })
})
