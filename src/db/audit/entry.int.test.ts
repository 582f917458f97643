// Audit entries: every change by any role and statement is recorded once, with its actor, in a hash chain that ends at
// the aggregate's row. Sealing and proofs are tested in src/audit.

import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../../test/support/address.ts'
import { bodyOf, entriesOf, lastOf, type AuditEntryRow } from '../../../test/support/audit.ts'
import { buildAttempt, buildLine, buildProposal } from '../../../test/support/builder.ts'
import { buildObservation, createTestShop, SHIP, type TestShop } from '../../../test/support/shop.ts'
import { until } from '../../../test/support/until.ts'
import { bodyText, type Actor } from '../../domain/audit.ts'
import { putProduct } from '../catalogue.ts'
import { expireOrder } from '../order.ts'
import { recordReport } from '../payment.ts'
import { statement } from '../connection/pool.ts'
import { adjustStock } from '../stock.ts'

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterAll(() => shop.close())

/** One line per changed row: `orders UPDATE`. */
const changed = (entry: AuditEntryRow | undefined): string[] =>
  bodyOf(entry)
    .changes.map(({ table, op }) => `${table} ${op}`)
    .toSorted()

describe('an order', () => {
  test('begins with one entry that holds its lines, its invoice and its holds', async () => {
    const products = [await shop.product(), await shop.product()]
    const order = await shop.order({ lines: products.map(({ productId }) => buildLine({ productId })) })
    const [first, ...others] = await entriesOf(shop, 'order', order.orderId)
    expect(others).toEqual([])
    expect(changed(first)).toEqual([
      'invoice INSERT',
      'order_line INSERT',
      'order_line INSERT',
      'orders INSERT',
      'reservation INSERT',
      'reservation INSERT',
    ])
    const { kind, id, seq, dbRole, by, changes } = bodyOf(first)
    expect({ kind, id, seq, dbRole, by }).toEqual({
      kind: 'order',
      id: order.orderId,
      seq: '1',
      dbRole: 'app_api',
      by: { actor: 'user:7', role: 'customer' },
    })
    const made = changes.find(({ table }) => table === 'orders')
    expect(made).toMatchObject({
      key: { order_id: order.orderId },
      new: { user_id: '7', status: 'pending', total: '25.00' },
    })
    expect(made).not.toHaveProperty('new.generation')
    expect(bodyText(bodyOf(first))).toBe(first?.body)
  })

  test('of a batch names its own caller, with the call and the token', async () => {
    const { productId } = await shop.product({ onHand: 1_000n })
    const callers = Array.from({ length: 20 }, (_, at): Actor => ({
      actor: `user:${100 + at}`,
      role: 'customer',
      requestId: `request-${at}`,
      tokenId: `token-${at}`,
      ipHash: String(at).padStart(64, '0'),
      requestHash: String(at).padStart(64, 'a'),
    }))
    const proposals = callers.map((by, at) =>
      buildProposal({ by, userId: BigInt(100 + at), lines: [buildLine({ productId })] }),
    )
    await Promise.all(proposals.map((proposal) => shop.acceptor.accept(proposal)))
    for (const [at, { orderId, userId }] of proposals.entries()) {
      expect((await lastOf(shop, 'order', orderId)).by).toEqual(callers[at])
      expect((await lastOf(shop, 'customer', userId.toString())).by).toEqual(callers[at])
    }
    // Fewer transactions than orders: they were batched.
    const [batches] = await shop.query<{ n: bigint }>(
      `select count(distinct txid) as n from audit_entry where aggregate_id = any ($1)`,
      [proposals.map(({ orderId }) => orderId)],
    )
    expect(batches?.n).toBeLessThan(20n)
  })

  test('tells who moved it, by which request, and what the row was before', async () => {
    const { order, run } = await shop.orderIn('processing')
    await shop.ask('ship', run.next(), { requestId: 'r-1', tokenId: 't-1', requestHash: 'ab'.repeat(32) })
    const { by, changes } = await lastOf(shop, 'order', order.orderId)
    expect(by).toEqual({
      actor: SHIP.actor,
      role: 'fulfilment',
      requestId: 'r-1',
      tokenId: 't-1',
      requestHash: 'ab'.repeat(32),
    })
    expect(changes).toContainEqual(
      expect.objectContaining({
        table: 'orders',
        op: 'UPDATE',
        old: expect.objectContaining({ status: 'processing', version: '2' }) as unknown,
        new: expect.objectContaining({ status: 'shipped', version: '3' }) as unknown,
      }),
    )
  })

  test('that expires was ended by the system, whoever was short of stock', async () => {
    const product = await shop.product({ onHand: 1n })
    const lines = [buildLine({ productId: product.productId })]
    const lapsed = await shop.order({ lines, windowMs: 1, graceMs: 0 })
    await shop.catchUp()
    const isOver = 'select from reservation where order_id = $1 and expires_at < clock_timestamp()'
    await until(async () => (await shop.query(isOver, [lapsed.orderId])).length > 0)
    const next = await shop.order({ lines, userId: 8n })
    const { by, dbRole } = await lastOf(shop, 'order', lapsed.orderId)
    expect({ by, dbRole }).toEqual({ by: { actor: 'system:expiry', role: 'system' }, dbRole: 'app_api' })
    expect((await lastOf(shop, 'order', next.orderId)).by.actor).toBe('user:8')
  })

  test('that a step only bookmarked, or that refused a command, has no new entry', async () => {
    const { order, run } = await shop.orderIn('pending')
    await shop.catchUp(new Date(0))
    const before = await entriesOf(shop, 'order', order.orderId)
    expect(await shop.ask('deliver', run.next())).toMatchObject({ ok: false })
    await expireOrder(shop.worker, run.next())
    expect(await entriesOf(shop, 'order', order.orderId)).toEqual(before)
  })

  test('whose transaction is undone has no new entry', async () => {
    const { order } = await shop.orderIn('pending')
    const before = await entriesOf(shop, 'order', order.orderId)
    const hold = statement('audit_probe_hold', `update orders set hold = 'manual' where order_id = $1`)
    const undone = shop.worker.transaction(async (tx) => {
      await tx.run(hold, [order.orderId])
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    expect(await entriesOf(shop, 'order', order.orderId)).toEqual(before)
  })
})

describe('other things', () => {
  test('a product tells who priced it, a stock who counted it, and why', async () => {
    const { productId } = await shop.product()
    const by: Actor = { actor: 'user:3', role: 'admin', requestId: 'r-3' }
    const put = {
      productId,
      name: 'Lamp',
      unitPriceMinor: 999n,
      currency: 'EUR',
      isActive: true,
      expectedVersion: undefined,
    }
    await putProduct(shop.api, buildAttempt({ by }), put, Number.POSITIVE_INFINITY)
    const repriced = await lastOf(shop, 'product', productId)
    expect(repriced.by).toEqual(by)
    expect(repriced.changes).toMatchObject([
      {
        op: 'UPDATE',
        key: { product_id: productId },
        old: { unit_price: '12.50', version: '1' },
        new: { unit_price: '9.99', version: '2' },
      },
    ])
    const change = { kind: 'delta' as const, units: 5n }
    const adjustment = { productId, change, actor: 'user:3', reason: 'found', expectedVersion: undefined }
    await adjustStock(shop.api, buildAttempt({ by }), adjustment, Number.POSITIVE_INFINITY)
    const [counted] = await shop.query<AuditEntryRow>(
      `select body, seq, aggregate_id as "aggregateId" from audit_entry where kind = 'stock' order by entry_id desc limit 1`,
    )
    expect(counted).toMatchObject({ seq: null, aggregateId: null })
    expect(bodyOf(counted).by).toEqual({ ...by, reason: 'found' })
    expect(bodyOf(counted).changes).toMatchObject([
      { key: { product_id: productId }, old: { on_hand: '10' }, new: { on_hand: '15' } },
    ])
  })

  test('a report is its watcher’s, also about an address that is nobody’s', async () => {
    const order = await shop.order()
    await recordReport(shop.api, 'w1', [
      buildObservation(order),
      buildObservation(order, { address: '0x00', txId: `0x${'12'.repeat(32)}` }),
    ])
    const { by, changes } = await lastOf(shop, 'order', order.orderId)
    expect(by).toEqual({ actor: 'watcher:w1', role: 'watcher' })
    expect(changes.map(({ table }) => table)).toContain('payment_report')
    const [strange] = await shop.query<AuditEntryRow>(
      `select body from audit_entry where kind = 'payment_report' order by entry_id desc limit 1`,
    )
    expect(bodyOf(strange)).toMatchObject({ id: null, by, changes: [{ new: { address: '0x00', order_id: null } }] })
  })

  test('keys leave a digest: nothing that opens, and nothing that was sealed', async () => {
    await putAddresses(shop.test, 3)
    const wrapped = 'cd'.repeat(60)
    await shop.query(
      `with person as (insert into customer (user_id) values (5555) returning user_id)
       insert into customer_key (user_id, ring_version, wrapped_key) select user_id, 1, decode('${wrapped}', 'hex') from person`,
    )
    const hidden = await shop.query<{ hex: string }>(
      `select encode(c, 'hex') as hex from payment_key,
         unnest(array[salt, wrap_nonce, wrap_tag, wrapped_key, nonce, tag, ciphertext]) c`,
    )
    const bodies = await shop.query<{ body: string }>(`select body from audit_entry where kind in ('key', 'customer')`)
    expect(hidden).toHaveLength(21)
    expect(bodies.length).toBeGreaterThan(3)
    for (const { body } of bodies)
      for (const secret of [wrapped, ...hidden.map(({ hex }) => hex)]) expect(body).not.toContain(secret)
    const { changes } = await lastOf(shop, 'customer', '5555')
    expect(changes.find(({ table }) => table === 'customer_key')).toMatchObject({
      new: { wrapped_key: createHash('sha256').update(Buffer.from(wrapped, 'hex')).digest('hex') },
    })
  })
})

describe('a transaction', () => {
  test('of one actor after another has an entry for each turn, in order', async () => {
    const { productId } = await shop.product()
    const acting = (by: Actor) => `select set_config('holdfast.actor', '${JSON.stringify(by)}', true)`
    const one: Actor = { actor: 'user:1', role: 'admin' }
    const two: Actor = { actor: 'user:2', role: 'admin' }
    const price = (amount: number) => `update product set unit_price = ${amount} where product_id = '${productId}'`
    await shop.query(
      ['begin', acting(one), price(1), price(2), acting(two), price(3), acting(one), price(4), 'commit'].join('; '),
    )
    const [, ...turns] = (await entriesOf(shop, 'product', productId)).map(bodyOf)
    expect(turns.map(({ by, changes }) => [by.actor, changes.length])).toEqual([
      ['user:1', 2],
      ['user:2', 1],
      ['user:1', 1],
    ])
  })

  test('with savepoints keeps what it kept', async () => {
    const { productId } = await shop.product()
    const price = (amount: number) => `update product set unit_price = ${amount} where product_id = '${productId}'`
    await shop.query(
      [
        'begin; savepoint a',
        price(1),
        'rollback to a; savepoint b',
        price(2),
        'release b; savepoint c',
        price(3),
        'rollback to c; commit',
      ].join('; '),
    )
    const [, ...turns] = (await entriesOf(shop, 'product', productId)).map(bodyOf)
    expect(turns.map(({ changes }) => changes)).toMatchObject([[{ new: { unit_price: '2.00' } }]])
  })
})
