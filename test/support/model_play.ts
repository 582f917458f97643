// Model-based test of the shop: makes random calls to a shop and the same calls to its model. After each call, all
// that the shop stores of orders and stock must equal the model.

import { randomBytes, randomUUID } from 'node:crypto'
import { expect } from '@jest/globals'
import fc from 'fast-check'
import { createAcceptor, type AcceptedOrder, type ProposedOrder } from '../../src/db/accept/accept.ts'
import { putProduct } from '../../src/db/catalogue.ts'
import { changeAddress, expireOrder, runCommand } from '../../src/db/order.ts'
import { assessLatePayments, assessPayments, recordReport } from '../../src/db/payment.ts'
import type { ReportedObservation } from '../../src/domain/chain.ts'
import type { Database } from '../../src/db/connection/pool.ts'
import { adjustStock } from '../../src/db/stock.ts'
import { sweepHolds } from '../../src/db/sweep.ts'
import type { Fence } from '../../src/domain/command.ts'
import { DomainError } from '../../src/domain/failure.ts'
import type { OrderState } from '../../src/domain/order.ts'
import { buildAttempt, buildLine, buildProposal } from './builder.ts'
import { createFailpoint, createStrike, isAnswerLost } from './failpoint.ts'
import type { Answer, ModelOrder, ShopModel } from './model.ts'
import { buildCommand, buildObservation, nextOf, SHIP, type TestShop } from './shop.ts'
import { until } from './until.ts'

const PRICES = [1_250n, 1_000n, 1n] as const
const HOUR_MS = 3_600_000
const OPENING = 12n
const PRODUCTS = 3
/** Each killed session can spoil one call. */
const MOST_TRIES = 10
/** One more than there are products: the last is not for sale. */
const product = fc.nat(PRODUCTS)
const order = fc.nat(30)
/** Statements of the longest transaction, and a few beyond: then nothing is killed. */
const kill = fc.option(fc.nat(12), { freq: 8, nil: undefined })
const version = fc.constantFrom(...(['any', 'any', 'right', 'wrong'] as const))

/** The calls; `kill` terminates the session after this many statements, then the same call is repeated. */
const CALLS = {
  create: fc.record({
    lines: fc.array(fc.record({ product, quantity: fc.integer({ min: 1, max: 4 }) }), { minLength: 1, maxLength: 3 }),
    isShort: fc.boolean(),
    isStale: fc.nat(9).map((one) => one === 0),
    kill,
  }),
  repeat: fc.record({ order, isAltered: fc.boolean() }),
  report: fc.record({
    order,
    amount: fc.constantFrom(...(['right', 'right', 'least', 'under', 'half', 'over'] as const)),
    state: fc.constantFrom('seen' as const, 'final' as const),
    isLate: fc.nat(4).map((one) => one === 0),
    kill,
  }),
  follow: fc.record({ order, transfer: fc.nat(3), state: fc.constantFrom('final' as const, 'reorged' as const), kill }),
  assess: fc.record({ order, kill }),
  command: fc.record({
    order,
    command: fc.constantFrom('cancel' as const, 'ship' as const, 'ship' as const, 'deliver' as const),
    isAdmin: fc.boolean(),
    version,
    kill,
  }),
  address: fc.record({ order, version, kill }),
  expire: fc.record({ order, kill }),
  sweep: fc.record({}),
  adjust: fc.record({ product: fc.nat(PRODUCTS - 1), units: fc.integer({ min: -6, max: 6 }), kill }),
  reprice: fc.record({ product: fc.nat(PRODUCTS - 1), price: fc.constantFrom(...PRICES), kill }),
} as const
type Kind = keyof typeof CALLS
type CallOf<K extends Kind> = (typeof CALLS)[K] extends fc.Arbitrary<infer Value> ? Value : never
const WEIGHTS: Readonly<Record<Kind, number>> = {
  ...{ create: 8, repeat: 2, report: 5, follow: 2, assess: 5, command: 6, address: 1, expire: 2, sweep: 1 },
  ...{ adjust: 2, reprice: 1 },
}

/** What a call must answer, from the model, and how it is made. `door` may kill its session. */
type Play = { expected: () => Answer; call: (door: (database: Database) => Database) => Promise<Answer> }

/** Refusals are answers; everything else that is thrown is not. */
async function answerOf(call: Promise<Answer>): Promise<Answer> {
  try {
    return await call
  } catch (error) {
    if (error instanceof DomainError && !isAnswerLost(error)) return { reason: error.reason }
    throw error
  }
}

