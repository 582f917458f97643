// Shortage while a product has expired holds (INV-15): buyers wait, or must try again; OUT_OF_STOCK is the answer only
// when no more stock can be released.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import { openTestDatabase } from '../../../test/support/database.ts'
import { buildLine, buildProposal } from '../../../test/support/builder.ts'
import { findViolations } from '../../../test/support/invariant.ts'
import { count, COUNT_WITHIN_MS } from '../../../test/support/scale.ts'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { until } from '../../../test/support/until.ts'
import { createAcceptor, type Acceptor, type AcceptVerdict, type ProposedOrder } from './accept.ts'
import type { Database } from '../connection/pool.ts'
import { sweepHolds } from '../sweep.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
/** A second api process. */
let database: Database
let other: Acceptor
/** Sessions that hold locks. */
let locking: { release: () => Promise<void> }[] = []

beforeAll(async () => {
  shop = await createTestShop()
  database = await openTestDatabase({ url: shop.test.urlOf('app_api'), poolSize: 8, applicationName: 'test-api-2' })
  other = createAcceptor({ database, giveBack: () => undefined })
})
beforeEach(async () => {
  shop.givenBack.length = 0
  await shop.catchUp()
})
afterEach(async () => {
  await Promise.all(locking.map(({ release }) => release()))
  expect(await findViolations(shop.test)).toEqual([])
})
afterAll(async () => {
  await database.close()
  await shop.close()
})

const proposalFor = (productId: string, quantity = 1, overrides: Partial<ProposedOrder> = {}): ProposedOrder =>
  buildProposal({ lines: [buildLine({ productId, quantity })], ...overrides })
const verdictsOf = (answers: readonly AcceptVerdict[]) => [...new Set(answers.map(({ verdict }) => verdict))]

/** A product with every unit in its own expired hold. */
async function wholeInExpiredHolds(units: number, overrides: Partial<ProposedOrder> = {}): Promise<string> {
  const { productId } = await shop.product({ onHand: BigInt(units) })
  const proposals = Array.from({ length: units }, () =>
    proposalFor(productId, 1, { windowMs: 1, graceMs: 0, ...overrides }),
  )
  const answers = await Promise.all(proposals.map((proposal) => shop.acceptor.accept(proposal)))
  expect(verdictsOf(answers)).toEqual(['accepted'])
  const look = 'select from reservation where product_id = $1 and expires_at >= clock_timestamp()'
  await until(async () => (await shop.query(look, [productId])).length === 0)
  return productId
}

/** Another session that is ending these holds, or otherwise locks their orders. */
async function lockOrdersOf(productId: string): Promise<{ release: () => Promise<void> }> {
  const client = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
  await client.connect()
  await client.query('begin')
  const text = `select from orders where order_id in (select order_id from reservation where product_id = $1) for update`
  await client.query(text, [productId])
  const session = {
    release: async () => {
      locking = locking.filter((one) => one !== session)
      await client.query('rollback')
      await client.end()
    },
  }
  locking.push(session)
  return session
}

