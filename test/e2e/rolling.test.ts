// Rolling restart: two api processes are stopped and started in turn, again and again, while callers with the published
// client create orders, read them and watch them. Callers do nothing but call: the client's own retries are all.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { MAX_RECONNECT_MS } from '../../src/grpc/client.ts'
import { count } from '../support/scale.ts'
import { startTestStack, type TestStack } from '../support/stack.ts'

const ROUNDS = count(3, 30)
const CALLERS = 8
/**
 * How long a stopping api says NOT_SERVING and still answers. Longer than a client may take to connect again to the api
 * that was restarted just before.
 */
const DRAIN_MS = MAX_RECONNECT_MS + 700

let stack: TestStack

beforeAll(async () => {
  stack = await startTestStack({ HOLDFAST_DRAIN_MS: String(DRAIN_MS), HOLDFAST_POOL_TARGET: '4096' }, { apis: 2 })
  await stack.putProduct('lamp', 1_000_000)
}, 240_000)
afterAll(() => stack.stop(), 120_000)

test('two apis restarted in turn under load fail no call of the published client', async () => {
  const failures: string[] = []
  let calls = 0
  let isOver = false

  /** One customer: orders, reads and lists until the restarts are over. */
  async function call(userId: number): Promise<void> {
    const customer = stack.as('customer', String(userId))
    const attempt = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
      calls += 1
      return work().catch((error: unknown) => {
        failures.push(`${what}: ${String(error)}`)
        return undefined
      })
    }
    while (!isOver) {
      const order = await attempt('create', () => stack.createOrder(customer, userId, { lamp: 1 }, randomUUID()))
      if (order === undefined) continue
      await attempt('get', () => customer.order.getOrder({ orderId: order.orderId }))
      await attempt('list', () => customer.order.listOrders({ userId: BigInt(userId), limit: 5 }))
    }
  }

  const callers = Array.from({ length: CALLERS }, (_, index) => call(index + 1))
  const perRestart: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const name of ['api', 'api-2']) {
      const before = calls
      const part = stack.parts.get(name)
      await part?.stop()
      await part?.start()
      perRestart.push(calls - before)
    }
  }
  isOver = true
  await Promise.all(callers)
  expect(failures).toEqual([])
  // The load went on during every restart.
  expect(Math.min(...perRestart)).toBeGreaterThan(10)
}, 600_000)
