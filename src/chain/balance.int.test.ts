import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { putOrder } from '../../test/support/builder.ts'
import { HOUR_MS, minePayment, openStage, statesOf, type Scene, type Stage } from '../../test/support/chain_scene.ts'
import { findDueAddresses } from '../db/chain/balance.ts'
import { attributeBalance } from '../db/chain/operation.ts'
import { ChainError } from './client.ts'

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(async () => {
  await stage.close()
})

const balancesOf = (scene: Scene) =>
  stage.query<{ balance: string; told: string; unexplained: string; isOpen: boolean }>(
    `select balance::text, told::text, unexplained::text, attributed_at is null as "isOpen"
     from chain_balance where network = $1 and balance > 0`,
    [scene.network],
  )
const [FIRST_MS, SECOND_MS] = [60_000, 120_000]
/** The end of the window of all orders in the scene, by the chain's clock. */
const endOrdersAt = (scene: Scene, at: Date) =>
  stage.query(
    `with ended as (
       update invoice set created_at = $2::timestamptz - interval '1 hour', expires_at = $2::timestamptz - grace
       where network = $1 returning order_id)
     update reservation r set expires_at = $2 from ended e where r.order_id = e.order_id`,
    [scene.network, at],
  )

test('money that no transfer shows is recorded with its block, alarmed, and not reported as a payment', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  scene.chain.mine()
  scene.chain.sendInside(scene.addresses[0] ?? '', 7n)
  await scene.step()
  expect(await balancesOf(scene)).toEqual([{ balance: '7', told: '0', unexplained: '7', isOpen: true }])
  expect(await scene.count('holdfast_chain_unexplained')).toBe(1)
  expect(scene.log).toMatchObject([{ msg: 'an address holds money that nothing explains', height: 1, amount: '7' }])
  expect(statesOf(scene)).toEqual([])
})

test('what transfers explain is not recorded as unexplained', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  minePayment(scene, 5n)
  minePayment(scene, 6n)
  await scene.step()
  expect(await balancesOf(scene)).toEqual([{ balance: '11', told: '11', unexplained: '0', isOpen: true }])
})

test('while a report waits, nothing is compared and nothing is vouched for', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  minePayment(scene, 5n)
  await scene.step({ fates: ['lost'] })
  expect(await balancesOf(scene)).toEqual([])
  expect((await scene.status())?.caughtUpAt).toBeNull()
})

test('nothing is vouched for past an order whose balance could not be looked at', async () => {
  const at = Date.now() - HOUR_MS
  const times = [at, at + FIRST_MS, at + SECOND_MS].map((time) => new Date(time))
  const scene = await stage.openScene({ startHeight: 0, minedAt: (height) => times[height] ?? new Date() })
  await scene.step()
  await endOrdersAt(scene, new Date(at + FIRST_MS))
  scene.chain.mine()
  scene.chain.mine()
  const { findBalances } = scene.client
  scene.client.findBalances = async () => {
    throw new ChainError('eth_getBalance: the node refused')
  }
  await expect(scene.step()).rejects.toThrow('eth_getBalance')
  expect((await scene.status())?.caughtUpAt).toEqual(times[0])
  scene.client.findBalances = findBalances
  await scene.step()
  expect((await scene.status())?.caughtUpAt).toEqual(times[2])
})

test('an order is looked at once more after a reorganisation of the block its balance was read at', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  scene.chain.mine()
  scene.chain.mine()
  scene.chain.sendInside(scene.addresses[0] ?? '', 7n)
  await scene.step()
  scene.chain.drop(1)
  scene.chain.mine()
  scene.chain.mine()
  await scene.step()
  expect(await balancesOf(scene)).toEqual([])
  expect(await scene.count('holdfast_chain_unexplained')).toBe(0)
})

const uncheckedIn = async (scene: Scene): Promise<number> => {
  const [row] = await stage.query<{ unchecked: number }>(
    `select count(*)::int as unchecked from invoice i
     join chain_status c on c.network = i.network and c.compares_balances
     left join chain_balance b on b.network = i.network and b.address = i.address
     where i.network = $1 and (b.checked_at > i.expires_at + i.grace) is not true`,
    [scene.network],
  )
  return row?.unchecked ?? Number.NaN
}
/** A scene whose only block is an hour old, and whose next ones are as far ahead of our clock as said. */
async function openAhead(aheadMs: readonly number[]): Promise<Scene> {
  const from = Date.now()
  const times = [from - HOUR_MS, ...aheadMs.map((ms) => from + ms)]
  const scene = await stage.openScene({ startHeight: 0, minedAt: (height) => new Date(times[height] ?? from) })
  await scene.step()
  return scene
}

