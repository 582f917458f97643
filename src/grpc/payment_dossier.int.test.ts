// GetPaymentDossier over gRPC: the facts and the explanation of an order in each state that its money may have, who may
// read it, and how large it can be.

import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { bodyOf, entriesOf } from '../../test/support/audit.ts'
import { admin, auditor, createTestFront, customer, failureOf } from '../../test/support/front.ts'
import type { Caller, TestFront } from '../../test/support/front.ts'
import { COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { buildObservation, createTestShop, nextOf, runOf, type Run, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { saveAssetRates } from '../db/asset_rate.ts'
import { expireOrder, reserveStock } from '../db/order.ts'
import { assessLatePayments, assessPayments, recordReport } from '../db/payment.ts'
import { endPayout, findOpenPayouts, preparePayout, storeSignature } from '../db/payout.ts'
import { systemActor } from '../domain/audit.ts'
import type { ReportedObservation } from '../domain/chain.ts'
import { formatAddress } from '../keyvault/address.ts'
import { createAdminClient, type GetPaymentDossierResponse } from './client.ts'
import { OrderHold, OrderStatus, PaymentFlag, PaymentState } from './gen/holdfast/v1/common.ts'
import { ReportJudgement } from './gen/holdfast/v1/payment_admin.ts'
import { RefundStatus } from './gen/holdfast/v1/refund.ts'
import { MAX_PAGE_BYTES } from './page.ts'
import { GetPaymentDossierResponse as DossierMessage } from './gen/holdfast/v1/payment_admin.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const HOUR_MS = 3_600_000
const PAYER = systemActor('worker')
const hex = (bytes: number): string => `0x${randomBytes(bytes).toString('hex')}`

let shop: TestShop
let front: TestFront
beforeAll(async () => {
  shop = await createTestShop()
  await shop.catchUp()
  front = await createTestFront(shop.test)
  await saveAssetRates(shop.api, 'EUR', [{ asset: 'ETH', rateMinor: 200_000n }])
})
afterAll(async () => {
  await front.stop()
  await shop.close()
})

type Target = Pick<AcceptedOrder, 'orderId'>
async function dossierOf(
  { orderId }: Target,
  { caller = auditor, includeDestinations = false }: { caller?: Caller; includeDestinations?: boolean } = {},
): Promise<GetPaymentDossierResponse> {
  const client = createAdminClient({ address: front.adminAddress, token: () => front.tokenOf(caller) })
  try {
    return await client.payment.getPaymentDossier({ orderId, includeDestinations })
  } finally {
    client.close()
  }
}

async function newOrder(overrides?: Parameters<TestShop['order']>[0]): Promise<{ order: AcceptedOrder; run: Run }> {
  const order = await shop.order(overrides)
  const run = runOf(order)
  await reserveStock(shop.worker, run.next())
  return { order, run }
}
async function pay(order: AcceptedOrder, run: Run, ...changes: Partial<ReportedObservation>[]) {
  const facts = changes.map((change) => buildObservation(order, { firstSeenAt: order.createdAt, ...change }))
  await recordReport(shop.api, 'w1', facts)
  await assessPayments(shop.worker, run.next())
  return facts
}
async function expired(): Promise<AcceptedOrder> {
  const { order, run } = await newOrder({ windowMs: 1, graceMs: 0 })
  await until(async () => (await expireOrder(shop.worker, run.next())).status === 'cancelled')
  return order
}
async function payLate(order: AcceptedOrder, accepts: boolean, change: Partial<ReportedObservation> = {}) {
  const firstSeenAt = new Date(order.expiresAt.getTime() + 1_000)
  await recordReport(shop.api, 'w1', [buildObservation(order, { firstSeenAt, ...change })])
  await putAddresses(shop.test, 1)
  const policy = { accepts, withinMs: 24 * HOUR_MS, driftBps: 200, rateAgeMs: HOUR_MS }
  await assessLatePayments(shop.worker, order.orderId, policy)
}
async function cancelledPaid(): Promise<AcceptedOrder> {
  const { order, run } = await newOrder()
  await pay(order, run, {})
  await shop.ask('cancel', run.next())
  return order
}

/** Brings the refund that an order owes to its approval. */
async function approve({ orderId }: Target, destination = formatAddress('ETH', hex(20))): Promise<string> {
  const [owed] = (await front.as(customer(7)).refund.listRefunds({ orderId })).refunds
  const refundId = owed?.refundId ?? ''
  const key = () => ({ idempotencyKey: randomUUID(), orderId, refundId })
  const { setRefundAddress } = front.as(customer(7)).refund
  await setRefundAddress({ ...key(), address: destination, confirm: false })
  const { version } = await setRefundAddress({ ...key(), address: destination, confirm: true })
  for (const subject of ['11', '12']) {
    const token = (): Promise<string> => front.tokenOf({ role: 'admin', subject })
    const client = createAdminClient({ address: front.adminAddress, token })
    await client.refund.approveRefund({ ...key(), version })
    client.close()
  }
  return refundId
}
async function send(refundId: string) {
  const sender = { network: 'ethereum', sender: hex(20), chainId: 31_337, chainNonce: 0 }
  await preparePayout(shop.worker, refundId, sender, { gasLimit: 21_000n, maxFee: 10n, priorityFee: 1n, actor: PAYER })
  const [payout] = await findOpenPayouts(shop.worker, sender, 1)
  const [payoutId, txId] = [payout?.payoutId ?? '', hex(32)]
  await storeSignature(shop.worker, payoutId, 1, { raw: hex(100), txId })
  return {
    payoutId,
    txId,
    end: () => endPayout(shop.worker, payoutId, { txId, isReverted: false, networkFee: 9n }, PAYER),
  }
}

describe('the dossier of an order', () => {
  test('that waits for money has its quote, its address and nothing else', async () => {
    const { order } = await newOrder()
    const dossier = await dossierOf(order)
    expect(dossier).toMatchObject({
      state: { orderId: order.orderId, status: OrderStatus.ORDER_STATUS_PENDING },
      explanation: expect.stringMatching(/^It waits for 0\.\d+ ETH until .* UTC; no money was seen yet\.$/),
      userId: 7n,
      quote: {
        ...{ network: 'ethereum', address: formatAddress('ETH', order.address), currency: 'EUR' },
        ...{ amount: { asset: 'ETH', units: order.amountDue.toString() }, prices: [], rateMadeAt: undefined },
        ...{ minimumUnits: String(order.amountDue - order.amountDue / 1000n), expiresAt: order.expiresAt },
      },
      money: { final: '0', seen: '0', lateFinal: '0', lateSeen: '0', accepted: '0', owed: '0' },
      ...{ transfers: [], transferCount: 0n, reports: [], reportCount: 0n, refunds: [], refundCount: 0n, ledger: [] },
      ...{ lateDecision: undefined, replacesOrderId: undefined, suspensions: [], suspendedSince: undefined },
      ...{ ignoredTransfers: [], ignoredTransferCount: 0n },
    })
    expect(dossier.auditEntries.length).toBeGreaterThan(0)
    expect(dossier.auditEntries.at(-1)?.seq).toBe(1n)
  })

  test('shows where its rate came from', async () => {
    const readAt = new Date('2026-01-02T03:04:05Z')
    const price = { source: 'kraken' as const, text: '2000.10', price: 200_010n, readAtMs: readAt.getTime(), readAt }
    const { order } = await newOrder({ rateOrigin: { rateId: randomUUID(), madeAt: readAt, prices: [price] } })
    expect((await dossierOf(order)).quote).toMatchObject({
      rateMadeAt: readAt,
      prices: [{ source: 'kraken', price: '2000.10', readAt }],
    })
  })

  test('that is paid in part says what is missing', async () => {
    const { order, run } = await newOrder()
    await pay(order, run, { amount: order.amountDue / 4n })
    const dossier = await dossierOf(order)
    expect(dossier.state?.paymentState).toBe(PaymentState.PAYMENT_STATE_PARTIAL)
    expect(dossier.explanation).toMatch(/is missing, and may come to the same address/)
    expect(dossier.transfers).toHaveLength(1)
  })

  test('that is being confirmed has the depth that is awaited', async () => {
    const { order, run } = await newOrder()
    await shop.query(`update chain_status set scanned_height = 14, tip_height = 14 where network = 'ethereum'`)
    await pay(order, run, { state: 'seen' })
    const dossier = await dossierOf(order)
    expect(dossier.explanation).toContain('The rest has 5 of at least 12 confirmations.')
    expect(dossier.transfers).toMatchObject([{ confirmations: 5, blockHeight: 10n, orderId: order.orderId }])
  })

  test('that is paid has each report with what became of it, and a ledger that adds up to zero', async () => {
    const { order, run } = await newOrder()
    const [seen] = await pay(order, run, { state: 'seen' })
    if (seen === undefined) throw new Error('nothing was reported')
    await recordReport(shop.api, 'w1', [nextOf(seen, { state: 'final' })])
    await assessPayments(shop.worker, run.next())
    await recordReport(shop.api, 'w2', [{ ...nextOf(seen), amount: 1n, state: 'seen' }])
    const dossier = await dossierOf(order)
    expect(dossier).toMatchObject({
      state: { status: OrderStatus.ORDER_STATUS_PROCESSING, paymentState: PaymentState.PAYMENT_STATE_PAID },
      reports: [
        { source: 'w2', judgement: ReportJudgement.REPORT_JUDGEMENT_WAITING, receivedAt: expect.any(Date) },
        { source: 'w1', seq: 2, judgement: ReportJudgement.REPORT_JUDGEMENT_COUNTS, blockHash: '0xab' },
        { source: 'w1', seq: 1, judgement: ReportJudgement.REPORT_JUDGEMENT_SUPERSEDED },
      ],
      ledger: [{ received: order.amountDue.toString(), customerDue: (-order.amountDue).toString(), postings: 1n }],
    })
    expect(dossier.explanation).toMatch(/^It is paid: .* is final\. It waits to be shipped\. 1 report waits/)
  })

  test('that got more than was due, or less, says how much', async () => {
    const [{ order: over, run: overRun }, { order: within, run: withinRun }] = [await newOrder(), await newOrder()]
    await pay(over, overRun, { amount: over.amountDue * 2n })
    await pay(within, withinRun, { amount: within.amountDue - within.amountDue / 1000n })
    const dossier = await dossierOf(over)
    expect(dossier).toMatchObject({
      paymentFlags: [PaymentFlag.PAYMENT_FLAG_OVER],
      money: { owed: over.amountDue.toString() },
      refunds: [{ refund: { status: RefundStatus.REFUND_STATUS_AWAITING_DESTINATION, destination: '' }, payouts: [] }],
    })
    expect(dossier.explanation).toMatch(/more than was due\. .* waits for an address/)
    expect((await dossierOf(within)).explanation).toContain('which is accepted although')
  })

  test('that expired with too little money owes it back', async () => {
    const { order, run } = await newOrder({ windowMs: 1, graceMs: 0 })
    await pay(order, run, { amount: order.amountDue / 4n })
    await until(async () => (await expireOrder(shop.worker, run.next())).status === 'cancelled')
    const dossier = await dossierOf(order)
    expect(dossier.state?.paymentState).toBe(PaymentState.PAYMENT_STATE_UNRESOLVED)
    expect(dossier.paymentFlags).toContain(PaymentFlag.PAYMENT_FLAG_UNDER)
    expect(dossier.explanation).toMatch(/has money that goes back: /)
  })

  test('whose late money is arriving, was refused, or bought it again says so', async () => {
    const [arriving, refused, bought] = [await expired(), await expired(), await expired()]
    await payLate(arriving, false, { state: 'seen' })
    expect((await dossierOf(arriving)).explanation).toMatch(/^It expired, and money came that is not final yet/)

    await payLate(refused, false)
    const unresolved = await dossierOf(refused)
    expect(unresolved.lateDecision).toMatchObject({ refusal: 'policy', replacementOrderId: undefined })
    expect(unresolved.explanation).toContain('Its late money could not buy it again: the shop takes no late money.')

    await payLate(bought, true)
    const { lateDecision, explanation } = await dossierOf(bought)
    const orderId = lateDecision?.replacementOrderId ?? ''
    expect(explanation).toContain(`Its late money pays order ${orderId}.`)
    const replacement = await dossierOf({ orderId })
    expect(replacement).toMatchObject({ replacesOrderId: bought.orderId, transfers: [], transferCount: 0n })
    expect(replacement.explanation).toContain(`The late money of order ${bought.orderId} pays it.`)
  })

  test('that lost its block, or its money, says why it is not shipped', async () => {
    const { order, run } = await newOrder()
    const [fact] = await pay(order, run, {})
    if (fact === undefined) throw new Error('nothing was reported')
    await recordReport(shop.api, 'w1', [nextOf(fact, { state: 'reorged', block: undefined })])
    await assessPayments(shop.worker, run.next())
    const atRisk = await dossierOf(order)
    expect(atRisk.state).toMatchObject({
      paymentState: PaymentState.PAYMENT_STATE_AT_RISK,
      hold: OrderHold.ORDER_HOLD_PAYMENT,
    })
    expect(atRisk.explanation).toContain('It is not shipped meanwhile.')
    await recordReport(shop.api, 'w1', [nextOf(fact, { seq: 3, state: 'replaced', block: undefined })])
    await assessPayments(shop.worker, run.next())
    const reversed = await dossierOf(order)
    expect(reversed.state?.paymentState).toBe(PaymentState.PAYMENT_STATE_REVERSED)
    expect(reversed.explanation).toContain('the money is lost')
  })

  test('follows a refund from its approvals to its transaction', async () => {
    const order = await cancelledPaid()
    const refundId = await approve(order)
    expect((await dossierOf(order)).explanation).toContain('is approved, and waits to be sent')
    const { txId, payoutId, end } = await send(refundId)
    const refunding = await dossierOf(order)
    expect(refunding.state?.paymentState).toBe(PaymentState.PAYMENT_STATE_REFUNDING)
    expect(refunding.explanation).toMatch(/^Its money is being sent back\./)
    await end()
    const refunded = await dossierOf(order)
    expect(refunded.state?.paymentState).toBe(PaymentState.PAYMENT_STATE_REFUNDED)
    expect(refunded.refunds).toMatchObject([
      {
        refund: { refundId, status: RefundStatus.REFUND_STATUS_PAID, txId, networkFee: '9' },
        approvals: [{ approver: 'user:12' }, { approver: 'user:11' }],
        payouts: [{ payoutId, status: 'confirmed', nonce: 0n, txIds: [txId] }],
      },
    ])
    expect(refunded.ledger).toMatchObject([{ refunded: (-order.amountDue - 9n).toString(), fees: '9' }])
  })

  test('that waits for the end of a suspension says since when, and why', async () => {
    const network = `sim-${randomUUID().slice(0, 8)}`
    const { order, run } = await newOrder({ network })
    await shop.test.forge('insert into chain_suspension (network) values ($1)', [network])
    await pay(order, run, {})
    const dossier = await dossierOf(order)
    expect(dossier).toMatchObject({
      state: { paymentState: PaymentState.PAYMENT_STATE_CONFIRMING },
      suspensions: [{ cause: 'deep_reorg', since: expect.any(Date) }],
      suspendedSince: expect.any(Date),
    })
    expect(dossier.explanation).toContain(`No order of ${network} becomes paid at the moment`)
  })

  test('shows what pays nothing: another asset, money from before, and an output of another order', async () => {
    const { order, run } = await newOrder()
    const { order: owner, run: ownerRun } = await newOrder()
    const [taken] = await pay(owner, ownerRun, {})
    const [early] = await pay(order, run, { firstSeenAt: new Date(order.createdAt.getTime() - HOUR_MS) })
    const [wrong] = await pay(order, run, { asset: 'BTC', txId: randomBytes(32).toString('hex') })
    await recordReport(shop.api, 'w2', [
      { ...(taken ?? buildObservation(order)), reportId: hex(32).slice(2), address: order.address },
    ])
    await assessPayments(shop.worker, run.next())
    const { reports, transfers, explanation } = await dossierOf(order)
    expect(transfers).toEqual([])
    expect(reports.map(({ txId, judgement, creditedOrderId }) => [txId, judgement, creditedOrderId])).toEqual([
      [taken?.txId, ReportJudgement.REPORT_JUDGEMENT_OF_ANOTHER_ORDER, owner.orderId],
      [wrong?.txId, ReportJudgement.REPORT_JUDGEMENT_WRONG_ASSET, undefined],
      [early?.txId, ReportJudgement.REPORT_JUDGEMENT_TOO_EARLY, undefined],
    ])
    expect(explanation).toContain('in another asset than ETH')
    expect(explanation).toContain('before the order was made')
  })

  test('shows the newest of what is no income, tokens and coins of our own, each once however many saw it', async () => {
    const { order } = await newOrder()
    const token = `0x${'a7'.repeat(20)}`
    const put = (kind: string, source: string, numbers: number, contract: string | null) =>
      shop.test.forge(
        `insert into ignored_transfer
           (network, source, address, tx_id, output_index, kind, token, sender, amount, block_height, block_hash, first_seen_at)
         select $1, $2, $3, $4, n, $5, $6, '0xef', n + 1, n, '0xab', now() from generate_series(0, $7::int - 1) n`,
        [order.network, source, order.address, `0x${'cd'.repeat(32)}`, kind, contract, numbers],
      )
    await put('wrong_asset', 'w1', 30, token)
    await put('wrong_asset', 'w2', 30, token)
    await put('own_transfer', 'w1', 1, null)
    const { ignoredTransfers, ignoredTransferCount } = await dossierOf(order)
    expect(ignoredTransferCount).toBe(31n)
    expect(ignoredTransfers.map(({ outputIndex }) => outputIndex)).toEqual(Array.from(Array(20), (_, at) => 29 - at))
    expect(ignoredTransfers[0]).toMatchObject({ token, sender: '0xef', units: '30', blockHeight: 29n })
  })
})

describe('a dossier', () => {
  test('is bounded: of ten thousand outputs it has the newest hundred and their number', async () => {
    const { order, run } = await newOrder()
    await pay(order, run, {})
    await shop.test.forge(
      `insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
       select network, tx_id, n, order_id, asset, 1, state, is_in_time, first_seen_at + n * interval '1 second'
       from payment, generate_series(1, 9999) n where order_id = $1`,
      [order.orderId],
    )
    await shop.test.forge(
      `insert into payment_report (source, report_id, network, asset, tx_id, output_index, seq, state, address, amount,
         block_height, block_hash, first_seen_at, order_id, received_at, is_assessed)
       select source, encode(sha256(n::text::bytea), 'hex'), network, asset, tx_id, n, 1, state, address, 1, block_height,
         block_hash, first_seen_at, order_id, received_at, true
       from payment_report, generate_series(1, 9999) n where order_id = $1`,
      [order.orderId],
    )
    const dossier = await dossierOf(order)
    expect([dossier.transferCount, dossier.reportCount]).toEqual([10_000n, 10_000n])
    expect(dossier.transfers.map(({ outputIndex }) => outputIndex)).toEqual(
      Array.from({ length: 100 }, (_, at) => 9_999 - at),
    )
    expect(dossier.reports).toHaveLength(100)
    expect(DossierMessage.encode(dossier).finish().length).toBeLessThan(MAX_PAGE_BYTES / 4)
  })

  test('shows the ends of an address that a refund goes to, and the whole of it to an admin who asks, on record', async () => {
    const order = await cancelledPaid()
    const destination = formatAddress('ETH', hex(20))
    await approve(order, destination)
    const shown = async (options: Parameters<typeof dossierOf>[1]) =>
      (await dossierOf(order, options)).refunds.map(({ refund }) => refund?.destination)
    const readsOf = async () =>
      (await entriesOf(shop.test, 'order', order.orderId))
        .map(bodyOf)
        .flatMap(({ by, changes }) => changes.map((change) => ({ by, change })))
        .filter(({ change }) => change.op === 'READ')
    const masked = `${destination.slice(0, 6)}…${destination.slice(-4)}`
    expect(await shown({ caller: admin })).toEqual([masked])
    expect(await shown({ caller: auditor })).toEqual([masked])
    const refused = await failureOf(dossierOf(order, { caller: auditor, includeDestinations: true }))
    expect(refused.reason).toBe('PERMISSION_DENIED')
    expect(await readsOf()).toEqual([])

    expect(await shown({ caller: admin, includeDestinations: true })).toEqual([destination])
    expect(await readsOf()).toMatchObject([
      {
        by: { actor: 'user:1', role: 'admin', reason: '/holdfast.v1.PaymentAdminService/GetPaymentDossier' },
        change: { table: 'pii_access', new: { user_id: '7', fields: ['refund_destination'] } },
      },
    ])
  })

  test('of an order that does not exist is NOT_FOUND for those who see all, and says nothing to others', async () => {
    const { order } = await newOrder()
    const missing = { orderId: randomUUID() }
    for (const caller of [admin, auditor])
      expect((await failureOf(dossierOf(missing, { caller }))).reason).toBe('NOT_FOUND')
    const answers = await Promise.all(
      [order, missing].map(async (target) => failureOf(dossierOf(target, { caller: customer(7) }))),
    )
    expect(answers.map(({ reason, message }) => [reason, message])).toEqual(
      Array.from({ length: 2 }, () => ['PERMISSION_DENIED', 'This is not allowed.']),
    )
  })
})
