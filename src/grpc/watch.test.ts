import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import type { Statement } from '../db/connection/pool.ts'
import { createOrderWatch } from './watch.ts'

type Row = { order_id: string; version: bigint; status: string }

/** A database of orders by id that counts how often it is asked. */
function buildWatch() {
  const orders = new Map<string, Row>()
  const state = { asked: 0, failure: undefined as Error | undefined }
  const watch = createOrderWatch({
    run: async <T>(_statement: Statement, values: readonly unknown[] = []) => {
      state.asked += 1
      if (state.failure !== undefined) throw state.failure
      const [ids, versions] = values as [string[], string[]]
      return ids.flatMap((id, at) => {
        const order = orders.get(id)
        return order !== undefined && order.version > BigInt(versions[at] ?? 0) ? [order] : []
      }) as T[]
    },
  })
  const move = (orderId: string, version: bigint, status = 'pending') =>
    orders.set(orderId, { order_id: orderId, version, status })
  return { watch, move, state }
}
const tick = () => jest.advanceTimersByTimeAsync(500)

beforeEach(() => {
  jest.useFakeTimers()
})
afterEach(() => {
  jest.useRealTimers()
})

test('a follower hears of each later version once', async () => {
  const { watch, move } = buildWatch()
  const ending = new AbortController()
  const heard: bigint[] = []
  const done = (async () => {
    for await (const standing of watch.follow('a', 1n, ending.signal)) heard.push(standing.version)
  })()
  move('a', 1n)
  await tick()
  move('a', 2n)
  await tick()
  await tick()
  move('a', 4n)
  await tick()
  ending.abort()
  await done
  expect(heard).toEqual([2n, 4n])
})

test('any number of followers cost one look, and none costs none', async () => {
  const { watch, move, state } = buildWatch()
  move('a', 2n)
  move('b', 2n)
  const ending = new AbortController()
  const followers = ['a', 'a', 'b'].map((id) => watch.follow(id, 1n, ending.signal))
  const first = Promise.all(followers.map((follower) => follower.next()))
  await tick()
  expect((await first).map(({ value }) => value?.version)).toEqual([2n, 2n, 2n])
  expect(state.asked).toBe(1)
  await Promise.all(followers.map((follower) => follower.return(undefined)))
  await tick()
  const asked = state.asked
  await tick()
  expect(state.asked).toBe(asked)
})

test('a slow reader gets the newest standing, not every one', async () => {
  const { watch, move } = buildWatch()
  const follower = watch.follow('a', 1n, new AbortController().signal)
  move('a', 2n)
  const first = follower.next()
  await tick()
  await first
  move('a', 3n)
  await tick()
  move('a', 4n)
  await tick()
  expect((await follower.next()).value?.version).toBe(4n)
  await follower.return(undefined)
})

test('followers are told when the database cannot be read', async () => {
  const { watch, state } = buildWatch()
  state.failure = new Error('down')
  const next = watch.follow('a', 1n, new AbortController().signal).next()
  const failed = expect(next).rejects.toThrow('down')
  await tick()
  await failed
})