test('many orders that end while the tip is ahead of our clock are all looked at before its time is vouched for', async () => {
  const scene = await openAhead([SECOND_MS])
  const [product] = await stage.query<{ id: string }>('select product_id as id from stock limit 1')
  const lines = [{ productId: product?.id ?? '', quantity: 1, unitPriceMinor: 1_250n }]
  for (let order = 0; order < 620; order += 1) await putOrder(stage, { network: scene.network, lines })
  await endOrdersAt(scene, new Date(Date.now() + FIRST_MS))
  scene.chain.mine()
  await scene.step()
  expect(await uncheckedIn(scene)).toBe(0)
  expect(await findDueAddresses(stage.database, scene.network, new Date(Date.now() + SECOND_MS), 1)).toEqual([])
})

test('an order that became due at a tip that was compared before is looked at with the next look', async () => {
  const scene = await openAhead([1_000])
  scene.chain.mine()
  await scene.step()
  expect(await uncheckedIn(scene)).toBe(scene.addresses.length)
  await endOrdersAt(scene, new Date(Date.now() - FIRST_MS))
  await stage.query('delete from chain_balance where network = $1', [scene.network])
  await scene.step()
  expect(await uncheckedIn(scene)).toBe(0)
})

test('an order whose hold was extended is looked at past the end of its hold', async () => {
  const scene = await openAhead([FIRST_MS, SECOND_MS])
  const until = new Date(Date.now() + FIRST_MS + 1)
  await endOrdersAt(scene, new Date(Date.now() - FIRST_MS))
  await stage.query(
    'update reservation r set expires_at = $2 from invoice i where i.order_id = r.order_id and i.network = $1',
    [scene.network, until],
  )
  for (const isPast of [false, true]) {
    scene.chain.mine()
    await scene.step()
    const late = await stage.query('select from chain_balance where network = $1 and checked_at > $2', [
      scene.network,
      until,
    ])
    expect(late).toHaveLength(isPast ? scene.addresses.length : 0)
  }
})

test('an order without a hold is looked at past its end as well', async () => {
  const scene = await openAhead([1_000])
  await endOrdersAt(scene, new Date(Date.now() - FIRST_MS))
  await stage.query(
    `update reservation r set state = 'released' from invoice i where i.order_id = r.order_id and i.network = $1`,
    [scene.network],
  )
  scene.chain.mine()
  await scene.step()
  expect(await uncheckedIn(scene)).toBe(0)
})

test('orders whose look was in a block that is lost are to be looked at again before they expire', async () => {
  const at = Date.now() - HOUR_MS
  const scene = await stage.openScene({ startHeight: 0, minedAt: (height) => new Date(at + height * FIRST_MS) })
  await scene.step()
  await endOrdersAt(scene, new Date(at + FIRST_MS))
  scene.chain.mine()
  scene.chain.mine()
  await scene.step()
  expect(await uncheckedIn(scene)).toBe(0)
  scene.chain.drop(1)
  scene.chain.mine()
  const { findBalances } = scene.client
  scene.client.findBalances = async () => {
    throw new ChainError('eth_getBalance: the node refused')
  }
  await expect(scene.step()).rejects.toThrow('eth_getBalance')
  expect(await uncheckedIn(scene)).toBe(scene.addresses.length)
  scene.client.findBalances = findBalances
  await scene.step()
  expect(await uncheckedIn(scene)).toBe(0)
})

test('money that grows is as late as its latest part, and each growth is told of', async () => {
  const from = Date.now() - 2 * HOUR_MS
  const scene = await stage.openScene({ startHeight: 0, minedAt: (height) => new Date(from + height * FIRST_MS) })
  const [address = ''] = scene.addresses
  scene.chain.mine()
  scene.chain.sendInside(address, 1n)
  await scene.step()
  for (let block = 0; block < 6; block += 1) scene.chain.mine()
  scene.chain.sendInside(address, 1_000_000n)
  await scene.step()
  expect(await attributeBalance(stage.database, scene.network, address, { operator: 'ann', reason: 'a wallet' })).toBe(
    'done',
  )
  await scene.step()
  expect(scene.delivered.map(({ amount, firstSeenAt }) => [amount, firstSeenAt])).toEqual([
    [1_000_001n, new Date(from + 7 * FIRST_MS)],
  ])
  expect(scene.log.filter(({ msg }) => msg === 'an address holds money that nothing explains')).toMatchObject([
    { height: 1, amount: '1' },
    { height: 7, amount: '1000001' },
  ])
})
