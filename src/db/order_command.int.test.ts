// Commands on an order: each takes effect once, and returns a reason when it is refused.

import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { buildLine } from '../../test/support/builder.ts'
import { findViolations } from '../../test/support/invariant.ts'
import { callConcurrently } from '../../test/support/concurrent.ts'
import { count, COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { buildCommand, buildObservation, createTestShop, SHIP, type TestShop } from '../../test/support/shop.ts'
import type { CommandInput } from '../domain/command.ts'
import type { DomainError } from '../domain/failure.ts'
import { COMMANDS, ORDER_STATUSES, OUTCOMES } from '../domain/order.ts'
import type { AcceptedOrder } from './accept/accept.ts'
import { changeAddress, releaseStock, runCommand } from './order.ts'
import { assessPayments, recordReport } from './payment.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterEach(async () => {
  expect(await findViolations(shop.test)).toEqual([])
})
afterAll(() => shop.close())

describe('every command in every status', () => {
  const cases = COMMANDS.flatMap((command) =>
    ORDER_STATUSES.map((status) => ({ command, status, outcome: OUTCOMES[status][command] })),
  )

  test.each(cases.filter(({ outcome }) => outcome === 'refused'))(
    '$command of a $status order is refused and changes nothing',
    async ({ command, status }) => {
      const { order, run } = await shop.orderIn(status)
      const before = await shop.snapshot(order)
      const answer = await shop.ask(command, run.next())
      expect(answer).toMatchObject({
        ok: false,
        reason: 'ORDER_STATUS',
        message: `An order that is ${status} cannot do this.`,
      })
      expect({ ...answer.state, expiresInMs: 0 }).toEqual(before.state)
      expect(await shop.snapshot(order)).toEqual(before)
    },
  )

  test.each(cases.filter(({ outcome }) => outcome !== 'refused'))(
    '$command of a $status order makes it $outcome, and the world is told',
    async ({ command, status, outcome }) => {
      const { order, run } = await shop.orderIn(status)
      const { state } = await shop.snapshot(order)
      expect(await shop.ask(command, run.next())).toMatchObject({
        ok: true,
        state: { status: outcome, version: state.version + 1 },
      })
      const [told] = await shop.query(
        'select status, order_version from notification where order_id = $1 order by 1 desc, notification_id desc limit 1',
        [order.orderId],
      )
      expect(told).toBeDefined()
      const last = await shop.query(
        'select status, order_version from notification where order_id = $1 order by notification_id desc limit 1',
        [order.orderId],
      )
      expect(last).toEqual([{ status: outcome, order_version: BigInt(state.version + 1) }])
    },
  )
})

describe('shipping', () => {
  test('waits for an inbox that may say the money is gone, and is then refused', async () => {
    const { order, run } = await shop.orderIn('processing')
    const [row] = await shop.query<{ txId: string }>('select tx_id as "txId" from payment where order_id = $1', [
      order.orderId,
    ])
    await recordReport(shop.api, 'w1', [buildObservation(order, { txId: row?.txId ?? '', seq: 2, state: 'reorged' })])
    expect(await shop.ask('ship', run.next())).toMatchObject({
      ok: false,
      reason: 'ENGINE_UNAVAILABLE',
      state: { status: 'processing', hasUnassessed: true },
    })
    expect(await assessPayments(shop.worker, run.next())).toMatchObject({ paymentState: 'at_risk', hold: 'payment' })
    expect(await shop.ask('ship', run.next())).toMatchObject({ ok: false, reason: 'ORDER_ON_HOLD' })
  })

  test('takes the units off the shelf', async () => {
    const { order, run } = await shop.orderIn('processing')
    await shop.ask('ship', run.next())
    expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
    const [move] = await shop.query(
      `select on_hand_delta, reserved_delta, actor from stock_movement where order_id = $1 and kind = 'consume'`,
      [order.orderId],
    )
    expect(move).toEqual({ on_hand_delta: -2n, reserved_delta: -2n, actor: 'user:9' })
  })

  test("needs nothing to be available: the units are the order's own", async () => {
    const { order, run } = await shop.orderIn('processing')
    const [{ productId } = { productId: '' }] = order.lines
    await shop.order({ lines: [buildLine({ productId, quantity: 8 })] })
    expect(await shop.ask('ship', run.next())).toMatchObject({ ok: true })
    expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 8n })
  })

  test('is refused while the order is held back, and possible afterwards', async () => {
    const { order, run } = await shop.orderIn('processing')
    await shop.query(`update orders set hold = 'manual' where order_id = $1`, [order.orderId])
    expect(await shop.ask('ship', run.next())).toMatchObject({ ok: false, reason: 'ORDER_ON_HOLD' })
    await shop.query(`update orders set hold = 'none' where order_id = $1`, [order.orderId])
    expect(await shop.ask('ship', run.next())).toMatchObject({ ok: true })
  })

  test('and cancelling at once has one winner, and the stock follows it', async () => {
    for (let round = 0; round < count(10, 500); round += 1) {
      const { order } = await shop.orderIn('processing')
      const { orderId } = order
      const answers = await Promise.all([
        shop.ask('ship', { orderId, generation: 1, step: 10 + (round % 2) }),
        shop.ask('cancel', { orderId, generation: 1, step: 11 - (round % 2) }),
      ])
      const { status } = await shop.state(order)
      expect(await shop.stock(order)).toEqual({ onHand: status === 'shipped' ? 8n : 10n, reserved: 0n })
      expect(answers.filter(({ ok }) => ok).length).toBeGreaterThan(0)
    }
  })
})

