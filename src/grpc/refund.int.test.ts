// Refunds over gRPC: the customer gives and confirms the address, two people of the shop approve, and no refunds exceed
// the money of their order.

import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { callEachConcurrently } from '../../test/support/concurrent.ts'
import {
  admin,
  auditor,
  createTestFront,
  customer,
  failureOf,
  type Caller,
  type TestFront,
} from '../../test/support/front.ts'
import { count, COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { formatAddress } from '../keyvault/address.ts'
import { createAdminClient } from './client.ts'
import { FeeBearer, RateBasis, RefundKind, RefundStatus, type Refund } from './gen/holdfast/v1/refund.ts'
import type { RequestRefundRequest } from './gen/holdfast/v1/refund_admin.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const OWNER = customer(7)
const FIRST: Caller = { role: 'admin', subject: '11' }
const SECOND: Caller = { role: 'admin', subject: '12' }
/** One factor, or none that is known: no step-up. */
const WEAK: Pick<Caller, 'amr'> = { amr: ['pwd'] }
const randomAddress = (): string => formatAddress('ETH', `0x${randomBytes(20).toString('hex')}`)
const key = () => ({ idempotencyKey: randomUUID() })

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

type Admin = ReturnType<typeof createAdminClient>['refund']
async function asOf<Answer>(caller: Caller, ask: (refund: Admin) => Promise<Answer>): Promise<Answer> {
  const client = createAdminClient({ address: front.adminAddress, token: () => front.tokenOf(caller) })
  try {
    return await ask(client.refund)
  } finally {
    client.close()
  }
}
const refundsOf = async (orderId: string, caller: Caller = OWNER): Promise<Refund[]> =>
  (await front.as(caller).refund.listRefunds({ orderId })).refunds
const ask = (orderId: string, amount: RequestRefundRequest['amount'], overrides: Partial<RequestRefundRequest> = {}) =>
  asOf(admin, (refund) => refund.requestRefund({ ...key(), orderId, amount, reason: 'a scratch', ...overrides }))
const units = (value: bigint): RequestRefundRequest['amount'] => ({ $case: 'units', value: value.toString() })
const give = (orderId: string, refundId: string, address: string, confirm: boolean, caller: Caller = OWNER) =>
  front.as(caller).refund.setRefundAddress({ ...key(), orderId, refundId, address, confirm })
async function giveAndConfirm(orderId: string, refundId: string, address = randomAddress()) {
  await give(orderId, refundId, address, false)
  return give(orderId, refundId, address, true)
}
const approve = (caller: Caller, orderId: string, refundId: string, version: bigint) =>
  asOf(caller, (refund) => refund.approveRefund({ ...key(), orderId, refundId, version }))
const reject = (caller: Caller, orderId: string, refundId: string) =>
  asOf(caller, (refund) => refund.rejectRefund({ ...key(), orderId, refundId, reason: 'a mistake' }))
const processing = async (): Promise<AcceptedOrder> => (await shop.orderIn('processing')).order
async function cancelled(): Promise<{ order: AcceptedOrder; refund: Refund }> {
  const { order, run } = await shop.orderIn('processing')
  await shop.ask('cancel', run.next())
  const [refund] = await refundsOf(order.orderId)
  if (refund === undefined) throw new Error('nothing is owed')
  return { order, refund }
}

describe('a cancelled order', () => {
  test('gives its money back: address, confirmation, two approvals', async () => {
    const { order, refund } = await cancelled()
    const { orderId } = order
    expect(refund).toMatchObject({
      ...{
        status: RefundStatus.REFUND_STATUS_AWAITING_DESTINATION,
        kind: RefundKind.REFUND_KIND_OWED,
        destination: '',
      },
      ...{ amount: { asset: 'ETH', units: order.amountDue.toString() }, feeBearer: FeeBearer.FEE_BEARER_SHOP },
    })
    const address = randomAddress()
    const given = await give(orderId, refund.refundId, address, false)
    expect(given).toMatchObject({
      ...{ destination: address, status: RefundStatus.REFUND_STATUS_AWAITING_DESTINATION },
    })
    const { version } = await give(orderId, refund.refundId, address, true)
    expect(await approve(FIRST, orderId, refund.refundId, version)).toMatchObject({
      ...{ approvals: 1, status: RefundStatus.REFUND_STATUS_AWAITING_APPROVAL },
    })
    expect(await approve(SECOND, orderId, refund.refundId, version)).toMatchObject({
      ...{ approvals: 2, status: RefundStatus.REFUND_STATUS_APPROVED },
    })
    expect(await refundsOf(orderId)).toMatchObject([
      { destination: address, isDestinationConfirmed: true, approvals: 2, requestedBy: '', reason: '' },
    ])
    const { refunds } = await asOf(admin, (queue) =>
      queue.listRefundQueue({ status: RefundStatus.REFUND_STATUS_APPROVED }),
    )
    expect(refunds).toMatchObject([{ refundId: refund.refundId, requestedBy: 'system:owed' }])
  })
})

describe('the address of a refund', () => {
  test('is given by its customer alone, with a second factor', async () => {
    const { order, refund } = await cancelled()
    const to = (caller: Caller) => failureOf(give(order.orderId, refund.refundId, randomAddress(), false, caller))
    expect(await to({ ...OWNER, ...WEAK })).toMatchObject({ reason: 'STEP_UP_REQUIRED' })
    expect(await to(customer(8))).toMatchObject({ reason: 'PERMISSION_DENIED' })
    expect(await to(admin)).toMatchObject({ reason: 'PERMISSION_DENIED' })
  })

  test('is refused with a wrong checksum, if it is the shop’s, and if it looks like one that was met', async () => {
    const { order, refund } = await cancelled()
    const refused = async (address: string) => {
      const { reason, violations } = await failureOf(give(order.orderId, refund.refundId, address, false))
      expect(reason).toBe('FIELD_INVALID')
      return violations.map(({ field, description }) => `${field} ${description}`).join()
    }
    expect(await refused('0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD')).toContain('correct checksum')
    expect(await refused(formatAddress('ETH', order.address))).toContain('the shop’s')
    const poisoned = `${order.address.slice(0, 8)}${'7'.repeat(26)}${order.address.slice(-8)}`
    expect(await refused(formatAddress('ETH', poisoned))).toContain('looks like another')
    expect(await refundsOf(order.orderId)).toMatchObject([{ destination: '' }])
  })

  test('is confirmed by the same address, and by no other', async () => {
    const { order, refund } = await cancelled()
    const one = randomAddress()
    expect((await failureOf(give(order.orderId, refund.refundId, one, true))).reason).toBe('FIELD_INVALID')
    await give(order.orderId, refund.refundId, one, false)
    expect((await failureOf(give(order.orderId, refund.refundId, randomAddress(), true))).reason).toBe('FIELD_INVALID')
    expect(await refundsOf(order.orderId)).toMatchObject([{ isDestinationConfirmed: false }])
    expect((await give(order.orderId, refund.refundId, one, true)).status).toBe(
      RefundStatus.REFUND_STATUS_AWAITING_APPROVAL,
    )
  })

  test('may change until the refund is approved, and ends the approvals of the old one', async () => {
    const { order, refund } = await cancelled()
    const { orderId } = order
    const { version } = await giveAndConfirm(orderId, refund.refundId)
    await approve(FIRST, orderId, refund.refundId, version)
    const changed = await giveAndConfirm(orderId, refund.refundId)
    expect((await failureOf(approve(SECOND, orderId, refund.refundId, version))).reason).toBe('VERSION_MISMATCH')
    expect(await approve(SECOND, orderId, refund.refundId, changed.version)).toMatchObject({ approvals: 1 })
    await approve(FIRST, orderId, refund.refundId, changed.version)
    const late = await failureOf(give(orderId, refund.refundId, randomAddress(), false))
    expect(late).toMatchObject({ reason: 'REFUND_STATUS', metadata: { status: 'approved' } })
  })
})

test('the ends of its address are shown in lists, and the whole of it to its customer alone', async () => {
  const { order, refund } = await cancelled()
  const { orderId } = order
  const whole = randomAddress()
  const ends = `${whole.slice(0, 6)}…${whole.slice(-4)}`
  const inQueue = async (caller: Caller) => {
    const { refunds } = await asOf(caller, (queue) =>
      queue.listRefundQueue({ status: RefundStatus.REFUND_STATUS_AWAITING_APPROVAL, limit: 100 }),
    )
    return refunds.find(({ refundId }) => refundId === refund.refundId)?.destination
  }
  for (const caller of [admin, auditor]) expect(await refundsOf(orderId, caller)).toMatchObject([{ destination: '' }])
  await giveAndConfirm(orderId, refund.refundId, whole)
  expect(await refundsOf(orderId)).toMatchObject([{ destination: whole }])
  for (const caller of [admin, auditor]) {
    expect(await refundsOf(orderId, caller)).toMatchObject([{ destination: ends }])
    expect(await inQueue(caller)).toBe(ends)
  }
  const own: Caller = { ...OWNER, role: 'admin' }
  expect(await refundsOf(orderId, own)).toMatchObject([{ destination: ends }])
})

describe('an approval', () => {
  test('is neither by who asked, nor by the customer, nor twice by one person, nor without a second factor', async () => {
    const { orderId } = await processing()
    const { refundId } = await ask(orderId, units(10n))
    const { version } = await giveAndConfirm(orderId, refundId)
    const refusedTo = async (caller: Caller) => (await failureOf(approve(caller, orderId, refundId, version))).reason
    expect(await refusedTo(admin)).toBe('REFUND_APPROVER')
    expect(await refusedTo({ role: 'admin', subject: '7' })).toBe('REFUND_APPROVER')
    expect(await refusedTo({ ...FIRST, ...WEAK })).toBe('STEP_UP_REQUIRED')
    await approve(FIRST, orderId, refundId, version)
    expect(await refusedTo(FIRST)).toBe('REFUND_APPROVER')
  })
})

describe('an operator’s refund', () => {
  test('is named in coin, or in fiat at the order’s rate, today’s or a stated one, which is kept', async () => {
    const { orderId } = await processing()
    const fiat = (amount: string, basis: RateBasis, rate?: string): RequestRefundRequest['amount'] => ({
      $case: 'fiat',
      value: { amount, basis, rate },
    })
    await ask(orderId, units(10n))
    await ask(orderId, fiat('1.00', RateBasis.RATE_BASIS_ORDER))
    await ask(orderId, fiat('1.00', RateBasis.RATE_BASIS_TODAY), { feeBearer: FeeBearer.FEE_BEARER_CUSTOMER })
    await ask(orderId, fiat('1.00', RateBasis.RATE_BASIS_STATED, '4000.00'))
    const found = (await refundsOf(orderId, { ...admin })).toReversed()
    expect(
      found.map(({ amount, fiatAmount, rateBasis, rate, feeBearer }) => [
        ...[amount?.units, fiatAmount, rateBasis, rate, feeBearer],
      ]),
    ).toEqual([
      ['10', undefined, RateBasis.RATE_BASIS_UNSPECIFIED, undefined, FeeBearer.FEE_BEARER_SHOP],
      [String(5n * 10n ** 14n), '1.00', RateBasis.RATE_BASIS_ORDER, '2000.00', FeeBearer.FEE_BEARER_SHOP],
      [String(5n * 10n ** 14n), '1.00', RateBasis.RATE_BASIS_TODAY, '2000.00', FeeBearer.FEE_BEARER_CUSTOMER],
      [String(25n * 10n ** 13n), '1.00', RateBasis.RATE_BASIS_STATED, '4000.00', FeeBearer.FEE_BEARER_SHOP],
    ])
  })

  test('is all that is left, once, and never more than that', async () => {
    const order = await processing()
    await ask(order.orderId, units(10n))
    const more = await failureOf(ask(order.orderId, units(order.amountDue)))
    expect(more).toMatchObject({
      ...{ reason: 'REFUND_TOO_LARGE', metadata: { available: (order.amountDue - 10n).toString() } },
    })
    expect(await ask(order.orderId, { $case: 'everything', value: true })).toMatchObject({
      units: (order.amountDue - 10n).toString(),
    })
    expect((await failureOf(ask(order.orderId, { $case: 'everything', value: true }))).reason).toBe('REFUND_TOO_LARGE')
  })

  test('needs a rate that is stated exactly if it is to be a stated one', async () => {
    const { orderId } = await processing()
    const wrong = (basis: RateBasis, rate?: string) =>
      failureOf(ask(orderId, { $case: 'fiat', value: { amount: '1.00', basis, rate } }))
    expect((await wrong(RateBasis.RATE_BASIS_STATED)).violations.map(({ field }) => field)).toEqual(['amount.rate'])
    expect((await wrong(RateBasis.RATE_BASIS_TODAY, '1.00')).reason).toBe('FIELD_INVALID')
    expect((await wrong(RateBasis.RATE_BASIS_STATED, '0')).reason).toBe('FIELD_INVALID')
  })

  test('of an order that may yet be paid is refused', async () => {
    const { order } = await shop.orderIn('pending')
    expect((await failureOf(ask(order.orderId, units(1n)))).reason).toBe('REFUND_TOO_LARGE')
  })

  test('that is rejected gives its money free', async () => {
    const order = await processing()
    const { refundId } = await ask(order.orderId, { $case: 'everything', value: true })
    await reject(FIRST, order.orderId, refundId)
    expect(await ask(order.orderId, { $case: 'everything', value: true })).toMatchObject({
      units: order.amountDue.toString(),
    })
  })
})

test('two hundred requests, approvals, rejections and new addresses at once exceed nothing', async () => {
  const order = await processing()
  const { orderId, amountDue } = order
  const made = await Promise.all([1, 2, 3].map(() => ask(orderId, units(amountDue / 3n))))
  const versions = await Promise.all(made.map(({ refundId }) => giveAndConfirm(orderId, refundId)))
  const admins = Array.from({ length: 8 }, (_, at): Caller => ({ role: 'admin', subject: String(20 + at) }))
  const outcomes = await callEachConcurrently(
    Array.from({ length: count(200, 2_000) }, (_, at) => async (): Promise<string> => {
      const one = versions[at % versions.length]
      const by = admins[at % admins.length] ?? admin
      if (one === undefined) return ''
      const act = (): Promise<unknown> => {
        if (at % 4 === 0) return ask(orderId, units(amountDue / 4n))
        if (at % 20 === 3) return reject(by, orderId, one.refundId)
        return approve(by, orderId, one.refundId, one.version)
      }
      return act().then(
        () => 'done',
        (error: { reason?: string }) => error.reason ?? 'unknown',
      )
    }),
  )
  const allowed = ['done', 'REFUND_TOO_LARGE', 'REFUND_STATUS', 'REFUND_APPROVER', 'VERSION_MISMATCH']
  expect(outcomes.filter((outcome) => !allowed.includes(outcome))).toEqual([])
  const [{ promised, received, wrong } = { promised: '', received: '', wrong: 0n }] = await shop.query<{
    promised: string
    received: string
    wrong: bigint
  }>(
    `select promised_refunds($1, i.network, i.asset, null, null) as promised,
       received_money($1, i.network, i.asset, null) as received,
       (select count(*) from refund r where r.order_id = $1 and r.status = 'approved' and 2 <> (
          select count(*) from refund_approval a where a.refund_id = r.refund_id)) as wrong
     from invoice i where i.order_id = $1`,
    [orderId],
  )
  expect(BigInt(promised)).toBeLessThanOrEqual(BigInt(received))
  expect(wrong).toBe(0n)
})
