import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { HOUR_MS, minePayment, openStage, statesOf, type Scene, type Stage } from '../../test/support/chain_scene.ts'
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

test('what transfers explain is not recorded as unexplained, whatever order they come in', async () => {
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
