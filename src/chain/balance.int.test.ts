import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { putOrder } from '../../test/support/builder.ts'
import {
  HOUR_MS,
  minePayment,
  openWatcherFixture,
  statesOf,
  type WatcherHarness,
  type WatcherFixture,
} from '../../test/support/watcher_fixture.ts'
import { findDueAddresses } from '../db/chain/balance.ts'
import { attributeBalance } from '../db/chain/operation.ts'
import { ChainError } from './client.ts'

let fixture: WatcherFixture
beforeAll(async () => {
  fixture = await openWatcherFixture()
})
afterAll(async () => {
  await fixture.close()
})

const balancesOf = (harness: WatcherHarness) =>
  fixture.query<{ balance: string; told: string; unexplained: string; isOpen: boolean }>(
    `select balance::text, told::text, unexplained::text, attributed_at is null as "isOpen"
     from chain_balance where network = $1 and balance > 0`,
    [harness.network],
  )
const [FIRST_MS, SECOND_MS] = [60_000, 120_000]
/** The end of the window of all orders in the harness, by the chain's clock. */
const endOrdersAt = (harness: WatcherHarness, at: Date) =>
  fixture.query(
    `with ended as (
       update invoice set created_at = $2::timestamptz - interval '1 hour', expires_at = $2::timestamptz - grace
       where network = $1 returning order_id)
     update reservation r set expires_at = $2 from ended e where r.order_id = e.order_id`,
    [harness.network, at],
  )

test('money that no transfer shows is recorded with its block, alarmed, and not reported as a payment', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  harness.chain.mine()
  harness.chain.sendInside(harness.addresses[0] ?? '', 7n)
  await harness.step()
  expect(await balancesOf(harness)).toEqual([{ balance: '7', told: '0', unexplained: '7', isOpen: true }])
  expect(await harness.count('holdfast_chain_unexplained')).toBe(1)
  expect(harness.log).toMatchObject([{ msg: 'an address holds money that nothing explains', height: 1, amount: '7' }])
  expect(statesOf(harness)).toEqual([])
})

test('what transfers explain is not recorded as unexplained', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness, 5n)
  minePayment(harness, 6n)
  await harness.step()
  expect(await balancesOf(harness)).toEqual([{ balance: '11', told: '11', unexplained: '0', isOpen: true }])
})

test('while a report waits, nothing is compared and nothing is vouched for', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness, 5n)
  await harness.step({ fates: ['lost'] })
  expect(await balancesOf(harness)).toEqual([])
  expect((await harness.status())?.caughtUpAt).toBeNull()
})

test('nothing is vouched for past an order whose balance could not be looked at', async () => {
  const at = Date.now() - HOUR_MS
  const times = [at, at + FIRST_MS, at + SECOND_MS].map((time) => new Date(time))
  const harness = await fixture.createHarness({ startHeight: 0, minedAt: (height) => times[height] ?? new Date() })
  await harness.step()
  await endOrdersAt(harness, new Date(at + FIRST_MS))
  harness.chain.mine()
  harness.chain.mine()
  const { findBalances } = harness.client
  harness.client.findBalances = async () => {
    throw new ChainError('eth_getBalance: the node refused')
  }
  await expect(harness.step()).rejects.toThrow('eth_getBalance')
  expect((await harness.status())?.caughtUpAt).toEqual(times[0])
  harness.client.findBalances = findBalances
  await harness.step()
  expect((await harness.status())?.caughtUpAt).toEqual(times[2])
})

test('an order is looked at once more after a reorganisation of the block its balance was read at', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  harness.chain.mine()
  harness.chain.mine()
  harness.chain.sendInside(harness.addresses[0] ?? '', 7n)
  await harness.step()
  harness.chain.drop(1)
  harness.chain.mine()
  harness.chain.mine()
  await harness.step()
  expect(await balancesOf(harness)).toEqual([])
  expect(await harness.count('holdfast_chain_unexplained')).toBe(0)
})

const uncheckedIn = async (harness: WatcherHarness): Promise<number> => {
  const [row] = await fixture.query<{ unchecked: number }>(
    `select count(*)::int as unchecked from invoice i
     join chain_status c on c.network = i.network and c.compares_balances
     left join chain_balance b on b.network = i.network and b.address = i.address
     where i.network = $1 and (b.checked_at > i.expires_at + i.grace) is not true`,
    [harness.network],
  )
  return row?.unchecked ?? Number.NaN
}
/** A harness whose only block is an hour old, and whose next ones are as far ahead of our clock as said. */
async function openAhead(aheadMs: readonly number[]): Promise<WatcherHarness> {
  const from = Date.now()
  const times = [from - HOUR_MS, ...aheadMs.map((ms) => from + ms)]
  const harness = await fixture.createHarness({ startHeight: 0, minedAt: (height) => new Date(times[height] ?? from) })
  await harness.step()
  return harness
}

