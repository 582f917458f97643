// ListPayments over gRPC: each filter, both orders, pages while payments arrive, and pages that walk a long list.

import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import {
  admin,
  auditor,
  createTestFront,
  customer,
  failureOf,
  type Caller,
  type TestFront,
} from '../../test/support/front.ts'
import { COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { buildObservation, createTestShop, runOf, type TestShop } from '../../test/support/shop.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { MAX_WALKED } from '../db/payment_list.ts'
import { assessPayments, recordReport } from '../db/payment.ts'
import type { ReportedObservation } from '../domain/chain.ts'
import { formatAddress } from '../keyvault/address.ts'
import { createAdminClient, type PaymentFilter, type Transfer } from './client.ts'
import { PaymentFlag, PaymentState } from './gen/holdfast/v1/common.ts'
import { TransferState } from './gen/holdfast/v1/payment.ts'
import type { ListPaymentsRequest } from './gen/holdfast/v1/payment_admin.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const MINUTE_MS = 60_000
/** A time of its own for each test, so that none sees the payments of another. */
let epochMs = Date.parse('2026-03-01T00:00:00Z')
const newEpoch = (): number => (epochMs += 10_000 * MINUTE_MS)

let shop: TestShop
let front: TestFront
beforeAll(async () => {
  shop = await createTestShop()
  front = await createTestFront(shop.test)
})
afterAll(async () => {
  await front.stop()
  await shop.close()
})

/** The filter of one test, with defaults. */
const filterOf = (change: Partial<PaymentFilter>): PaymentFilter => ({
  ...{ orderId: undefined, address: undefined, txId: undefined, asset: undefined, flags: [] },
  ...{ firstSeenFrom: undefined, firstSeenBefore: undefined },
  state: TransferState.TRANSFER_STATE_UNSPECIFIED,
  paymentState: PaymentState.PAYMENT_STATE_UNSPECIFIED,
  ...change,
})

async function list(request: Partial<ListPaymentsRequest>, caller: Caller = auditor) {
  const client = createAdminClient({ address: front.adminAddress, token: () => front.tokenOf(caller) })
  try {
    return await client.payment.listPayments({ limit: 100, ...request })
  } finally {
    client.close()
  }
}
const found = async (filter: Partial<PaymentFilter>): Promise<Transfer[]> =>
  (await list({ filter: filterOf(filter) })).transfers
const idsOf = (transfers: readonly Transfer[]): string[] => transfers.map(({ txId }) => txId)

async function pay(order: AcceptedOrder, ...facts: Partial<ReportedObservation>[]): Promise<ReportedObservation[]> {
  const observations = facts.map((fact) => buildObservation(order, fact))
  await recordReport(shop.api, 'w1', observations)
  await assessPayments(shop.worker, runOf(order).next())
  return observations
}

/** Payments of one order, a minute apart, that no test assesses. */
async function putPayments(
  count: number,
  startMs: number,
  state = 'final',
): Promise<{ order: AcceptedOrder; txIds: string[] }> {
  const order = await shop.order()
  const txIds = Array.from({ length: count }, () => `0x${randomBytes(32).toString('hex')}`)
  await shop.test.forge(
    `insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
     select 'ethereum', tx_id, 0, $1, 'ETH', 7, $4, true, $3::timestamptz + (n - 1) * interval '1 minute'
     from unnest($2::text[]) with ordinality as t (tx_id, n)`,
    [order.orderId, txIds, new Date(startMs), state],
  )
  return { order, txIds }
}
const within = (startMs: number, minutes: number) => ({
  firstSeenFrom: new Date(startMs),
  firstSeenBefore: new Date(startMs + minutes * MINUTE_MS),
})

async function everyPage(
  request: Partial<ListPaymentsRequest>,
  between: () => Promise<unknown> = async () => undefined,
) {
  const pages: Transfer[][] = []
  for (let cursor = ''; ;) {
    const page = await list({ ...request, cursor })
    pages.push(page.transfers)
    if ((cursor = page.nextCursor) === '') return pages
    await between()
  }
}

describe('a transfer', () => {
  test('is shown with its block, its confirmations, and the state of its order', async () => {
    await shop.catchUp()
    await shop.query(`update chain_status set scanned_height = 21, tip_height = 21 where network = 'ethereum'`)
    const order = await shop.order()
    const [fact] = await pay(order, { amount: order.amountDue + 5n, firstSeenAt: order.createdAt })
    expect(await found({ orderId: order.orderId })).toEqual([
      {
        ...{ network: 'ethereum', txId: fact?.txId, outputIndex: 0, orderId: order.orderId, isInTime: true },
        ...{ address: formatAddress('ETH', order.address), state: TransferState.TRANSFER_STATE_FINAL },
        ...{ amount: { asset: 'ETH', units: String(order.amountDue + 5n) }, blockHeight: 10n, blockHash: '0xab' },
        ...{ confirmations: 12, firstSeenAt: order.createdAt, updatedAt: expect.any(Date) },
        paymentState: PaymentState.PAYMENT_STATE_PAID,
        paymentFlags: [PaymentFlag.PAYMENT_FLAG_OVER],
      },
    ])
  })

  test('has the confirmations that as many sources have seen as its money needs', async () => {
    const order = await shop.order()
    await shop.test.forge("select require_sources('ETH', 2, $1, 'test')", [String(order.amountDue * 2n)])
    const later = await shop.order()
    await pay(later, { amount: 7n }, { amount: later.amountDue * 3n })
    await shop.catchUp()
    await shop.query('update chain_status set scanned_height = 30, tip_height = 30')
    const second = `insert into chain_status (network, source, start_height, settled_height, scanned_height, tip_height)
      values ('ethereum', $1, 1, 1, $2, $2)`
    await shop.test.forge(second, ['slower', 21])
    await shop.test.forge(second, ['retired', 40])
    await shop.test.forge("insert into retired_source (source, reason) values ('retired', 'test')", [])
    try {
      const depths = (await found({ orderId: later.orderId })).map(
        ({ amount, confirmations }): [boolean, number | undefined] => [amount?.units === '7', confirmations],
      )
      expect(new Map(depths)).toEqual(
        new Map([
          [true, 21],
          [false, 12],
        ]),
      )
      const client = createAdminClient({ address: front.adminAddress, token: () => front.tokenOf(auditor) })
      const { transfers } = await client.payment.getPaymentDossier({
        orderId: later.orderId,
        includeDestinations: false,
      })
      client.close()
      expect(new Set(transfers.map(({ confirmations }) => confirmations))).toEqual(new Set([12, 21]))
    } finally {
      await shop.test.forge("delete from chain_status where source in ('slower', 'retired')", [])
    }
  })
})

describe('a filter', () => {
  test('finds by order, address in any spelling, and transaction', async () => {
    const [order, other] = [await shop.order(), await shop.order()]
    const [fact] = await pay(order, {})
    await pay(other, {})
    const txId = fact?.txId ?? ''
    const ways: Partial<PaymentFilter>[] = [
      { orderId: order.orderId },
      { address: order.address },
      { address: formatAddress('ETH', order.address) },
      { txId },
      { txId: `0x${txId.slice(2).toUpperCase()}` },
    ]
    for (const way of ways) expect(idsOf(await found(way))).toEqual([txId])
    expect(await found({ orderId: order.orderId, address: other.address })).toEqual([])
    for (const way of [{ orderId: randomUUID() }, { address: '0x0' }, { txId: 'a'.repeat(64) }])
      expect(await found(way)).toEqual([])
  })

  test('finds by state of the transfer, state and flags of the order, asset and time', async () => {
    const order = await shop.order()
    const firstSeenAt = order.createdAt
    const [big, seen] = await pay(
      order,
      { amount: order.amountDue * 2n, firstSeenAt },
      { state: 'seen', amount: 1n, firstSeenAt },
    )
    const ofOrder = async (filter: Partial<PaymentFilter>) => idsOf(await found({ orderId: order.orderId, ...filter }))
    const both = [big?.txId ?? '', seen?.txId ?? ''].toSorted()
    expect(await ofOrder({ state: TransferState.TRANSFER_STATE_SEEN })).toEqual([seen?.txId])
    expect(await ofOrder({ state: TransferState.TRANSFER_STATE_REORGED })).toEqual([])
    expect((await ofOrder({ paymentState: PaymentState.PAYMENT_STATE_PAID })).toSorted()).toEqual(both)
    expect(await ofOrder({ paymentState: PaymentState.PAYMENT_STATE_REVERSED })).toEqual([])
    expect((await ofOrder({ flags: [PaymentFlag.PAYMENT_FLAG_OVER] })).toSorted()).toEqual(both)
    expect(await ofOrder({ flags: [PaymentFlag.PAYMENT_FLAG_OVER, PaymentFlag.PAYMENT_FLAG_LATE] })).toEqual([])
    expect((await ofOrder({ asset: 'ETH' })).toSorted()).toEqual(both)
    expect(await ofOrder({ asset: 'BTC' })).toEqual([])
    const later = new Date(firstSeenAt.getTime() + 1)
    expect((await ofOrder({ firstSeenFrom: firstSeenAt, firstSeenBefore: later })).toSorted()).toEqual(both)
    expect(await ofOrder({ firstSeenFrom: later })).toEqual([])
    expect(await ofOrder({ firstSeenBefore: firstSeenAt })).toEqual([])
  })

  test('names the field that it does not understand', async () => {
    const refused = async (filter: Partial<PaymentFilter>) => {
      const { reason, violations } = await failureOf(found(filter))
      expect(reason).toBe('FIELD_INVALID')
      return violations.map(({ field }) => field)
    }
    expect(await refused({ orderId: 'x' })).toEqual(['filter.order_id'])
    expect(await refused({ address: `' or 1=1 --` })).toEqual(['filter.address'])
    expect(await refused({ txId: `0x${'a'.repeat(63)}'` })).toEqual(['filter.tx_id'])
    expect(await refused({ asset: 'DOGE' })).toEqual(['filter.asset'])
    expect(await refused({ state: 99 as TransferState })).toEqual(['filter.state'])
    expect(await refused({ flags: Array.from({ length: 10 }, () => PaymentFlag.PAYMENT_FLAG_LATE) })).toEqual([
      'filter.flags',
    ])
  })
})

describe('a list', () => {
  test('begins with the newest, or with the oldest', async () => {
    const startMs = newEpoch()
    const { txIds } = await putPayments(5, startMs)
    const filter = filterOf(within(startMs, 5))
    expect(idsOf((await list({ filter })).transfers)).toEqual(txIds.toReversed())
    expect(idsOf((await list({ filter, oldestFirst: true })).transfers)).toEqual(txIds)
  })

  test.each([false, true])(
    'shows each payment once while others arrive on both sides of its pages (oldest first: %s)',
    async (oldestFirst) => {
      const startMs = newEpoch()
      const { txIds } = await putPayments(12, startMs)
      const filter = filterOf(within(startMs - 600 * MINUTE_MS, 1_200))
      const pages = await everyPage({ filter, oldestFirst, limit: 4 }, async () => {
        await putPayments(1, startMs - 60 * MINUTE_MS)
        await putPayments(1, startMs + 60 * MINUTE_MS)
        await putPayments(1, startMs + 5.5 * MINUTE_MS)
      })
      const ids = idsOf(pages.flat())
      expect(new Set(ids).size).toBe(ids.length)
      const known = ids.filter((id) => txIds.includes(id))
      expect(known).toEqual(oldestFirst ? txIds : txIds.toReversed())
    },
  )

  test('keeps outputs apart that were seen at the same time', async () => {
    const startMs = newEpoch()
    const { order } = await putPayments(1, startMs)
    await shop.test.forge(
      `insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
       select network, tx_id, n, order_id, asset, amount, state, is_in_time, first_seen_at
       from payment, generate_series(1, 8) n where order_id = $1`,
      [order.orderId],
    )
    const pages = await everyPage({ filter: filterOf(within(startMs, 1)), limit: 2 })
    expect(pages.flat().map(({ outputIndex }) => outputIndex)).toEqual([8, 7, 6, 5, 4, 3, 2, 1, 0])
  })

  test('that matches almost nothing walks a bounded part with each page, and misses nothing', async () => {
    const startMs = newEpoch()
    const { txIds: rare } = await putPayments(1, startMs, 'replaced')
    const { order } = await putPayments(1, startMs + MINUTE_MS)
    await shop.test.forge(
      `insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
       select network, tx_id, n, order_id, asset, amount, state, is_in_time, first_seen_at + n * interval '1 second'
       from payment, generate_series(1, ${MAX_WALKED}) n where order_id = $1`,
      [order.orderId],
    )
    const filter = filterOf({ ...within(startMs, 9_000), state: TransferState.TRANSFER_STATE_REPLACED })
    const pages = await everyPage({ filter })
    expect(pages.map(idsOf)).toEqual([[], rare])
    expect((await everyPage({ filter, oldestFirst: true })).map(idsOf)).toEqual([rare, []])
  })

  test('is refused with the cursor of another filter or order', async () => {
    const startMs = newEpoch()
    await putPayments(3, startMs)
    const filter = filterOf(within(startMs, 5))
    const { nextCursor: cursor } = await list({ filter, limit: 1 })
    expect(cursor).not.toBe('')
    for (const other of [
      { filter, oldestFirst: true, cursor },
      { filter: filterOf(within(startMs, 6)), cursor },
      { filter: { ...filter, flags: [PaymentFlag.PAYMENT_FLAG_LATE] }, cursor },
      { cursor },
    ])
      expect((await failureOf(list({ limit: 1, ...other }))).violations.map(({ field }) => field)).toEqual(['cursor'])
    expect((await list({ filter, limit: 1, cursor })).transfers).toHaveLength(1)
  })

  test('is for admins and auditors', async () => {
    expect((await list({ limit: 1 }, admin)).transfers).toHaveLength(1)
    expect((await failureOf(list({ limit: 1 }, customer(7)))).reason).toBe('PERMISSION_DENIED')
  })
})
