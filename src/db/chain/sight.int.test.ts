// Blindness: each way in which a chain cannot be seen.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { findBlindness } from './sight.ts'

const LIMITS = { silenceMs: 60_000, lagMs: 300_000 }

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterAll(() => shop.close())

/** As if the watcher had called its node, and read the chain, this long ago. */
const lookAt = async (askedAgoS: number, readAgoS: number | null) => {
  await shop.query(
    `insert into chain_status (network, start_height, settled_height, scanned_height, tip_height, tip_asked_at, caught_up_at)
     select 'ethereum', 1, 1, 1, 1, clock_timestamp() - make_interval(secs => $1), clock_timestamp() - make_interval(secs => $2)
     on conflict (network, source) do update set tip_asked_at = excluded.tip_asked_at, caught_up_at = excluded.caught_up_at`,
    [askedAgoS, readAgoS],
  )
  return findBlindness(shop.api, 'ethereum', LIMITS)
}

test('a chain that no watcher has read is not seen', async () => {
  expect(await findBlindness(shop.api, 'unread', LIMITS)).toBe('never_watched')
})

test.each([
  ['is asked about and read up to now', 1, 2, undefined],
  ['is asked about and read almost up to the limits', 50, 290, undefined],
  ['was not asked about for too long', 70, 71, 'watcher_silent'],
  ['is read too far behind', 1, 310, 'behind'],
  ['was never read to its tip, or was taken back', 1, null, 'behind'],
] as const)('a chain that %s is seen accordingly', async (_how, askedAgoS, readAgoS, expected) => {
  expect(await lookAt(askedAgoS, readAgoS)).toBe(expected)
})

test('a development chain, which mines on demand, may be of any age', async () => {
  await lookAt(1, 20_000_000)
  expect(await findBlindness(shop.api, 'ethereum', { ...LIMITS, lagMs: Number.POSITIVE_INFINITY })).toBeUndefined()
})