describe('cancelling', () => {
  test("gives an unpaid order's units back, once, and retires its address", async () => {
    const { order, run } = await shop.orderIn('pending')
    for (let repeat = 0; repeat < 3; repeat += 1) await shop.ask('cancel', run.next())
    expect(await shop.state(order)).toMatchObject({
      cancelReason: 'customer',
      paymentState: 'cancelled',
      reservation: 'released',
    })
    expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 0n })
    expect(await shop.query('select network, address from key_retire where order_id = $1', [order.orderId])).toEqual([
      { network: order.network, address: order.address },
    ])
  })

  test('a paid order owes its money back', async () => {
    const { order, run } = await shop.orderIn('processing')
    await shop.ask('cancel', run.next(), { role: 'admin', actor: 'user:1' })
    expect(await shop.state(order)).toMatchObject({
      cancelReason: 'admin',
      paymentState: 'unresolved',
      reservation: 'released',
    })
    expect(await shop.query('select asset, amount from refund_due where order_id = $1', [order.orderId])).toEqual([
      { asset: 'ETH', amount: order.amountDue.toString() },
    ])
  })

  test('an order that holds nothing changes no stock', async () => {
    const { order, run } = await shop.orderIn('pending')
    await shop.query(`update reservation set state = 'released' where order_id = $1`, [order.orderId])
    await shop.query(
      `with told as (insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
         select product_id, order_id, hold_no, 'release', 0, -quantity, 'test' from reservation where order_id = $1 returning product_id)
       update stock set reserved = 0 from told where stock.product_id = told.product_id`,
      [order.orderId],
    )
    const [before] = await shop.query('select * from stock where product_id = $1', [order.lines[0]?.productId])
    expect(await releaseStock(shop.worker, run.next())).toMatchObject({
      status: 'cancelled',
      cancelReason: 'out_of_stock',
    })
    expect(await releaseStock(shop.worker, run.next())).toMatchObject({ status: 'cancelled' })
    expect(await shop.query('select * from stock where product_id = $1', [order.lines[0]?.productId])).toEqual([before])
  })

  test('leaves an order that was shipped as it is, even as an undo', async () => {
    const { order, run } = await shop.orderIn('shipped')
    expect(await releaseStock(shop.worker, run.next())).toMatchObject({ status: 'shipped', reservation: 'consumed' })
    expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
  })
})

