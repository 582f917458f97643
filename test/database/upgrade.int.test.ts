// Upgrade of a shop that was filled under migration 0012, the last of the squashed ones: the newest version applies its
// rules to the old data.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { buildLine, buildProposal, putProduct } from '../support/builder.ts'
import { createEmptyDatabase, openTestDatabase, type TestDatabase } from '../support/database.ts'
import { findViolations } from '../support/invariant.ts'
import { buildCommand, buildObservation, nextOf, SHIP } from '../support/shop.ts'
import { systemActor } from '../../src/domain/audit.ts'
import {
  createAcceptor,
  findVerdict,
  type AcceptedOrder,
  type AcceptVerdict,
  type ProposedOrder,
} from '../../src/db/accept/accept.ts'
import type { VerdictRow } from '../../src/db/accept/verdict.ts'
import { migrate } from '../../src/db/migrate.ts'
import { runCommand } from '../../src/db/order.ts'
import { assessLatePayments, assessPayments, recordReport } from '../../src/db/payment.ts'
import type { ReportedObservation } from '../../src/domain/chain.ts'
import { statement, type Database, type Statement } from '../../src/db/connection/pool.ts'

const VERSION_BEFORE = 12

let db: TestDatabase
let api: Database
let worker: Database
beforeAll(async () => {
  db = await createEmptyDatabase()
  await migrate(db.url, VERSION_BEFORE)
  api = await openTestDatabase({ url: db.urlOf('app_api'), poolSize: 2, applicationName: 'test-api' })
  worker = await openTestDatabase({
    url: db.urlOf('app_worker'),
    poolSize: 2,
    applicationName: 'test-worker',
    actor: systemActor('worker'),
  })
})
afterAll(async () => {
  await api.close()
  await worker.close()
  await db.drop()
})

// What a worker of that version calls.
const STEP = statement('old_step', 'select outcome from step_order($1, $2, $3, $4)')
const BEGIN = statement('old_begin', 'select outcome from begin_assessment($1, $2, $3)')
const END = statement('old_end', 'select status from end_assessment($1, $2, $3, $4, $5, $6, $7, $8)')

type Judged = { paymentState: string; status?: string; flags?: string[]; refund?: bigint }

/** Names in JSON between the api and the functions of version 0022, and what they became with 0033. */
const OLD_NAMES = { ordinal: 'i', line: 'n', product: 'p', quantity: 'q' }
const NEW_NAMES = { i: 'ordinal', n: 'line', p: 'product', q: 'quantity' }
const rename = (value: unknown, names: Readonly<Record<string, string>>): unknown =>
  JSON.parse(JSON.stringify(value), (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).map(([name, field]) => [names[name] ?? name, field]))
      : part,
  )

const newDetailOf = (detail: unknown): unknown => {
  const renamed = rename(detail, NEW_NAMES)
  return renamed !== null && typeof renamed === 'object' && 'prices' in renamed
    ? { ...renamed, prices: rename(renamed.prices, { price: 'unit_price' }) }
    : renamed
}

/** The api of version 0022: accepts orders in the words of then. */
const oldApi: Pick<Database, 'run'> = {
  run: async <Row>(query: Statement, [orders, ...others]: readonly unknown[] = []) => {
    const asked = JSON.stringify(rename(JSON.parse(orders as string), OLD_NAMES))
    const rows = await api.run<VerdictRow>(query, [asked, ...others])
    return rows.map((row) => ({
      ...row,
      lines: rename(row.lines, NEW_NAMES),
      detail: newDetailOf(row.detail),
    })) as Row[]
  },
}
const accept = (proposal: ProposedOrder) =>
  createAcceptor({ database: oldApi, giveBack: () => undefined }).accept(proposal)

async function putOrder(network = 'ethereum'): Promise<AcceptedOrder> {
  const { productId } = await putProduct(db, { onHand: 10n })
  const answer = await accept(buildProposal({ network, lines: [buildLine({ productId, quantity: 2 })] }))
  if (!('order' in answer)) throw new Error(`the order was refused: ${answer.verdict}`)
  await worker.run(STEP, [answer.order.orderId, 1, 1, 'reserve'])
  return answer.order
}

