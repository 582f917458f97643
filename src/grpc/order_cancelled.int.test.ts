// A call that ends before its order is decided: the acceptor is told, and has none of it (src/db/accept/queue.ts).

import { randomUUID } from 'node:crypto'
import { expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer } from '../../test/support/front.ts'
import { until } from '../../test/support/until.ts'

test('a call of CreateOrder that is cancelled tells the acceptor so while the order waits', async () => {
  const database = await createTestDatabase()
  await putAddresses(database, 1)
  const waiting: (AbortSignal | undefined)[] = []
  const acceptor = {
    accept: (_order: unknown, signal?: AbortSignal) => {
      waiting.push(signal)
      return new Promise<never>(() => undefined)
    },
  }
  const front = await createTestFront(database, { deps: { acceptor } })
  const { productId, unitPrice } = await putProduct(database)
  const ending = new AbortController()
  const call = front.as(customer(7)).order.createOrder(
    {
      idempotencyKey: randomUUID(),
      userId: 7n,
      lines: [{ productId, quantity: 1, expectedUnitPrice: unitPrice }],
      asset: 'ETH',
      shippingAddress: 'Canary Wharf 7',
    },
    { signal: ending.signal },
  )
  const ended = call.catch(() => 'ended')
  await until(() => waiting.length === 1)
  expect(waiting[0]?.aborted).toBe(false)
  ending.abort()
  expect(await ended).toBe('ended')
  await until(() => waiting[0]?.aborted)
  await front.stop()
  await database.drop()
})
