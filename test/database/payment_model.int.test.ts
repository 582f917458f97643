// Model-based test of an order's payments: reports repeated, late, out of order, reversed and found again, by two
// sources. After every assessment the order must match a model written from the requirements.

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import fc from 'fast-check'
import { findViolations } from '../support/invariant.ts'
import { count, COUNT_WITHIN_MS, seed } from '../support/scale.ts'
import { buildObservation, createTestShop, runOf, type TestShop } from '../support/shop.ts'
import {
  ASSET_POLICY,
  minimumOf,
  TRANSFER_STATES,
  type PaymentState,
  type TransferState,
} from '../../src/domain/payment.ts'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'
import { assessLatePayments, assessPayments, recordReport } from '../../src/db/payment.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const OUTPUTS = 3
const DUST = ASSET_POLICY.ETH.dustFloor
const SOURCES = ['w1', 'w2'] as const
/** Possible amounts of an output, relative to the amount due. */
const AMOUNTS = [
  (due: bigint) => due,
  (due: bigint) => minimumOf(due),
  (due: bigint) => minimumOf(due) - 1n,
  (due: bigint) => due / 2n,
  () => DUST,
  () => DUST + 1n,
] as const

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('report' as const),
      source: fc.constantFrom(...SOURCES),
      output: fc.nat(OUTPUTS - 1),
      // A watcher numbers its reports of an output; now and then it repeats an earlier one, or skips one.
      seq: fc.integer({ min: 1, max: 4 }),
      state: fc.constantFrom<TransferState>('seen', 'final', 'final', ...TRANSFER_STATES),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('assess' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('cancel' as const, 'ship' as const, 'deliver' as const) }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

type Fact = { source: string; output: number; seq: number; state: TransferState; isInTime: boolean; amount: bigint }

/** The reference model: the requirements applied to all reports so far. */
class Model {
  readonly due: bigint
  readonly told: Fact[] = []
  status = 'pending'
  paymentState: PaymentState = 'awaiting'
  hold = 'none'
  flags = new Set<string>()
  owed: bigint | undefined
  hasNews = false

  constructor(due: bigint) {
    this.due = due
  }

  /** What the source reported of the output under this seq. */
  find(fact: Pick<Fact, 'source' | 'output' | 'seq'>): Fact | undefined {
    return this.told.find(
      ({ source, output, seq }) => source === fact.source && output === fact.output && seq === fact.seq,
    )
  }

  hear(fact: Fact): void {
    if (this.find(fact) !== undefined) return
    this.told.push(fact)
    this.hasNews = true
  }

  /** Per output: the least favourable of the sources' latest reports; final if one says final and none contradicts. */
  present(): Fact[] {
    return Array.from({ length: OUTPUTS }, (_, output) => {
      const words = SOURCES.flatMap((source) => {
        const own = this.told.filter((fact) => fact.output === output && fact.source === source)
        return own.toSorted((a, b) => b.seq - a.seq).slice(0, 1)
      })
      const against = (['replaced', 'dropped', 'reorged'] as const).flatMap((state) =>
        words.filter((word) => word.state === state),
      )
      return against[0] ?? words.find((word) => word.state === 'final') ?? words[0]
    }).filter((fact) => fact !== undefined)
  }

  assess(): void {
    const present = this.present()
    if (!this.hasNews || present.length === 0) return
    this.hasNews = false
    const sum = (isInTime: boolean, ...states: string[]) =>
      present
        .filter((fact) => fact.isInTime === isInTime && states.includes(fact.state))
        .reduce((total, { amount }) => total + amount, 0n)
    const [final, late] = [sum(true, 'final'), sum(false, 'final')]
    const seen = sum(true, 'seen', 'reorged', 'final')
    const came = seen + sum(false, 'seen', 'reorged', 'final')
    const isAwaited = present.some(({ state }) => state === 'seen' || state === 'reorged')
    const pays = (total: bigint) => total * 1000n >= this.due * 999n
    const isOpen = this.status === 'pending'
    const isEnded = this.status === 'cancelled'
    const excess = (isEnded ? final : final > this.due ? final - this.due : 0n) + late
    const owed = excess > DUST ? excess : 0n
    if (isEnded) this.paymentState = owed > 0n ? 'unresolved' : isAwaited ? 'late_confirming' : 'cancelled'
    else if (pays(final)) this.paymentState = 'paid'
    else if (!isOpen) this.paymentState = pays(seen) ? 'at_risk' : 'reversed'
    else this.paymentState = pays(seen) ? 'confirming' : seen > 0n ? 'partial' : 'awaiting'
    if (isOpen && this.paymentState === 'paid') this.status = 'processing'
    if (this.status === 'processing') this.hold = this.paymentState === 'paid' ? 'none' : 'payment'

    const mark = (flag: string, is: boolean) => (is ? this.flags.add(flag) : this.flags.delete(flag))
    mark('over', final + late > this.due)
    mark('within_tolerance', this.paymentState === 'paid' && final < this.due)
    mark('under', isEnded && came > 0n && !pays(came))
    if (present.some(({ isInTime }) => !isInTime)) this.flags.add('late')
    for (const state of ['reorged', 'replaced'] as const)
      if (present.some((fact) => fact.state === state)) this.flags.add(state)

    if (owed > 0n || this.owed !== undefined) this.owed = owed
  }

