// The steps of an order: what each changes, how often, and when it changes nothing.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { buildLine } from '../../test/support/builder.ts'
import { callConcurrently } from '../../test/support/concurrent.ts'
import { findViolations } from '../../test/support/invariant.ts'
import {
  buildCommand,
  buildObservation,
  createTestShop,
  forgetHold,
  runOf,
  SHIP,
  type TestShop,
} from '../../test/support/shop.ts'
import type { Fence } from '../domain/command.ts'
import type { OrderState } from '../domain/order.ts'
import type { AcceptedOrder } from './accept/accept.ts'
import { expireOrder, getOrderState, releaseStock, reserveStock, runCommand } from './order.ts'
import { assessPayments, recordReport } from './payment.ts'

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterEach(async () => {
  expect(await findViolations(shop.test)).toEqual([])
})
afterAll(() => shop.close())

const fenceOf = async ({ orderId }: AcceptedOrder) =>
  (await shop.query('select generation, step from orders where order_id = $1', [orderId]))[0]

const STEPS: Readonly<Record<string, (fence: Fence) => Promise<unknown>>> = {
  reserveStock: (fence) => reserveStock(shop.worker, fence),
  assessPayments: (fence) => assessPayments(shop.worker, fence),
  expireOrder: (fence) => expireOrder(shop.worker, fence),
  releaseStock: (fence) => releaseStock(shop.worker, fence),
  'runCommand cancel': (fence) => shop.ask('cancel', fence),
}

describe('the fence', () => {
  test.each(Object.keys(STEPS))(
    'refuses %s of a run that a later one has replaced, which changes nothing',
    async (name) => {
      const order = await shop.order()
      await reserveStock(shop.worker, { orderId: order.orderId, generation: 2, step: 1 })
      const before = await shop.snapshot(order)
      await expect(STEPS[name]?.({ orderId: order.orderId, generation: 1, step: 9 })).rejects.toMatchObject({
        reason: 'STALE_RUN',
      })
      expect(await shop.snapshot(order)).toEqual(before)
      expect(await fenceOf(order)).toEqual({ generation: 2, step: 1 })
    },
  )

  test.each(Object.keys(STEPS))(
    'answers %s with the present state when its step was finished before, and changes nothing',
    async (name) => {
      const order = await shop.order()
      await recordReport(shop.api, 'w1', [buildObservation(order, { amount: 1n })])
      await reserveStock(shop.worker, { orderId: order.orderId, generation: 1, step: 5 })
      const before = await shop.snapshot(order)
      for (const step of [5, 4, 1]) {
        const answer = await STEPS[name]?.({ orderId: order.orderId, generation: 1, step })
        const state = name === 'runCommand cancel' ? (answer as { state: OrderState }).state : (answer as OrderState)
        expect({ ...state, expiresInMs: 0 }).toEqual({ ...before.state, stepReached: 5 })
      }
      expect(await shop.snapshot(order)).toEqual(before)
    },
  )

  test('lets a later run go on where the one before ended', async () => {
    const { order } = await shop.orderIn('processing')
    expect(await shop.ask('ship', { orderId: order.orderId, generation: 2, step: 1 })).toMatchObject({ ok: true })
    expect(await fenceOf(order)).toEqual({ generation: 2, step: 1 })
  })

  test('lets many attempts of one step at once have one effect', async () => {
    const { order, run } = await shop.orderIn('processing')
    const fence = run.next()
    const asked = buildCommand(SHIP)
    const answers = await callConcurrently(20, () => runCommand(shop.worker, fence, 'ship', asked))
    for (const answer of answers)
      expect(answer).toMatchObject({ ok: true, state: { status: 'shipped', reservation: 'consumed' } })
    expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
  })

  test.each(Object.keys(STEPS))('has nothing to hold for %s of an order there is not', async (name) => {
    const orderId = '00000000-0000-8000-8000-000000000000'
    await expect(STEPS[name]?.({ orderId, generation: 1, step: 1 })).rejects.toMatchObject({ reason: 'NOT_FOUND' })
    await expect(getOrderState(shop.worker, orderId)).rejects.toMatchObject({ reason: 'NOT_FOUND' })
  })
})

describe('reserveStock', () => {
  test('confirms the hold taken with the order', async () => {
    const order = await shop.order()
    expect(await reserveStock(shop.worker, runOf(order).next())).toMatchObject({
      status: 'pending',
      reservation: 'held',
      version: 1,
    })
    expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 2n })
  })

  test('takes stock for an order that never held any', async () => {
    const order = await shop.order()
    await forgetHold(shop, order)
    expect(await reserveStock(shop.worker, runOf(order).next())).toMatchObject({ reservation: 'held' })
    expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 2n })
  })

  test('comes before the money of an order that never held any', async () => {
    const order = await shop.order()
    const run = runOf(order)
    await forgetHold(shop, order)
    await recordReport(shop.api, 'w1', [buildObservation(order)])
    expect(await assessPayments(shop.worker, run.next())).toMatchObject({
      status: 'pending',
      paymentState: 'awaiting',
      reservation: 'none',
      hasUnassessed: true,
    })
    expect(await reserveStock(shop.worker, run.next())).toMatchObject({ reservation: 'held' })
    expect(await assessPayments(shop.worker, run.next())).toMatchObject({
      status: 'processing',
      reservation: 'committed',
    })
  })

  test('takes all of it or nothing', async () => {
    const [plenty, scarce] = [await shop.product(), await shop.product({ onHand: 3n })]
    const lines = [plenty, scarce].map(({ productId }) => buildLine({ productId, quantity: 2 }))
    const order = await shop.order({ lines })
    await forgetHold(shop, order)
    await shop.order({ lines: [buildLine({ productId: scarce.productId, quantity: 2 })] })
    expect(await reserveStock(shop.worker, runOf(order).next())).toMatchObject({
      status: 'pending',
      reservation: 'none',
    })
    expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 0n })
  })

  test('never takes any again for an order that gave its hold back', async () => {
    const { order } = await shop.orderIn('cancelled')
    const state = await reserveStock(shop.worker, { orderId: order.orderId, generation: 2, step: 1 })
    expect(state).toMatchObject({ status: 'cancelled', reservation: 'released' })
    expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 0n })
  })
})

describe('the version of an order', () => {
  test('moves with what a reader can see, and with nothing else', async () => {
    const order = await shop.order()
    const run = runOf(order)
    const versions = [(await reserveStock(shop.worker, run.next())).version]
    versions.push((await assessPayments(shop.worker, run.next())).version)
    await recordReport(shop.api, 'w1', [buildObservation(order, { amount: 1n })])
    versions.push((await assessPayments(shop.worker, run.next())).version)
    versions.push((await assessPayments(shop.worker, run.next())).version)
    await recordReport(shop.api, 'w1', [buildObservation(order)])
    versions.push((await assessPayments(shop.worker, run.next())).version)
    versions.push((await shop.ask('ship', run.next())).state.version)
    versions.push((await shop.ask('ship', run.next())).state.version)
    versions.push((await shop.ask('deliver', run.next())).state.version)
    expect(versions).toEqual([1, 1, 2, 2, 3, 4, 4, 5])
  })
})