/** Reports what sources say, and stores the assessment of an old worker. */
async function judge(
  { orderId }: AcceptedOrder,
  /** Null: the order has ended. */
  step: number | null,
  said: Readonly<Record<string, readonly ReportedObservation[]>>,
  { paymentState, status = 'pending', flags = [], refund = 0n }: Judged,
): Promise<void> {
  for (const [source, facts] of Object.entries(said)) await recordReport(api, source, facts)
  const generation = step === null ? null : 1
  expect(await worker.run(BEGIN, [orderId, generation, step])).toEqual([{ outcome: 'entered' }])
  await worker.run(END, [orderId, generation, step, paymentState, flags, status, 'none', refund.toString()])
}

const PAID: Judged = { paymentState: 'paid', status: 'processing' }
const cancel = ({ orderId }: AcceptedOrder, step: number) =>
  runCommand(worker, { orderId, generation: 1, step }, 'cancel', buildCommand({ role: 'admin', actor: 'user:1' }))
const ship = ({ orderId }: AcceptedOrder, step: number) =>
  runCommand(worker, { orderId, generation: 1, step }, 'ship', buildCommand(SHIP))

/** One attempt for each refusal that names products, with what its caller is told. */
async function putRefusals(): Promise<{ proposal: ProposedOrder; verdict: AcceptVerdict }[]> {
  const [short, dear] = await Promise.all([putProduct(db, { onHand: 1n }), putProduct(db, { unitPrice: '2.00' })])
  const shortages = [{ productId: short.productId, wanted: 2n, available: 1n }]
  const prices = [{ productId: dear.productId, unitPriceMinor: 200n }]
  const refusals = [
    {
      proposal: buildProposal({ lines: [buildLine({ productId: short.productId, quantity: 2 })] }),
      verdict: { verdict: 'OUT_OF_STOCK', shortages },
    },
    {
      proposal: buildProposal({ lines: [buildLine({ productId: dear.productId, unitPriceMinor: 100n })] }),
      verdict: { verdict: 'PRICE_CHANGED', prices },
    },
  ] as const
  for (const { proposal, verdict } of refusals) expect(await accept(proposal)).toEqual(verdict)
  return [...refusals]
}

async function pictureOf({ orderId }: AcceptedOrder) {
  const [row] = await db.query(
    `select o.status, o.payment_state as "paymentState", o.hold, coalesce(d.amount, 0) as owed,
       exists (select from order_wake w where w.order_id = o.order_id) as "isWoken"
     from orders o left join refund_due d on d.order_id = o.order_id where o.order_id = $1`,
    [orderId],
  )
  return row
}

/** Does what the wakes request, as the orders' workflows and their aftercare do. */
async function workOff(): Promise<void> {
  const wakes = await db.query<{ orderId: string; isOpen: boolean; step: number }>(
    `select order_id as "orderId", o.status not in ('delivered', 'cancelled') as "isOpen", o.step
     from order_wake join orders o using (order_id)`,
  )
  for (const { orderId, isOpen, step } of wakes) {
    if (isOpen) await assessPayments(worker, { orderId, generation: 1, step: step + 1 })
    else await assessLatePayments(worker, orderId)
  }
  expect(await db.query('select order_id from order_wake')).toEqual([])
}

