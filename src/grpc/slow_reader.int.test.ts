// A client that opens a stream and does not read it costs the server a bounded piece of memory.

import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { findChangedOrders, type OrderSnapshot } from '../db/read.ts'
import { PUBLIC_SERVICES } from './method.ts'

/** Whose orders the builder makes. */
const OWNER = 7
const READERS = 40
/** TH-20. */
const MAX_BYTES_PER_READER = 1_000_000
const { path, requestSerialize } = PUBLIC_SERVICES.order.watchOrder
const PREFIX_BYTES = 5

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

let shop: TestShop
let front: TestFront
/** How often each stream was asked for its next message. */
let pulled = 0
let snapshot: OrderSnapshot
const sessions: ClientHttp2Session[] = []

beforeAll(async () => {
  shop = await createTestShop()
  front = await createTestFront(shop.test, {
    deps: {
      watch: {
        // A server that always has news: only the client's reading could hold it back.
        follow: async function* (_orderId, _version, signal) {
          while (!signal.aborted) {
            pulled += 1
            yield snapshot
          }
        },
      },
    },
  })
})
afterAll(async () => {
  for (const session of sessions) session.destroy()
  await front.stop()
  await shop.close()
})

const bytesInUse = (): number => {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Opens a stream with a window of no bytes: the server may send headers and nothing else. */
async function openUnread(orderId: string, token: string): Promise<ClientHttp2Stream> {
  const session = connect(`http://${front.address}`, { settings: { initialWindowSize: 0 } })
  sessions.push(session)
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: path,
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${token}`,
  })
  stream.on('error', () => undefined)
  const body = requestSerialize({ orderId, afterVersion: undefined })
  const prefix = Buffer.alloc(PREFIX_BYTES)
  prefix.writeUInt32BE(body.length, 1)
  stream.end(Buffer.concat([prefix, body]))
  await new Promise((resolve) => stream.once('response', resolve))
  return stream
}

test('a reader who does not read costs less than a megabyte, however much there is to send', async () => {
  const order = await shop.order()
  const [found] = await findChangedOrders(front.database, [{ orderId: order.orderId, version: 0n }])
  if (found === undefined) throw new Error('no snapshot')
  snapshot = found
  const token = await front.tokenOf(customer(OWNER))
  const before = bytesInUse()
  for (let reader = 0; reader < READERS; reader += 1) await openUnread(order.orderId, token)
  await until(() => pulled >= READERS)
  let last = -1
  // All of them wait for their clients once no more is taken.
  await until(() => {
    const isStill = pulled === last
    last = pulled
    return isStill
  })
  expect((bytesInUse() - before) / READERS).toBeLessThan(MAX_BYTES_PER_READER)
  expect(pulled / READERS).toBeLessThan(1_000)
}, 120_000)