export class ShopUnderTest {
  readonly productIds: string[] = []
  readonly #shop: TestShop
  readonly #areKilled: boolean // the sessions of calls that say so
  readonly #accepted: AcceptedOrder[] = []
  readonly #proposals: ProposedOrder[] = []
  readonly #facts: ReportedObservation[][] = []
  readonly #steps: number[] = []
  kills = 0 // sessions that were ended in the middle of a call
  #isAskedAgain = false

  constructor(shop: TestShop, areKilled: boolean) {
    this.#shop = shop
    this.#areKilled = areKilled
  }

  async open(model: ShopModel): Promise<void> {
    for (let at = 0; at < PRODUCTS; at += 1) {
      const { productId } = await this.#shop.product({ onHand: OPENING })
      this.productIds.push(productId)
      model.products.set(productId, { onHand: OPENING, reserved: 0n, priceMinor: PRICES[0] })
    }
    this.productIds.push('sku-not-for-sale')
  }

  /** Plays one call, with the model beside it. */
  async play(model: ShopModel, { kind, call }: RandomCall): Promise<void> {
    const act = this.#acts[kind] as (model: ShopModel, call: RandomCall['call']) => Play | undefined
    const play = act(model, call)
    if (play === undefined) return
    const at = this.#areKilled && 'kill' in call ? call.kill : undefined
    const expected = play.expected()
    expect(await this.#ask(play, at)).toEqual(expected)
    await this.compare(model)
  }

  /** Repeats a call whose answer was lost, as any caller would: a killed session may show only in the next call. */
  async #ask({ call }: Play, at: number | undefined): Promise<Answer> {
    const test = this.#shop.test
    const killing = (database: Database): Database =>
      at === undefined
        ? database
        : createStrike(createFailpoint(database, test, at, 'killed backend').database, test, at)
    for (let tried = 0; ; tried += 1) {
      this.#isAskedAgain = tried > 0
      try {
        return await answerOf(call(tried === 0 ? killing : (database) => database))
      } catch (error) {
        if (tried === MOST_TRIES || !isAnswerLost(error)) throw error
        this.kills += tried === 0 ? 1 : 0
      }
    }
  }