test('a filled database is judged again by the rules of now, and nothing in it differs afterwards', async () => {
  const [sound, lost, excess, dust, late, lateOpen, early, dropped] = await Promise.all(
    Array.from({ length: 8 }, () => putOrder()),
  )
  if (!sound || !lost || !excess || !dust || !late || !lateOpen || !early || !dropped) throw new Error('no orders')
  const lateAt = (order: AcceptedOrder) => new Date(order.expiresAt.getTime() + 3_600_000)
  await judge(sound, 2, { w1: [buildObservation(sound)] }, PAID)
  const lostFact = buildObservation(lost)
  const otherWord = nextOf(lostFact, { state: 'seen' })
  await judge(lost, 2, { w1: [lostFact], w2: [otherWord, nextOf(otherWord, { state: 'reorged' })] }, PAID)
  const overpaid = [buildObservation(excess, { amount: excess.amountDue + 1n })]
  await judge(excess, 2, { w1: overpaid }, { ...PAID, flags: ['over'], refund: 1n })
  await judge(dust, 2, { w1: [buildObservation(dust, { amount: 1n })] }, { paymentState: 'partial' })
  await cancel(dust, 3)
  await judge(late, 2, { w1: [buildObservation(late, { firstSeenAt: lateAt(late) })] }, { ...PAID, flags: ['late'] })
  const lateSight = buildObservation(lateOpen, { state: 'seen', firstSeenAt: lateAt(lateOpen) })
  await judge(lateOpen, 2, { w1: [lateSight] }, { paymentState: 'confirming', flags: ['late'] })
  await judge(early, 2, { w1: [buildObservation(early, { firstSeenAt: new Date(0) })] }, PAID)
  const sight = buildObservation(dropped, { state: 'seen', amount: 5n })
  await judge(dropped, 2, { w1: [sight] }, { paymentState: 'partial' })
  await cancel(dropped, 3)
  const gone = nextOf(sight, { state: 'dropped' })
  await judge(dropped, null, { w1: [gone] }, { paymentState: 'late_confirming', status: 'cancelled' })
  expect(await pictureOf(excess)).toMatchObject({ owed: '1' })
  expect(await pictureOf(dust)).toMatchObject({ status: 'cancelled', paymentState: 'unresolved', owed: '1' })

  const unread = await putOrder('Sepolia')
  const refusals = await putRefusals()

  await migrate(db.url)
  expect(await pictureOf(sound)).toMatchObject({ paymentState: 'paid', isWoken: false })
  expect(await pictureOf(late)).toMatchObject({ paymentState: 'paid', isWoken: false })
  for (const { proposal, verdict } of refusals) expect(await findVerdict(api, proposal)).toEqual(verdict)
  expect(await ship(lost, 3)).toMatchObject({ ok: false })
  await workOff()

  expect(await findViolations(db)).toEqual([])
  expect(await pictureOf(lost)).toMatchObject({ status: 'processing', paymentState: 'at_risk', hold: 'payment' })
  expect(await pictureOf(excess)).toMatchObject({ status: 'processing', paymentState: 'paid', owed: '0' })
  expect(await pictureOf(dust)).toMatchObject({ status: 'cancelled', paymentState: 'cancelled', owed: '0' })
  expect(await pictureOf(dropped)).toMatchObject({ status: 'cancelled', paymentState: 'cancelled' })
  expect(await pictureOf(lateOpen)).toMatchObject({ status: 'pending', paymentState: 'awaiting' })
  // An announced sale stays valid, also when its payment is reported again.
  for (const [order, seenAt] of [
    [late, lateAt(late)],
    [early, new Date(0)],
  ] as const) {
    const [paid] = await db.query<{ txId: string }>('select tx_id as "txId" from payment where order_id = $1', [
      order.orderId,
    ])
    await recordReport(api, 'w2', [buildObservation(order, { txId: paid?.txId ?? '', firstSeenAt: seenAt })])
  }
  await workOff()
  expect(await ship(late, 4)).toMatchObject({ ok: true })
  expect(await ship(early, 4)).toMatchObject({ ok: true })
  // The configuration no longer accepts this network, so no watcher reads that chain: an operator decides.
  expect(await cancel(unread, 2)).toMatchObject({ ok: true })
  const retirements = 'select network from key_retire where order_id = $1'
  expect(await db.query(retirements, [unread.orderId])).toEqual([{ network: 'Sepolia' }])
  expect(await findViolations(db)).toEqual([])
})
