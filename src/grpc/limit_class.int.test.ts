// Every limit class has its limit, and every method its class.

import { once } from 'node:events'
import http2 from 'node:http2'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import {
  admin,
  createTestFront,
  customer,
  watcher,
  type Caller,
  type TestFront,
  fulfilment,
} from '../../test/support/front.ts'
import { callRaw } from '../../test/support/raw_call.ts'
import { DEFAULT_BUDGETS, LIMIT_CLASSES, type LimitClass } from '../domain/limit.ts'
import { LIMIT_CLASS } from './limit_class.ts'
import { METHODS } from './method.ts'

const EMPTY = Buffer.alloc(0)
const REFUSED = 'RESOURCE_EXHAUSTED'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

const open: TestFront[] = []
afterAll(async () => {
  for (const front of open) await front.stop()
})
async function frontOf(options: Parameters<typeof createTestFront>[1]): Promise<TestFront> {
  const front = await createTestFront(database, options)
  open.push(front)
  return front
}

/** One method and one caller of each class. */
const EXAMPLES: Readonly<Record<LimitClass, readonly [string, Caller]>> = {
  health: ['/grpc.health.v1.Health/Check', customer(1)],
  read: ['/holdfast.v1.OrderService/GetOrder', customer(1)],
  list: ['/holdfast.v1.OrderService/ListOrders', customer(1)],
  watch: ['/holdfast.v1.OrderService/WatchOrder', customer(1)],
  order: ['/holdfast.v1.OrderService/CreateOrder', customer(1)],
  command: ['/holdfast.v1.OrderService/CancelOrder', customer(1)],
  ship: ['/holdfast.v1.FulfilmentService/MarkShipped', fulfilment],
  report: ['/holdfast.v1.PaymentService/ReportPayments', watcher],
  admin: ['/holdfast.v1.StockAdminService/AdjustStock', admin],
}

/** Calls one after the other, with a body that no handler accepts. @returns the codes */
async function burst(front: TestFront, limitClass: LimitClass, times: number): Promise<string[]> {
  const [path, caller] = EXAMPLES[limitClass]
  const header = ['authorization', `Bearer ${await front.tokenOf(caller)}`] as const
  const address = limitClass === 'admin' ? front.adminAddress : front.address
  const codes = []
  for (let at = 0; at < times; at += 1) codes.push((await callRaw(address, path, EMPTY, [header])).code)
  return codes
}

test('every method has a class, and every class a method', () => {
  expect(Object.keys(LIMIT_CLASS).toSorted()).toEqual(METHODS.map(({ path }) => path).toSorted())
  expect(new Set(Object.values(LIMIT_CLASS))).toEqual(new Set(LIMIT_CLASSES))
})

test.each(LIMIT_CLASSES)(
  'a burst of the class %s ends at its budget, and the other classes are not touched',
  async (of) => {
    const front = await frontOf({ budgets: { ...DEFAULT_BUDGETS, [of]: { user: 3, address: 3, atOnce: 10 } } })
    const codes = await burst(front, of, 5)
    expect(codes.map((code) => code === REFUSED)).toEqual([false, false, false, true, true])
    const other = of === 'list' ? 'read' : 'list'
    expect(await burst(front, other, 1)).not.toContain(REFUSED)
  },
)

describe('payment reports', () => {
  test('the eleventh of a minute is refused, across two api processes', async () => {
    const fronts = [await frontOf({ budgets: DEFAULT_BUDGETS }), await frontOf({ budgets: DEFAULT_BUDGETS })]
    await database.query('delete from quota_window')
    const codes = []
    for (let at = 0; at < 12; at += 1) {
      const front = fronts[at % 2]
      if (front !== undefined) codes.push(...(await burst(front, 'report', 1)))
    }
    expect(codes.map((code) => code === REFUSED)).toEqual([...Array.from({ length: 10 }, () => false), true, true])
  })

  test('of a source with a limit of its own are counted by that one', async () => {
    const front = await frontOf({
      budgets: DEFAULT_BUDGETS,
      deps: { reportBudgetOf: (source) => (source === 'watcher-1' ? 13 : undefined) },
    })
    await database.query('delete from quota_window')
    expect((await burst(front, 'report', 15)).filter((code) => code !== REFUSED)).toHaveLength(13)
  })
})

test('a call without a body ends at its default deadline, with or without a token', async () => {
  const front = await frontOf({})
  const token = await front.tokenOf(customer(1))
  const session = http2.connect(`http://${front.address}`)
  const answers = await Promise.all(
    [
      { ':path': '/grpc.health.v1.Health/Check' },
      { ':path': '/holdfast.v1.OrderService/ListOrders', authorization: `Bearer ${token}` },
    ].map(async (headers) => {
      const common = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' }
      const stream = session.request({ ...common, ...headers }, { endStream: false })
      stream.resume()
      const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
      return answer['grpc-status']
    }),
  )
  session.destroy()
  // DEADLINE_EXCEEDED
  expect(answers).toEqual(['4', '4'])
})