describe('a command under one key', () => {
  test('has one effect however often it is asked, and keeps its answer after the order went on', async () => {
    const { order, run } = await shop.orderIn('processing')
    const asked = buildCommand(SHIP)
    expect(await runCommand(shop.worker, run.next(), 'ship', asked)).toMatchObject({ ok: true })
    await shop.ask('deliver', run.next())
    expect(await runCommand(shop.worker, run.next(), 'ship', asked)).toMatchObject({
      ok: true,
      state: { status: 'delivered' },
    })
    expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
    const saved = await shop.query(`select response from idempotency where key = $1`, [asked.key])
    expect(saved).toEqual([{ response: { status: 'shipped', version: 3 } }])
  })

  test('cannot be another request', async () => {
    const { order, run } = await shop.orderIn('processing')
    const asked = buildCommand(SHIP)
    await runCommand(shop.worker, run.next(), 'ship', asked)
    const second = { ...asked, requestHash: randomBytes(32).toString('hex') }
    await expect(runCommand(shop.worker, run.next(), 'ship', second)).rejects.toMatchObject({
      reason: 'IDEMPOTENCY_KEY_REUSED',
    })
    const { order: another, run: anotherRun } = await shop.orderIn('processing')
    await expect(runCommand(shop.worker, anotherRun.next(), 'ship', second)).rejects.toMatchObject({
      reason: 'IDEMPOTENCY_KEY_REUSED',
    })
    expect(await shop.state(another)).toMatchObject({ status: 'processing', reservation: 'committed' })
    expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
  })

  test('that was refused is free for a better moment', async () => {
    const { order, run } = await shop.orderIn('pending')
    const asked = buildCommand(SHIP)
    expect(await runCommand(shop.worker, run.next(), 'ship', asked)).toMatchObject({ ok: false })
    await recordReport(shop.api, 'w1', [buildObservation(order)])
    await assessPayments(shop.worker, run.next())
    expect(await runCommand(shop.worker, run.next(), 'ship', asked)).toMatchObject({ ok: true })
  })

  test('is refused for another version than it expects', async () => {
    const { order, run } = await shop.orderIn('processing')
    expect(await shop.ask('ship', run.next(), { expectedVersion: 1 })).toMatchObject({
      ok: false,
      reason: 'VERSION_MISMATCH',
    })
    expect(await shop.ask('ship', run.next(), { expectedVersion: 2 })).toMatchObject({ ok: true })
    expect(await shop.state(order)).toMatchObject({ status: 'shipped' })
  })
})

describe('changing the address', () => {
  const address = () => randomBytes(64)
  const input = (overrides: Partial<CommandInput> = {}) =>
    buildCommand({ method: 'UpdateShippingAddress', ...overrides })
  const sealedOf = async (order: AcceptedOrder) =>
    (
      await shop.query<{ sealed: Buffer }>('select address_sealed as sealed from orders where order_id = $1', [
        order.orderId,
      ])
    )[0]?.sealed

  test.each(['pending', 'processing'] as const)(
    'of a %s order replaces what is sealed, once per key',
    async (status) => {
      const { order } = await shop.orderIn(status)
      const { version } = await shop.state(order)
      const [asked, sealed] = [input(), address()]
      expect(await changeAddress(shop.api, order.orderId, sealed, asked)).toMatchObject({
        status,
        version: version + 1,
      })
      // A repeat encrypts again, so its bytes differ although the request is the same.
      expect(await changeAddress(shop.api, order.orderId, address(), asked)).toMatchObject({ version: version + 1 })
      expect(await sealedOf(order)).toEqual(sealed)
    },
  )

  test.each(['shipped', 'delivered', 'cancelled'] as const)('of a %s order is refused', async (status) => {
    const { order } = await shop.orderIn(status)
    const before = await sealedOf(order)
    await expect(changeAddress(shop.api, order.orderId, address(), input())).rejects.toMatchObject({
      reason: 'ORDER_STATUS',
      message: `The address of an order that is ${status} cannot change.`,
      metadata: { status },
    })
    expect(await sealedOf(order)).toEqual(before)
  })

  test('by many who all read one version is done by one of them', async () => {
    const order = await shop.order()
    const results = await callConcurrently(count(50, 1_000), () =>
      changeAddress(shop.api, order.orderId, address(), input({ expectedVersion: 1 })).then(
        () => 'done',
        (error: DomainError) => error.reason,
      ),
    )
    expect(results.toSorted()).toEqual([...results.slice(1).map(() => 'VERSION_MISMATCH'), 'done'])
    expect(await shop.state(order)).toMatchObject({ version: 2 })
  })

  test('by many who do not care is done by all of them, and each moves the version', async () => {
    const order = await shop.order()
    const times = count(50, 1_000)
    await callConcurrently(times, () => changeAddress(shop.api, order.orderId, address(), input()))
    expect(await shop.state(order)).toMatchObject({ version: times + 1 })
  })

  test('under a key that was used for another request is refused', async () => {
    const order = await shop.order()
    const asked = input()
    await changeAddress(shop.api, order.orderId, address(), asked)
    const second = { ...asked, requestHash: randomBytes(32).toString('hex') }
    await expect(changeAddress(shop.api, order.orderId, address(), second)).rejects.toMatchObject({
      reason: 'IDEMPOTENCY_KEY_REUSED',
    })
  })

  test('of an order there is not is refused', async () => {
    const orderId = '00000000-0000-8000-8000-000000000000'
    await expect(changeAddress(shop.api, orderId, address(), input())).rejects.toMatchObject({ reason: 'NOT_FOUND' })
  })
})
