import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { admin, createTestFront, type TestFront } from '../../../test/support/front.ts'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { loadConfig } from '../../config.ts'
import { createProgram } from './program.ts'

let shop: TestShop
let front: TestFront

beforeAll(async () => {
  shop = await createTestShop()
  front = await createTestFront(shop.test)
})
afterAll(async () => {
  await front.stop()
  await shop.close()
})

/** What a command prints. */
async function holdfast(...args: string[]): Promise<string> {
  const said: string[] = []
  const say = (text: string): void => void said.push(text)
  const shell = {
    config: loadConfig('cli', { HOLDFAST_TOKEN: await front.tokenOf(admin) }),
    write: say,
    complain: say,
    untilInterrupted: () => AbortSignal.any([]),
  }
  const door = ['--admin', front.adminAddress]
  await createProgram(shell).parseAsync([...args, ...door], { from: 'user' })
  return said.join('')
}

test('an operator sees what could not be told, has one of it told again, and then the rest', async () => {
  const orders = [await shop.order(), await shop.order(), await shop.order()]
  await shop.query(
    `update notification set dead_at = clock_timestamp(), dead_reason = 'the receiver answered 410', attempts = 30`,
  )
  const { notifications } = JSON.parse(await holdfast('notification', 'dead', '--json')) as {
    notifications: { id: number; orderId: string; status: string; reason: string }[]
  }
  expect(notifications.map(({ orderId }) => orderId)).toEqual(orders.map(({ orderId }) => orderId))
  expect(notifications[0]).toMatchObject({ status: 'pending', reason: 'the receiver answered 410' })
  const table = await holdfast('notification', 'dead', '--limit', '2')
  expect(table).toMatch(/^id +channel +orderId[\s\S]*the receiver answered 410[\s\S]*\nmore: --cursor \S+\n$/)

  const [first, second, third] = notifications.map(({ id }) => String(id))
  expect(await holdfast('notification', 'replay', second ?? '')).toBe(`again: ${second}\n`)
  expect(await holdfast('notification', 'replay', second ?? '')).toBe('none of them is dead\n')
  expect(await holdfast('notification', 'replay', '--all')).toBe(`again: ${first} ${third}\n`)
  expect(await holdfast('notification', 'dead')).toBe('(none)\n')
  await expect(holdfast('notification', 'replay')).rejects.toThrow('give either ids or --all')
})