describe('a shortage of stock that only waits to be given back', () => {
  test('is none for one order that wants what a hundred and fifty expired holds have', async () => {
    const productId = await wholeInExpiredHolds(150)
    expect(await shop.acceptor.accept(proposalFor(productId, 150))).toMatchObject({ verdict: 'accepted' })
  })

  test('refuses none of forty buyers who come while another session is at work on all of the holds', async () => {
    const productId = await wholeInExpiredHolds(150)
    const session = await lockOrdersOf(productId)
    const answers = Promise.all(
      Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? shop.acceptor : other).accept(proposalFor(productId))),
    )
    await until(() => shop.acceptor.queued() === 20 && other.queued() === 20)
    await session.release()
    expect(verdictsOf(await answers)).toEqual(['accepted'])
  })

  test('refuses nobody whom the stock is enough for, while sweepers and buyers race', async () => {
    for (let round = 0; round < count(15, 200); round += 1) {
      const productId = await wholeInExpiredHolds(12)
      const [answers] = await Promise.all([
        Promise.all(
          [3, 1, 1, 2, 1, 4].map((quantity, at) =>
            (at % 2 === 0 ? shop.acceptor : other).accept(proposalFor(productId, quantity)),
          ),
        ),
        sweepHolds(shop.worker, 5),
        sweepHolds(shop.worker, 200),
      ])
      expect(verdictsOf(answers)).toEqual(['accepted'])
    }
  })

  test('is «try again» when it cannot come back in time: nothing is stored, and the same attempt is taken later', async () => {
    const productId = await wholeInExpiredHolds(3)
    const session = await lockOrdersOf(productId)
    const order = proposalFor(productId, 2, { deadline: Date.now() + 700 })
    await expect(shop.acceptor.accept(order)).rejects.toMatchObject({
      ...{
        reason: 'STOCK_BEING_RELEASED',
        kind: 'unavailable',
        retryAfterMs: 500,
        metadata: { product_id: productId },
      },
    })
    expect(Date.now()).toBeLessThan(order.deadline)
    expect(shop.givenBack).toContain(order.address)
    expect(await shop.query('select from idempotency where key = $1', [order.key])).toEqual([])
    await session.release()
    const again = await shop.acceptor.accept({ ...order, deadline: Number.POSITIVE_INFINITY })
    expect(again).toMatchObject({ verdict: 'accepted', order: { orderId: order.orderId } })
  })

  test('keeps no order of another product waiting, nor one that is short of another product', async () => {
    const [stuck, due] = [await wholeInExpiredHolds(2), await wholeInExpiredHolds(2)]
    const { productId } = await shop.product()
    const session = await lockOrdersOf(stuck)
    let isAnswered = false
    const waiting = shop.acceptor.accept(proposalFor(stuck)).finally(() => (isAnswered = true))
    await until(() => shop.acceptor.queued() === 1)
    const answers = await Promise.all([productId, due].map((id) => shop.acceptor.accept(proposalFor(id))))
    expect(verdictsOf(answers)).toEqual(['accepted'])
    expect(isAnswered).toBe(false)
    await session.release()
    expect((await waiting).verdict).toBe('accepted')
  })

  test('is out of stock, for good, where what is held cannot come back now', async () => {
    // Its chain has not been read this far: these orders may have been paid.
    const productId = await wholeInExpiredHolds(2, { network: 'unread' })
    const order = proposalFor(productId)
    const refusal = { verdict: 'OUT_OF_STOCK', shortages: [{ productId, wanted: 1n, available: 0n }] }
    expect(await shop.acceptor.accept(order)).toEqual(refusal)
    expect(await other.accept(order)).toEqual(refusal)
  })

  test('ends although one of the holds cannot be ended: that one is set aside, and no buyer waits for it', async () => {
    const productId = await wholeInExpiredHolds(9)
    await shop.query(`create function holdfast.fail() returns trigger language plpgsql as $$ begin raise 'injected'; end $$;
      create trigger fail before update on reservation for each row
      when (old.order_id = '${await oneOf(productId)}') execute function holdfast.fail()`)
    expect(await shop.acceptor.accept(proposalFor(productId, 8))).toMatchObject({ verdict: 'accepted' })
    expect(await shop.query('select order_id, reason from hold_aside')).toEqual([
      { order_id: await oneOf(productId), reason: 'P0001' },
    ])
    // One failure is not final: the order waits for the next attempt, and its caller must try again.
    await shop.query(`update hold_aside set next_at = clock_timestamp() + interval '1 minute'`)
    const soon = { ...proposalFor(productId), deadline: Date.now() + 500 }
    await expect(shop.acceptor.accept(soon)).rejects.toMatchObject({ reason: 'STOCK_BEING_RELEASED' })
    await shop.query('update hold_aside set tries = 3')
    expect(await shop.acceptor.accept(proposalFor(productId))).toMatchObject({ verdict: 'OUT_OF_STOCK' })
    await shop.query('drop function holdfast.fail cascade')
    await shop.query('update hold_aside set next_at = clock_timestamp()')
    expect(await shop.acceptor.accept(proposalFor(productId))).toMatchObject({ verdict: 'accepted' })
  })

  /** The order with a product's first hold. */
  async function oneOf(productId: string): Promise<string> {
    const [row] = await shop.query<{ id: string }>(
      `select min(order_id::text) as id from reservation where product_id = $1 and expires_at < clock_timestamp()`,
      [productId],
    )
    return row?.id ?? ''
  }
})