test('many orders that end while the tip is ahead of our clock are all looked at before its time is vouched for', async () => {
  const harness = await openAhead([SECOND_MS])
  const [product] = await fixture.query<{ id: string }>('select product_id as id from stock limit 1')
  const lines = [{ productId: product?.id ?? '', quantity: 1, unitPriceMinor: 1_250n }]
  for (let order = 0; order < 620; order += 1) await putOrder(fixture, { network: harness.network, lines })
  await endOrdersAt(harness, new Date(Date.now() + FIRST_MS))
  harness.chain.mine()
  await harness.step()
  expect(await uncheckedIn(harness)).toBe(0)
  expect(await findDueAddresses(fixture.database, harness.network, new Date(Date.now() + SECOND_MS), 1)).toEqual([])
})

test('an order that became due at a tip that was compared before is looked at with the next look', async () => {
  const harness = await openAhead([1_000])
  harness.chain.mine()
  await harness.step()
  expect(await uncheckedIn(harness)).toBe(harness.addresses.length)
  await endOrdersAt(harness, new Date(Date.now() - FIRST_MS))
  await fixture.query('delete from chain_balance where network = $1', [harness.network])
  await harness.step()
  expect(await uncheckedIn(harness)).toBe(0)
})

test('an order whose hold was extended is looked at past the end of its hold', async () => {
  const harness = await openAhead([FIRST_MS, SECOND_MS])
  const until = new Date(Date.now() + FIRST_MS + 1)
  await endOrdersAt(harness, new Date(Date.now() - FIRST_MS))
  await fixture.query(
    'update reservation r set expires_at = $2 from invoice i where i.order_id = r.order_id and i.network = $1',
    [harness.network, until],
  )
  for (const isPast of [false, true]) {
    harness.chain.mine()
    await harness.step()
    const late = await fixture.query('select from chain_balance where network = $1 and checked_at > $2', [
      harness.network,
      until,
    ])
    expect(late).toHaveLength(isPast ? harness.addresses.length : 0)
  }
})

test('an order without a hold is looked at past its end as well', async () => {
  const harness = await openAhead([1_000])
  await endOrdersAt(harness, new Date(Date.now() - FIRST_MS))
  await fixture.query(
    `update reservation r set state = 'released' from invoice i where i.order_id = r.order_id and i.network = $1`,
    [harness.network],
  )
  harness.chain.mine()
  await harness.step()
  expect(await uncheckedIn(harness)).toBe(0)
})

test('orders whose look was in a block that is lost are to be looked at again before they expire', async () => {
  const at = Date.now() - HOUR_MS
  const harness = await fixture.createHarness({ startHeight: 0, minedAt: (height) => new Date(at + height * FIRST_MS) })
  await harness.step()
  await endOrdersAt(harness, new Date(at + FIRST_MS))
  harness.chain.mine()
  harness.chain.mine()
  await harness.step()
  expect(await uncheckedIn(harness)).toBe(0)
  harness.chain.drop(1)
  harness.chain.mine()
  const { findBalances } = harness.client
  harness.client.findBalances = async () => {
    throw new ChainError('eth_getBalance: the node refused')
  }
  await expect(harness.step()).rejects.toThrow('eth_getBalance')
  expect(await uncheckedIn(harness)).toBe(harness.addresses.length)
  harness.client.findBalances = findBalances
  await harness.step()
  expect(await uncheckedIn(harness)).toBe(0)
})

test('money that grows is as late as its latest part, and each growth is told of', async () => {
  const from = Date.now() - 2 * HOUR_MS
  const harness = await fixture.createHarness({
    startHeight: 0,
    minedAt: (height) => new Date(from + height * FIRST_MS),
  })
  const [address = ''] = harness.addresses
  harness.chain.mine()
  harness.chain.sendInside(address, 1n)
  await harness.step()
  for (let block = 0; block < 6; block += 1) harness.chain.mine()
  harness.chain.sendInside(address, 1_000_000n)
  await harness.step()
  expect(
    await attributeBalance(fixture.database, harness.network, address, { operator: 'ann', reason: 'a wallet' }),
  ).toBe('done')
  await harness.step()
  expect(harness.delivered.map(({ amount, firstSeenAt }) => [amount, firstSeenAt])).toEqual([
    [1_000_001n, new Date(from + 7 * FIRST_MS)],
  ])
  expect(harness.log.filter(({ msg }) => msg === 'an address holds money that nothing explains')).toMatchObject([
    { height: 1, amount: '1' },
    { height: 7, amount: '1000001' },
  ])
})
