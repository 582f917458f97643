// Guards against far-future times: a time that a single role writes cannot block others after its process has died.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { openTestDatabase } from '../support/database.ts'
import { createTestShop, type TestShop } from '../support/shop.ts'
import type { DatabaseRole } from '../support/servers.ts'
import { systemActor } from '../../src/domain/audit.ts'
import { createCursor, readCursor } from '../../src/db/chain/cursor.ts'
import { findBlindness } from '../../src/db/chain/sight.ts'
import { stampStatus } from '../../src/db/chain/status.ts'
import type { Database } from '../../src/db/connection/pool.ts'

const BY = systemActor('test')
const NETWORK = 'guarded'

let shop: TestShop
let watcher: Database
beforeAll(async () => {
  shop = await createTestShop()
  watcher = await openTestDatabase({
    url: shop.test.urlOf('watcher'),
    poolSize: 2,
    applicationName: 'test-watcher',
    source: 'watcher-1',
  })
  await createCursor(watcher, NETWORK, 1)
})
afterAll(async () => {
  await watcher.close()
  await shop.close()
})

const stamp = async (isVouched: boolean) => {
  const { now } = await readCursor(watcher, NETWORK)
  const tip = { height: 0, hash: 'h0', chainTime: now }
  return stampStatus(watcher, NETWORK, { tip, askedAt: now, isVouched, confirmations: 12, comparesBalances: false })
}

describe('a role of the shop', () => {
  test.each<[string, DatabaseRole, string]>([
    [
      'stamps no chain for ever',
      'watcher',
      `update chain_status set tip_asked_at = 'infinity', caught_up_at = 'infinity'`,
    ],
    [
      'stamps no chain ahead of the clock',
      'watcher',
      `update chain_status set tip_asked_at = '2100-01-01', caught_up_at = '2100-01-01'`,
    ],
    [
      'adds no chain that was asked ahead of the clock',
      'watcher',
      `insert into chain_status (network, start_height, scanned_height, settled_height, tip_height, tip_asked_at)
       values ('other', 1, 0, 0, 1, clock_timestamp() + interval '1 second')`,
    ],
    ['has looked at no balance for ever', 'watcher', `update chain_balance set checked_at = 'infinity'`],
    ['has looked at no balance in days to come', 'watcher', `update chain_balance set checked_at = '2100-01-01'`],
    ['keeps no hold for ever', 'app_api', `update reservation set expires_at = 'infinity'`],
    ['ends no hold before all time', 'app_worker', `update reservation set expires_at = '-infinity'`],
    ['lets no wake sleep for ever', 'app_api', `update order_wake set next_at = 'infinity'`],
    ['keeps no duty for ever', 'app_worker', `update duty set held_until = 'infinity'`],
  ])('%s', async (_case, role, change) => {
    const { order } = await shop.orderIn('pending')
    await shop.query('select request_wake(array[$1::uuid])', [order.orderId])
    await shop.query(
      `insert into chain_balance (network, address, height, block_hash, balance, told, unexplained, checked_at)
       values ($1, $2, 1, 'h1', 0, 0, 0, now()) on conflict do nothing`,
      [NETWORK, order.address],
    )
    await shop.query(`insert into duty (duty) values ('test') on conflict do nothing`)
    await expect(shop.test.writeAs(role, BY, change)).rejects.toMatchObject({ code: '23514' })
  })
})

test.each(['infinity', '2100-01-01'])('a wrong stamp of %s ends with the next honest one', async (time) => {
  await shop.test.forge('alter table chain_status drop constraint chain_status_times_finite')
  await shop.test.forge(`update chain_status set tip_asked_at = $1, caught_up_at = $1 where network = $2`, [
    time,
    NETWORK,
  ])
  const before = Date.now()
  expect((await stamp(false))?.getTime()).toBeLessThanOrEqual(Date.now())
  const [row] = await shop.query<{ askedAt: Date }>(
    'select tip_asked_at as "askedAt" from chain_status where network = $1',
    [NETWORK],
  )
  expect(row?.askedAt.getTime()).toBeGreaterThanOrEqual(before - 1)
  expect(row?.askedAt.getTime()).toBeLessThanOrEqual(Date.now())
  expect(await findBlindness(shop.api, NETWORK, { silenceMs: 60_000, lagMs: 60_000 })).toBeUndefined()
  await shop.query(
    `alter table chain_status add constraint chain_status_times_finite check (isfinite(caught_up_at) and isfinite(tip_asked_at))`,
  )
})

test('a chain whose last stamp lies ahead of the clock, after a failover, may be taken back', async () => {
  await shop.test.forge(
    `update chain_status set tip_asked_at = now() + interval '1 minute', caught_up_at = now() + interval '1 minute'
     where network = $1`,
    [NETWORK],
  )
  await shop.test.writeAs('watcher', BY, 'update chain_status set caught_up_at = null where network = $1', [NETWORK])
  expect(
    await shop.query('select from chain_status where network = $1 and caught_up_at is null', [NETWORK]),
  ).toHaveLength(1)
})
