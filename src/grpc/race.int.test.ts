// Callers who all read one version of an order and write at once, through the API: one of them does, the others are told
// that they came too late, and nothing of theirs is kept.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { status, type ServiceError } from '@grpc/grpc-js'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import { count, COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import { DomainError } from '../domain/failure.ts'
import { orderStatus } from './client.ts'

jest.setTimeout(COUNT_WITHIN_MS * 2)

const CALLERS = 6
const ROUNDS = count(50, 1_000)
/** Each has an order and a workflow of its own. */
const ENDINGS = count(12, 200)
const LATE = 'ABORTED VERSION_MISMATCH'

let database: TestDatabase
let worker: TestWorker
let front: TestFront
let product: TestProduct
let me: ReturnType<TestFront['as']>['order']

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 1 + ENDINGS)
  worker = await createTestWorker(database)
  await worker.run()
  front = await createTestFront(database, { engine: worker.client })
  product = await putProduct(database, { onHand: 10_000n })
  me = front.as(customer(1)).order
}, COUNT_WITHIN_MS)
afterAll(async () => {
  await front.stop()
  await worker.stop()
  await database.drop()
})

async function create(): Promise<string> {
  const lines = [{ productId: product.productId, quantity: 1, expectedUnitPrice: product.unitPrice }]
  const order = { idempotencyKey: randomUUID(), userId: 1n, lines, asset: 'ETH', shippingAddress: 'Quay 0' }
  return (await me.createOrder(order)).orderId
}
const change = (orderId: string, expectedVersion: bigint, shippingAddress: string) =>
  me.updateShippingAddress({ idempotencyKey: randomUUID(), orderId, expectedVersion, shippingAddress })
const cancel = (orderId: string, expectedVersion: bigint) =>
  me.cancelOrder({ idempotencyKey: randomUUID(), orderId, expectedVersion })
const orderAt = async (orderId: string) => (await me.getOrder({ orderId, includeShippingAddress: true })).order

/** OK and the version that was made, or gRPC's code and our reason. */
const outcomeOf = (call: Promise<{ version: bigint }>): Promise<string> =>
  call.then(
    ({ version }) => `OK ${version}`,
    (error: unknown) => {
      if (!(error instanceof DomainError)) throw error
      return `${status[(error.cause as ServiceError).code]} ${error.reason}`
    },
  )
/** The one that was answered OK, with this version; all others came too late. */
function winnerOf(outcomes: readonly string[], version: bigint): number {
  const late = Array.from({ length: CALLERS - 1 }, () => LATE)
  expect(outcomes.toSorted()).toEqual([...late, `OK ${version}`])
  return outcomes.findIndex((outcome) => outcome !== LATE)
}

test('of many changes at once to one version of an order, in each round one is made and the others are ABORTED', async () => {
  const orderId = await create()
  for (let round = 1; round <= ROUNDS; round += 1) {
    const addresses = Array.from({ length: CALLERS }, (_, at) => `Quay ${round}, door ${at}`)
    const calls = addresses.map((address) => outcomeOf(change(orderId, BigInt(round), address)))
    const winner = winnerOf(await Promise.all(calls), BigInt(round + 1))
    expect((await orderAt(orderId))?.shippingAddress).toBe(addresses[winner])
  }
  expect((await orderAt(orderId))?.state?.version).toBe(BigInt(ROUNDS + 1))
})

test('of cancellations and changes at once to one version of an order, one is made and the others are ABORTED', async () => {
  const endings = new Set<string>()
  for (let round = 0; round < ENDINGS; round += 1) {
    const orderId = await create()
    // A change is quicker than a workflow, so each has rounds of its own besides those that they share.
    const cancels = [CALLERS, CALLERS / 2, 0][round % 3] ?? 0
    const calls = Array.from({ length: CALLERS }, (_, at) =>
      outcomeOf(at < cancels ? cancel(orderId, 1n) : change(orderId, 1n, 'Quay 1')),
    )
    const winner = winnerOf(await Promise.all(calls), 2n)
    const { state, shippingAddress } = (await orderAt(orderId)) ?? {}
    const ending = winner < cancels ? 'cancelled, Quay 0' : 'pending, Quay 1'
    expect(`${orderStatus.wordOf(state?.status ?? 0)}, ${shippingAddress}`).toBe(ending)
    expect(state?.version).toBe(2n)
    endings.add(ending)
  }
  expect(endings.size).toBe(2)
})