  /** Credited amounts count as of the last assessment. */
  cancel(credited: readonly { state: string; amount: bigint }[]): void {
    if (this.status !== 'pending' && this.status !== 'processing') return
    this.status = 'cancelled'
    const final = credited.reduce((total, { state, amount }) => (state === 'final' ? total + amount : total), 0n)
    const isAwaited = credited.some(({ state }) => state === 'seen' || state === 'reorged')
    const came = credited.reduce((sum, { state, amount }) => (CAME.includes(state) ? sum + amount : sum), 0n)
    if (came > 0n && came * 1000n < this.due * 999n) this.flags.add('under')
    this.paymentState = final > DUST ? 'unresolved' : isAwaited ? 'late_confirming' : 'cancelled'
    if (final > DUST) this.owed = final
  }
}

/** States of money that is there, or may return. */
const CAME = ['seen', 'reorged', 'final']

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterAll(() => shop.close())

const creditsOf = async ({ orderId }: AcceptedOrder) =>
  (
    await shop.query<{ state: string; amount: string }>('select state, amount from payment where order_id = $1', [
      orderId,
    ])
  ).map(({ state, amount }) => ({ state, amount: BigInt(amount) }))

async function compare(order: AcceptedOrder, model: Model): Promise<void> {
  const [found] = await shop.query(
    `select status, payment_state, hold, payment_flags as flags, (select amount from refund_due d where d.order_id = o.order_id) as owed
     from orders o where order_id = $1`,
    [order.orderId],
  )
  expect(found).toEqual({
    status: model.status,
    payment_state: model.paymentState,
    hold: model.hold,
    flags: [...model.flags].toSorted(),
    owed: model.owed?.toString() ?? null,
  })
}

test('whatever watchers say, in whatever order, the money is what the requirements make of it', async () => {
  const { productId } = await shop.product({ onHand: 1_000_000n })
  const lines = [{ productId, quantity: 1, unitPriceMinor: 1_250n }]
  const lives = fc.record({
    amounts: fc.array(fc.nat(AMOUNTS.length - 1), { minLength: OUTPUTS, maxLength: OUTPUTS }),
    late: fc.array(fc.boolean(), { minLength: OUTPUTS, maxLength: OUTPUTS }),
    steps: fc.array(step, { minLength: 4, maxLength: 24 }),
  })
  const property = fc.asyncProperty(lives, async ({ amounts, late, steps }) => {
    const order = await shop.order({ lines })
    const run = runOf(order)
    const model = new Model(order.amountDue)
    const txId = `0x${randomBytes(32).toString('hex')}`
    const live: Readonly<Record<Exclude<Step['kind'], 'report'>, () => Promise<void>>> = {
      assess: async () => {
        const isEnd = model.status === 'cancelled' || model.status === 'delivered'
        await (isEnd ? assessLatePayments(shop.worker, order.orderId) : assessPayments(shop.worker, run.next()))
        model.assess()
      },
      cancel: async () => {
        const credited = await creditsOf(order)
        await shop.ask('cancel', run.next())
        model.cancel(credited)
      },
      ship: async () => {
        await shop.ask('ship', run.next())
        if (model.status === 'processing' && model.paymentState === 'paid' && !model.hasNews) model.status = 'shipped'
      },
      deliver: async () => {
        await shop.ask('deliver', run.next())
        if (model.status === 'shipped') model.status = 'delivered'
      },
    }
    for (const one of [...steps, { kind: 'assess' as const }]) {
      if (one.kind !== 'report') {
        await live[one.kind]()
        await compare(order, model)
        continue
      }
      const { source, output, seq, state } = one
      const amount = AMOUNTS[amounts[output] ?? 0]?.(order.amountDue) ?? 1n
      const isInTime = late[output] !== true
      const firstSeenAt = isInTime ? order.createdAt : new Date(order.expiresAt.getTime() + 3_600_000)
      const observation = buildObservation(order, { txId, outputIndex: output, seq, state, amount, firstSeenAt })
      const earlier = model.find({ source, output, seq })
      if (earlier !== undefined && earlier.state !== state) {
        await expect(recordReport(shop.api, source, [observation])).rejects.toMatchObject({ reason: 'REPORT_CONFLICT' })
        await compare(order, model)
        continue
      }
      const told = await recordReport(shop.api, source, [observation])
      const before = model.told.length
      model.hear({ source, output, seq, state, isInTime, amount })
      expect(told).toBe(model.told.length - before)
    }
  })
  await fc.assert(property, { numRuns: count(80, 10_000), seed })
  expect(await findViolations(shop.test)).toEqual([])
})
