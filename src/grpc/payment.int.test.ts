import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putOrder, putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, watcher, type TestFront, failureOf } from '../../test/support/front.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import type { Observation } from '../domain/chain.ts'
import { createReporter } from './client.ts'
import { PaymentReport } from './gen/holdfast/v1/payment.ts'
import { MAX_REPORT_BYTES, packReport } from './report.ts'

let database: TestDatabase
let front: TestFront

beforeAll(async () => {
  database = await createTestDatabase()
  front = await createTestFront(database)
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

const hash = (): string => `0x${randomBytes(32).toString('hex')}`
const buildOrder = async (): Promise<AcceptedOrder> => {
  const { productId } = await putProduct(database)
  return putOrder(database, { lines: [{ productId, quantity: 1, unitPriceMinor: 1_250n }] })
}
const buildObservation = (overrides: Partial<Observation> = {}): Observation => ({
  network: 'ethereum',
  asset: 'ETH',
  txId: hash(),
  outputIndex: 0,
  seq: 1,
  state: 'seen',
  address: `0x${randomBytes(20).toString('hex')}`,
  amount: 10n ** 15n,
  block: { height: 12, hash: hash() },
  firstSeenAt: new Date(),
  ...overrides,
})
const SOURCE = { source: 'watcher-1', confirmations: 12 }
const report = (observations: readonly Observation[], source = SOURCE) =>
  createReporter({ client: front.as(watcher), ...source, sign: front.sign })(observations)

const nowS = () => BigInt(Math.floor(Date.now() / 1_000))
/** Sends bytes that are signed as they should be, unless the test says otherwise. */
const send = async (bytes: Buffer, overrides: { timestampS?: bigint; signatures?: string[]; id?: string } = {}) => {
  const request = { id: overrides.id ?? randomUUID(), timestampS: overrides.timestampS ?? nowS(), report: bytes }
  return front
    .as(watcher)
    .payment.reportPayments({ ...request, signatures: overrides.signatures ?? front.sign(request) })
}
const storedOf = (address: string) =>
  database.query('select order_id, state, amount, seq from payment_report where address = $1 order by report_no', [
    address,
  ])

test('a report is stored with the order of its address, extends the hold that was paid, and asks for a look', async () => {
  const order = await buildOrder()
  await database.query(
    "update reservation set expires_at = clock_timestamp() + interval '1 minute' where order_id = $1",
    [order.orderId],
  )
  expect(await report([buildObservation({ address: order.address, amount: order.amountDue })])).toBe(1)
  expect(await storedOf(order.address)).toEqual([
    { order_id: order.orderId, state: 'seen', amount: order.amountDue.toString(), seq: 1 },
  ])
  const [row] = await database.query<{ extended: boolean; wakes: bigint }>(
    `select bool_and(expires_at > clock_timestamp() + interval '10 minutes') as extended,
       (select count(*) from order_wake where order_id = $1) as wakes from reservation where order_id = $1`,
    [order.orderId],
  )
  expect(row).toEqual({ extended: true, wakes: 1n })
})

test('the same fact many times over many requests is one row, and every answer is the same', async () => {
  const order = await buildOrder()
  const observation = buildObservation({ address: order.address })
  const { report: bytes } = packReport(SOURCE, [observation])
  const id = randomUUID()
  const answers = await Promise.all(Array.from({ length: 20 }, () => send(bytes, { id })))
  expect(new Set(answers.map((answer) => JSON.stringify(answer)))).toEqual(
    new Set([JSON.stringify({ id, observations: 1 })]),
  )
  await report([observation])
  expect(await storedOf(order.address)).toHaveLength(1)
})

test('final, reorged and final again are three facts', async () => {
  const order = await buildOrder()
  const observation = buildObservation({ address: order.address })
  await report([{ ...observation, state: 'final', seq: 1 }])
  await report([{ ...observation, state: 'reorged', seq: 2 }])
  await report([{ ...observation, state: 'final', seq: 3, block: { height: 13, hash: hash() } }])
  expect((await storedOf(order.address)).map((row) => row['state'])).toEqual(['final', 'reorged', 'final'])
})

describe('a fact that contradicts a stored one', () => {
  const conflicts = async (): Promise<number> =>
    (await front.registry.getSingleMetric('holdfast_payment_report_conflicts_total')?.get())?.values[0]?.value ?? 0

  const changes: [string, Partial<Observation>][] = [
    ['state', { state: 'final' }],
    ['amount', { amount: 7n }],
    ['address', { address: `0x${'ab'.repeat(20)}` }],
    ['block', { block: { height: 13, hash: hash() } }],
    ['height', { block: { height: 13, hash: `0x${'cd'.repeat(32)}` } }],
    ['absence of a block', { state: 'dropped', block: undefined }],
  ]
  test.each(changes)('is refused for its %s with REPORT_CONFLICT, and counted', async (_what, change) => {
    const order = await buildOrder()
    const observation = buildObservation({
      address: order.address,
      amount: 1n,
      block: { height: 12, hash: `0x${'cd'.repeat(32)}` },
    })
    await report([observation])
    const before = await conflicts()
    const error = await failureOf(report([{ ...observation, ...change }]))
    expect(error).toMatchObject({ reason: 'REPORT_CONFLICT', kind: 'wrong_state', metadata: { seq: '1' } })
    expect(await storedOf(order.address)).toEqual([{ order_id: order.orderId, state: 'seen', amount: '1', seq: 1 }])
    expect(await conflicts()).toBe(before + 1)
    const line = front.logLines().findLast((each) => each.includes('a report contradicts a stored one'))
    expect(JSON.parse(line ?? '{}')).toMatchObject({ level: 50, source: 'watcher-1', seq: '1' })
  })

  test('leaves nothing of its report stored, and the others are stored when they are sent alone', async () => {
    const [first, second] = [buildObservation(), buildObservation()]
    await report([first])
    const wrong = { ...first, amount: first.amount + 1n }
    expect((await failureOf(report([second, wrong]))).reason).toBe('REPORT_CONFLICT')
    expect(await storedOf(second.address)).toEqual([])
    await report([second])
    expect(await storedOf(second.address)).toHaveLength(1)
  })

  test('is found within one report and between reports at once', async () => {
    const fact = buildObservation()
    expect((await failureOf(report([fact, { ...fact, amount: 7n }]))).reason).toBe('REPORT_CONFLICT')
    expect(await storedOf(fact.address)).toEqual([])
    const amounts = Array.from({ length: 10 }, (_, at) => BigInt(1 + at))
    const outcomes = await Promise.allSettled(amounts.map((amount) => report([{ ...fact, amount }])))
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const [stored] = await storedOf(fact.address)
    expect(outcomes[amounts.findIndex((amount) => amount.toString() === stored?.['amount'])]?.status).toBe('fulfilled')
  })

  test('is not one that another time of the first sighting makes: the stored time counts', async () => {
    const fact = buildObservation()
    await report([fact])
    expect(await report([{ ...fact, firstSeenAt: new Date(fact.firstSeenAt.getTime() + 1_000) }])).toBe(1)
    expect(await storedOf(fact.address)).toHaveLength(1)
  })

  test('and a row stored under the id of an earlier watcher is still the same fact, in either form', async () => {
    const fact = buildObservation()
    const valid = PaymentReport.decode(packReport(SOURCE, [fact]).report)
    const formerId = createHash('sha256')
      .update([fact.network, fact.txId, fact.outputIndex, fact.state, fact.block?.hash, fact.seq].join('\n'))
      .digest('hex')
    const observations = valid.observations.map((each) => ({ ...each, reportId: formerId }))
    const former = Buffer.from(PaymentReport.encode({ ...valid, observations }).finish())
    await send(former)
    await send(former)
    await report([fact])
    expect(await storedOf(fact.address)).toHaveLength(1)
    expect((await failureOf(report([{ ...fact, amount: fact.amount + 1n }]))).reason).toBe('REPORT_CONFLICT')
  })
})

test('money to nobody’s address is kept too', async () => {
  const observation = buildObservation()
  await report([observation])
  expect(await storedOf(observation.address)).toMatchObject([{ order_id: null }])
})

test('more observations than fit are reported part by part', async () => {
  const observations = Array.from({ length: 5 }, () => buildObservation())
  expect(await report(observations)).toBe(3)
})

test('a report is refused when its signature, time or size is wrong', async () => {
  const observation = buildObservation()
  const { report: bytes } = packReport(SOURCE, [observation])
  const tampered = Buffer.from(bytes)
  tampered.writeUInt8(tampered.readUInt8(40) ^ 1, 40)
  const request = { id: randomUUID(), timestampS: nowS(), report: bytes }
  const cases: [Promise<unknown>, string][] = [
    [
      send(tampered, { id: request.id, timestampS: request.timestampS, signatures: front.sign(request) }),
      'SIGNATURE_INVALID',
    ],
    [send(bytes, { signatures: ['v1,AAAA'] }), 'SIGNATURE_INVALID'],
    [send(bytes, { timestampS: nowS() - 400n }), 'SIGNATURE_INVALID'],
    [send(bytes, { timestampS: nowS() + 400n }), 'SIGNATURE_INVALID'],
    [send(bytes, { signatures: [] }), 'FIELD_INVALID'],
    [send(randomBytes(MAX_REPORT_BYTES + 1)), 'MESSAGE_TOO_LARGE'],
    [send(randomBytes(MAX_REPORT_BYTES), { signatures: ['v1,AAAA'] }), 'SIGNATURE_INVALID'],
  ]
  for (const [call, reason] of cases) expect((await failureOf(call)).reason).toBe(reason)
  expect(await storedOf(observation.address)).toEqual([])
})

test('a signed report that says something impossible is refused with the field', async () => {
  const valid = PaymentReport.decode(packReport(SOURCE, [buildObservation()]).report)
  const [fact] = valid.observations
  if (fact === undefined) throw new Error('no observation')
  const cases: [Partial<PaymentReport>, string][] = [
    [{ source: 'watcher-2' }, 'report.source'],
    [{ observations: [] }, 'observations'],
    [{ observations: [{ ...fact, units: '1e3' }] }, 'observations[0].units'],
    [{ observations: [{ ...fact, units: '-1' }] }, 'observations[0].units'],
    [{ observations: [{ ...fact, units: '0' }] }, 'observations[0].units'],
    [{ observations: [{ ...fact, units: `1${'0'.repeat(40)}` }] }, 'observations[0].units'],
    [{ observations: [{ ...fact, txId: fact.txId.toUpperCase() }] }, 'observations[0].tx_id'],
    [{ observations: [{ ...fact, state: 99 as never }] }, 'observations[0].state'],
    [{ observations: [{ ...fact, seq: 0 }] }, 'observations[0].seq'],
    [{ observations: [{ ...fact, blockHash: undefined }] }, 'observations[0].block_hash'],
    [{ observations: [{ ...fact, firstSeenAt: undefined }] }, 'observations[0].first_seen_at'],
    [{ observations: [{ ...fact, asset: 'DOGE' }] }, 'observations[0].asset'],
    [{ observations: [{ ...fact, asset: '__proto__' }] }, 'observations[0].asset'],
    [{ observations: [{ ...fact, asset: '' }] }, 'observations[0].asset'],
    [{ observations: [{ ...fact, asset: 'BTC' }] }, 'observations[0].tx_id'],
    [{ network: 'Ethereum' }, 'network'],
    [{ network: "eth'; drop table orders" }, 'network'],
    [
      { observations: [{ ...fact, firstSeenAt: new Date('-004714-11-24T00:00:00Z') }] },
      'observations[0].first_seen_at',
    ],
    [{ observations: [{ ...fact, firstSeenAt: new Date('0000-12-31T23:59:59Z') }] }, 'observations[0].first_seen_at'],
    [
      { observations: [{ ...fact, firstSeenAt: new Date('+010000-01-01T00:00:00Z') }] },
      'observations[0].first_seen_at',
    ],
    [{ observations: [{ ...fact, seq: 2 }] }, 'report.observations[0].report_id'],
  ]
  for (const [change, field] of cases) {
    const error = await failureOf(send(Buffer.from(PaymentReport.encode({ ...valid, ...change }).finish())))
    expect(error.violations.map((violation) => violation.field)).toEqual([field])
  }
  expect((await failureOf(send(Buffer.from([0xff, 0xff])))).violations[0]?.field).toBe('report')
})

test('the extremes of every field are stored', async () => {
  const extremes: Partial<Observation>[] = [
    { outputIndex: 2 ** 31 - 1, seq: 2 ** 31 - 1 },
    { amount: 1n },
    { amount: 10n ** 27n },
    { block: { height: 0, hash: '0' } },
    { block: { height: Number.MAX_SAFE_INTEGER, hash: 'f'.repeat(128) } },
    { block: undefined, state: 'dropped' },
    { firstSeenAt: new Date('0001-01-01T00:00:00.000Z') },
    { firstSeenAt: new Date('9999-12-31T23:59:59.999Z') },
    { address: 'a'.repeat(128) },
    { network: 'a'.repeat(32) },
  ]
  for (const extreme of extremes) {
    // To an order's address, so that all of the money is judged too.
    const address = extreme.address ?? (await buildOrder()).address
    expect(await report([buildObservation({ address, ...extreme })])).toBe(1)
    expect(await storedOf(address)).toHaveLength(1)
  }
})

test('a token without the role of a watcher may not report, whatever it signs', async () => {
  const { report: bytes } = packReport(SOURCE, [buildObservation()])
  const request = { id: randomUUID(), timestampS: nowS(), report: bytes }
  const error = await failureOf(front.as(admin).payment.reportPayments({ ...request, signatures: front.sign(request) }))
  expect(error.reason).toBe('PERMISSION_DENIED')
})