  /** Compares everything stored about these orders and products with the model. */
  async compare(model: ShopModel): Promise<void> {
    const stock = await this.#shop.query<{ id: string; onHand: bigint; reserved: bigint; price: string }>(
      `select product_id as id, on_hand as "onHand", reserved, unit_price as price
       from stock join product using (product_id) where product_id = any ($1)`,
      [this.productIds],
    )
    for (const { id, price, ...found } of stock) {
      const { priceMinor, ...counters } = model.product(id)
      expect({ ...found, priceMinor: BigInt(price.replace('.', '')) }).toEqual({ ...counters, priceMinor })
    }
    const ids = this.#accepted.map(({ orderId }) => orderId)
    const rows = await this.#shop.query<{ id: string; [column: string]: unknown }>(
      `select o.order_id as id, o.status, o.payment_state as "paymentState", o.hold, o.cancel_reason as "cancelReason",
         o.version::int, o.payment_flags as flags, d.amount as owed, array_agg(distinct r.state) as holds
       from orders o join reservation r using (order_id) left join refund_due d using (order_id)
       where o.order_id = any ($1) group by o.order_id, d.amount`,
      [ids],
    )
    const found = new Map(rows.map(({ id, ...row }) => [id, row]))
    expect(ids.map((id) => found.get(id))).toEqual(model.orders.map(storedOf))
  }

  /** Calls by kind. Undefined: there is no order yet that it could be about. */
  readonly #acts: { [K in Kind]: (model: ShopModel, call: CallOf<K>) => Play | undefined } = {
    create: (model, { lines, isShort, isStale }) => {
      const wanted = lines.map(({ product: at, quantity }) => {
        const productId = this.productIds[at] ?? ''
        const price = model.products.get(productId)?.priceMinor ?? 1n
        return buildLine({ productId, quantity, unitPriceMinor: isStale ? price + 1n : price })
      })
      const proposal = buildProposal({ lines: wanted, ...(isShort && { windowMs: 1, graceMs: 0 }) })
      this.#proposals.push(proposal)
      return this.#creating(model, proposal)
    },
    repeat: (model, { order: at, isAltered }) => {
      const before = this.#proposals[at % this.#proposals.length]
      if (before === undefined) return undefined
      const again = { ...before, address: buildProposal().address, orderId: randomUUID() }
      return this.#creating(model, isAltered ? { ...again, requestHash: randomBytes(32) } : again)
    },
    report: (model, { order: at, amount, state, isLate }) => {
      const about = this.#about(model, at)
      if (about === undefined) return undefined
      const due = about.order.due
      const half = due / 2n + 1n
      const least = due - due / 1000n
      const units = { right: due, least, under: least - 1n, half, over: due + 7n }[amount]
      const { expiresAt } = about.accepted
      const firstSeenAt = isLate ? new Date(expiresAt.getTime() + HOUR_MS) : expiresAt
      const fact = buildObservation(about.accepted, { amount: units > 0n ? units : 1n, state, firstSeenAt })
      return this.#reporting(model, about, fact, state, !isLate)
    },
    follow: (model, { order: at, transfer, state }) => {
      const about = this.#about(model, at)
      const facts = about === undefined ? [] : (this.#facts[about.at] ?? [])
      const known = transfer % facts.length
      const [before, counted] = [facts[known], about?.order.transfers[known]]
      if (about === undefined || before === undefined || counted === undefined) return undefined
      return this.#reporting(model, about, nextOf(before, { state }), state, counted.isInTime, known)
    },
    assess: (model, { order: at }) => {
      const about = this.#about(model, at)
      if (about === undefined) return undefined
      const isEnd = about.order.status === 'cancelled' || about.order.status === 'delivered'
      const fence = this.#nextStep(about.at)
      return {
        expected: () => (model.assess(about.order), stateOf(about.order)),
        call: async (door) => {
          const worker = door(this.#shop.worker)
          return shown(await (isEnd ? assessLatePayments(worker, fence.orderId) : assessPayments(worker, fence)))
        },
      }
    },
    command: (model, { order: at, command, isAdmin, version: which }) => {
      const about = this.#about(model, at)
      if (about === undefined) return undefined
      const expectedVersion = versionOf(about.order, which)
      const input = buildCommand({
        ...(command === 'cancel' ? {} : SHIP),
        ...(isAdmin && { actor: 'user:1', role: 'admin' as const }),
        ...(expectedVersion !== undefined && { expectedVersion }),
      })
      const fence = this.#nextStep(about.at)
      return {
        expected: () => ({
          ...model.command(about.order, command, isAdmin ? 'admin' : 'customer', expectedVersion),
          ...stateOf(about.order),
        }),
        call: async (door) => {
          const result = await runCommand(door(this.#shop.worker), fence, command, input)
          return { ...(result.ok ? { ok: true } : { ok: false, reason: result.reason }), ...shown(result.state) }
        },
      }
    },
    address: (model, { order: at, version: which }) => {
      const about = this.#about(model, at)
      if (about === undefined) return undefined
      const expectedVersion = versionOf(about.order, which)
      const asked = { method: 'UpdateShippingAddress', ...(expectedVersion !== undefined && { expectedVersion }) }
      const [sealed, input] = [randomBytes(64), buildCommand(asked)]
      return {
        expected: () => model.changeAddress(about.order, expectedVersion),
        call: async (door) => {
          const state = await changeAddress(door(this.#shop.api), about.accepted.orderId, sealed, input)
          return { version: state.version }
        },
      }
    },
    expire: (model, { order: at }) => {
      const about = this.#about(model, at)
      if (about === undefined) return undefined
      const fence = this.#nextStep(about.at)
      return {
        expected: () => (model.expire(about.order), stateOf(about.order)),
        call: async (door) => shown(await expireOrder(door(this.#shop.worker), fence)),
      }
    },
    // Other runs use the same database: only what is stored can be compared.
    sweep: (model) => ({
      expected: () => (model.sweep(), {}),
      call: async () => (await sweepHolds(this.#shop.worker, 10_000), {}),
    }),
    adjust: (model, { product: at, units }) => {
      const productId = this.productIds[at] ?? ''
      const attempt = buildAttempt({ method: 'AdjustStock' })
      const change = { kind: 'delta' as const, units: BigInt(units) }
      const adjustment = { productId, change, actor: 'user:1', reason: 'counted', expectedVersion: undefined }
      return {
        expected: () => model.adjust(productId, BigInt(units)),
        call: async (door) => {
          const { answer } = await adjustStock(door(this.#shop.api), attempt, adjustment, Infinity)
          return { onHand: BigInt(answer.onHand), reserved: BigInt(answer.reserved) }
        },
      }
    },
    reprice: (model, { product: at, price }) => {
      const productId = this.productIds[at] ?? ''
      const attempt = buildAttempt({ method: 'PutProduct' })
      const put = { productId, name: 'Lamp', unitPriceMinor: price, currency: 'EUR', isActive: true }
      return {
        expected: () => ((model.product(productId).priceMinor = price), {}),
        call: async (door) => {
          await putProduct(door(this.#shop.api), attempt, { ...put, expectedVersion: undefined }, Infinity)
          return {}
        },
      }
    },
  }

  #creating(model: ShopModel, proposal: ProposedOrder): Play {
    const wanted = proposal.lines.map(({ productId, quantity, unitPriceMinor: priceMinor }) => ({
      ...{ productId, quantity: BigInt(quantity), priceMinor },
    }))
    const isShort = proposal.graceMs === 0
    return {
      expected: () => model.create(proposal.key, proposal.requestHash.toString('hex'), wanted, isShort),
      call: async (door) => {
        const acceptor = createAcceptor({ database: door(this.#shop.api), giveBack: () => undefined })
        const answer = await acceptor.accept(proposal)
        if (answer.verdict === 'OUT_OF_STOCK') return { verdict: answer.verdict, shortages: answer.shortages }
        if (!('order' in answer)) return { verdict: answer.verdict }
        const { orderId, totalMinor: total, amountDue: due } = answer.order
        const known = this.#accepted.findIndex((one) => one.orderId === orderId)
        const at = known < 0 ? this.#accepted.push(answer.order) - 1 : known
        if (known < 0 && isShort) await this.#outlast(orderId)
        // The first answer was lost, and the repeated call reports an earlier one.
        const verdict = known < 0 && this.#isAskedAgain ? 'accepted' : answer.verdict
        return { verdict, order: at, total, due }
      },
    }
  }

  /** Waits until the hold has expired by the database's clock. */
  async #outlast(orderId: string): Promise<void> {
    const look = 'select from reservation where order_id = $1 and expires_at < clock_timestamp()'
    await until(async () => (await this.#shop.query(look, [orderId])).length > 0)
  }

  #reporting(
    model: ShopModel,
    { at, order: about }: About,
    fact: ReportedObservation,
    state: 'seen' | 'final' | 'reorged',
    isInTime: boolean,
    known?: number,
  ): Play {
    const facts = (this.#facts[at] ??= [])
    facts[known ?? facts.length] = fact
    return {
      expected: () => (model.report(about, { amount: fact.amount, state, isInTime }, known), {}),
      call: async (door) => (await recordReport(door(this.#shop.api), 'w1', [fact]), {}),
    }
  }

  #about(model: ShopModel, chosen: number): About | undefined {
    const at = chosen % model.orders.length
    const [about, accepted] = [model.orders[at], this.#accepted[at]]
    return about === undefined || accepted === undefined ? undefined : { at, order: about, accepted }
  }

  #nextStep(at: number): Fence {
    const step = (this.#steps[at] ?? 0) + 1
    this.#steps[at] = step
    return { orderId: this.#accepted[at]?.orderId ?? '', generation: 1, step }
  }
}

type About = { at: number; order: ModelOrder; accepted: AcceptedOrder }

const versionOf = ({ version: at }: ModelOrder, which: 'any' | 'right' | 'wrong'): number | undefined =>
  ({ any: undefined, right: at, wrong: at + 1 })[which]

const stateOf = ({
  status,
  paymentState,
  hold,
  cancelReason,
  reservation,
  version: at,
  hasUnassessed,
}: ModelOrder) => ({
  ...{ status, paymentState, hold, cancelReason, reservation, version: at, hasUnassessed },
})
const shown = ({ expiresInMs: _, ...state }: OrderState): Answer => state

const storedOf = ({ status, paymentState, hold, cancelReason, version: at, flags, owed, reservation }: ModelOrder) => ({
  ...{ status, paymentState, hold, cancelReason, version: at, flags: [...flags].toSorted() },
  ...{ owed: owed?.toString() ?? null, holds: [reservation] },
})

export type RandomCall = { [K in Kind]: { kind: K; call: CallOf<K> } }[Kind]

/** One call, for fast-check's runner of models. */
class CallCommand implements fc.AsyncCommand<ShopModel, ShopUnderTest> {
  readonly #made: RandomCall
  constructor(made: RandomCall) {
    this.#made = made
  }
  check(): boolean {
    return true
  }
  run(model: ShopModel, shop: ShopUnderTest): Promise<void> {
    return shop.play(model, this.#made)
  }
  toString(): string {
    return `${this.#made.kind} ${fc.stringify(this.#made.call)}`
  }
}

/** Weighted, so that orders reach every status and stock runs short. */
export const randomCommand: fc.Arbitrary<fc.AsyncCommand<ShopModel, ShopUnderTest>> = fc
  .oneof(
    ...(Object.keys(CALLS) as Kind[]).map((kind) => ({
      weight: WEIGHTS[kind],
      arbitrary: (CALLS[kind] as fc.Arbitrary<RandomCall['call']>).map((call) => ({ kind, call }) as RandomCall),
    })),
  )
  .map((made) => new CallCommand(made))
