// Linearizability tests: many concurrent callers, while sessions are killed. For each product and each order, a serial
// order of the calls must explain every answer: nothing oversold, nothing refused that was available, no change lost.

import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { buildAttempt, buildLine, buildProposal } from '../support/builder.ts'
import { callConcurrently } from '../support/concurrent.ts'
import { isAnswerLost } from '../support/failpoint.ts'
import { findViolations } from '../support/invariant.ts'
import { findSerialOrder, type Observed, type Rules } from '../support/linearizability.ts'
import { count, COUNT_WITHIN_MS, randomOf, seed } from '../support/scale.ts'
import {
  buildCommand,
  buildObservation,
  createTestShop,
  runOf,
  SHIP,
  type Run,
  type TestShop,
} from '../support/shop.ts'
import { DomainError } from '../../src/domain/failure.ts'
import { createAcceptor, type AcceptedOrder } from '../../src/db/accept/accept.ts'
import { changeAddress, getOrderState, runCommand } from '../../src/db/order.ts'
import { assessPayments, recordReport } from '../../src/db/payment.ts'
import { sweepHolds } from '../../src/db/sweep.ts'
import { adjustStock, readStock } from '../../src/db/stock.ts'

jest.setTimeout(COUNT_WITHIN_MS * 10)

const CLIENTS = 4
const CALLS_PER_CLIENT = 6
/** Rounds that are played side by side, each in a database of its own, so that no sweep or kill reaches another's. */
const LANES = 3

let lanes: TestShop[]
/** For the tests that need one. */
let shop: TestShop
beforeAll(async () => {
  lanes = await Promise.all(Array.from({ length: LANES }, () => createTestShop()))
  for (const lane of lanes) await lane.catchUp()
  shop = lanes[0] as TestShop
})
afterEach(async () => {
  for (const lane of lanes) expect(await findViolations(lane.test)).toEqual([])
})
afterAll(async () => {
  for (const lane of lanes) await lane.close()
})

/** Retries until there is an answer: each call has an idempotency key, or changes nothing when repeated. */
async function insist<T>(call: () => Promise<T>): Promise<T | DomainError> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (isAnswerLost(error)) continue
      if (error instanceof DomainError) return error
      throw error
    }
  }
}

/** Kills one random session of the shop. */
const killOne = ({ query }: TestShop): Promise<unknown[]> =>
  query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and application_name like 'test-%' order by random() limit 1`,
  )

type Counters = { onHand: number; reserved: number }
type StockCall =
  | { kind: 'taken' | 'given' | 'shipped'; units: number }
  | { kind: 'short'; wanted: number; available: number }
  | ({ kind: 'adjusted'; units: number } & Counters)
  | { kind: 'too few'; units: number }
  | ({ kind: 'read' } & Counters)

const isSame = (one: Counters, other: Counters): boolean =>
  one.onHand === other.onHand && one.reserved === other.reserved

/** INV-2 and INV-4: accepted only when there was enough, refused only when there was not. */
const stockRules = (end: Counters): Rules<Counters, StockCall> => ({
  apply: ({ onHand, reserved }, call) => {
    const available = onHand - reserved
    switch (call.kind) {
      case 'taken':
        return available >= call.units ? { onHand, reserved: reserved + call.units } : undefined
      case 'given':
        return { onHand, reserved: reserved - call.units }
      case 'shipped':
        return { onHand: onHand - call.units, reserved: reserved - call.units }
      case 'short':
        return available === call.available && available < call.wanted ? { onHand, reserved } : undefined
      case 'adjusted': {
        const next = { onHand: onHand + call.units, reserved }
        return isSame(next, call) ? next : undefined
      }
      case 'too few':
        return onHand + call.units < reserved ? { onHand, reserved } : undefined
      case 'read':
        return isSame({ onHand, reserved }, call) ? { onHand, reserved } : undefined
    }
  },
  isEnd: (state) => isSame(state, end),
})

/** The calls observed on the products of a round, by caller. */
class Round {
  readonly shop: TestShop
  readonly productIds: string[]
  readonly seen = new Map<string, Observed<StockCall>[]>()
  /** Orders that no caller continues. */
  readonly orders: { order: AcceptedOrder; run: Run }[] = []
  /** When each order was placed. */
  readonly begun = new Map<string, number>()
  calls = 0

  constructor(lane: TestShop, productIds: string[]) {
    this.shop = lane
    this.productIds = productIds
    for (const id of productIds) this.seen.set(id, [])
  }

  note(productId: string, from: number, call: StockCall, to = performance.now()): void {
    this.seen.get(productId)?.push({ call, from, to })
  }

  noteAll({ lines }: AcceptedOrder, from: number, kind: 'taken' | 'given' | 'shipped', to?: number): void {
    for (const { productId, quantity } of lines) this.note(productId, from, { kind, units: quantity }, to)
  }
}

async function create(round: Round, random: () => number): Promise<void> {
  const wanted = round.productIds.filter(() => random() < 0.6)
  if (wanted.length === 0) wanted.push(round.productIds[0] ?? '')
  const lines = wanted.map((productId) => buildLine({ productId, quantity: 1 + Math.floor(random() * 4) }))
  const proposal = buildProposal({ lines, ...(random() < 0.3 && { windowMs: 1, graceMs: 0 }) })
  const from = performance.now()
  const answer = await insist(() => round.shop.acceptor.accept(proposal))
  if ('order' in answer) {
    round.noteAll(answer.order, from, 'taken')
    round.orders.push({ order: answer.order, run: runOf(answer.order) })
    round.begun.set(answer.order.orderId, from)
  } else if ('shortages' in answer)
    for (const { productId, wanted: units, available } of answer.shortages)
      round.note(productId, from, { kind: 'short', wanted: Number(units), available: Number(available) })
}

/** Continues an order: only one caller does, so that its steps run one after another. */
async function goOn(round: Round, random: () => number): Promise<void> {
  const [mine] = round.orders.splice(Math.floor(random() * round.orders.length), 1)
  if (mine === undefined) return create(round, random)
  const { order, run } = mine
  const command = random() < 0.5 ? 'cancel' : 'ship'
  if (command === 'ship') {
    const [fact, fence] = [buildObservation(order), run.next()]
    await insist(() => recordReport(round.shop.api, 'w1', [fact]))
    await insist(() => assessPayments(round.shop.worker, fence))
  }
  const [fence, input] = [run.next(), buildCommand(command === 'ship' ? SHIP : {})]
  const from = performance.now()
  const result = await insist(() => runCommand(round.shop.worker, fence, command, input))
  if ('ok' in result && result.ok) round.noteAll(order, from, command === 'ship' ? 'shipped' : 'given')
}

async function adjust(round: Round, random: () => number): Promise<void> {
  const productId = round.productIds[Math.floor(random() * round.productIds.length)] ?? ''
  const units = Math.floor(random() * 9) - 4
  const adjustment = {
    productId,
    change: { kind: 'delta' as const, units: BigInt(units) },
    actor: 'user:1',
    reason: 'x',
  }
  const attempt = buildAttempt({ method: 'AdjustStock' })
  const from = performance.now()
  const answer = await insist(() =>
    adjustStock(round.shop.api, attempt, { ...adjustment, expectedVersion: undefined }, Number.POSITIVE_INFINITY),
  )
  if (answer instanceof DomainError) return round.note(productId, from, { kind: 'too few', units })
  const { onHand, reserved } = answer.answer
  round.note(productId, from, { kind: 'adjusted', units, onHand: Number(onHand), reserved: Number(reserved) })
}

async function look(round: Round): Promise<void> {
  const from = performance.now()
  const rows = await insist(() => readStock(round.shop.api, round.productIds))
  if (rows instanceof DomainError) return
  const to = performance.now()
  for (const { productId, onHand, reserved } of rows)
    round.note(productId, from, { kind: 'read', onHand: Number(onHand), reserved: Number(reserved) }, to)
}

async function client(round: Round, random: () => number): Promise<void> {
  for (let call = 0; call < CALLS_PER_CLIENT; call += 1) {
    round.calls += 1
    const choice = random()
    if (choice < 0.4) await create(round, random)
    else if (choice < 0.65) await goOn(round, random)
    else if (choice < 0.8) await adjust(round, random)
    else if (choice < 0.95) await look(round)
    else await insist(() => sweepHolds(round.shop.worker, 100))
  }
}

const OPENING = 8

async function playRound(lane: TestShop, random: () => number, isKilling: boolean): Promise<number> {
  const products = [await lane.product({ onHand: BigInt(OPENING) }), await lane.product({ onHand: BigInt(OPENING) })]
  const round = new Round(
    lane,
    products.map(({ productId }) => productId),
  )
  const clients = Array.from({ length: CLIENTS }, () => client(round, random))
  if (isKilling) await killOne(lane)
  await Promise.all(clients)
  const to = performance.now()
  const found = await lane.query<{ id: string; onHand: bigint; reserved: bigint; gone: { q: number; o: string }[] }>(
    `select s.product_id as id, s.on_hand as "onHand", s.reserved,
       coalesce((select jsonb_agg(jsonb_build_object('o', r.order_id, 'q', r.quantity)) from reservation r
         where r.product_id = s.product_id and r.state = 'expired'), '[]') as gone
     from stock s where s.product_id = any ($1)`,
    [round.productIds],
  )
  for (const { id, onHand, reserved, gone } of found) {
    // An expiry is not reported to a caller: it happened between the order and the end of the round.
    const expired = gone.map(({ o, q }) => ({
      call: { kind: 'given' as const, units: q },
      from: round.begun.get(o) ?? 0,
      to,
    }))
    const calls = [...(round.seen.get(id) ?? []), ...expired]
    const end = { onHand: Number(onHand), reserved: Number(reserved) }
    const order = findSerialOrder(calls, { onHand: OPENING, reserved: 0 }, stockRules(end))
    if (order === undefined) throw new Error(`no order of these calls explains them: ${JSON.stringify({ calls, end })}`)
  }
  return round.calls
}

describe('callers at once', () => {
  test(`see each product's stock as if one had come after the other, also when sessions are killed (seed ${seed})`, async () => {
    const commands = Number(process.env['HOLDFAST_TEST_COMMANDS'] ?? count(10_000, 500_000))
    const play = async (lane: TestShop, at: number): Promise<void> => {
      const random = randomOf(`rounds ${at}`)
      for (let played = 0, round = 0; played < commands / LANES; round += 1)
        played += await playRound(lane, random, round % 4 === 0)
    }
    await Promise.all(lanes.map(play))
  })

  type Seen = { version: number; status: string }
  type OrderCall =
    | { kind: 'changed'; version: number; expected: number | undefined }
    | { kind: 'refused'; reason: string; expected: number | undefined }
    | ({ kind: 'cancelled' | 'read' } & Seen)

  /** INV-21: every change moves the version by one, and a refusal's reason was true at that moment. */
  const orderRules = (end: Seen): Rules<Seen, OrderCall> => ({
    apply: ({ version, status }, call) => {
      const isOpen = status === 'pending'
      switch (call.kind) {
        case 'changed':
          if (!isOpen || call.version !== version + 1 || (call.expected ?? version) !== version) return undefined
          return { version: version + 1, status }
        case 'refused':
          if (call.reason === 'VERSION_MISMATCH' ? call.expected === version : isOpen) return undefined
          return { version, status }
        case 'cancelled':
          return isOpen && call.version === version + 1 ? { version: version + 1, status: 'cancelled' } : undefined
        case 'read':
          return call.version === version && call.status === status ? { version, status } : undefined
      }
    },
    isEnd: ({ version, status }) => version === end.version && status === end.status,
  })

  test(`change an order as if one had come after the other (seed ${seed})`, async () => {
    const random = randomOf('order rounds')
    const { productId } = await shop.product({ onHand: 1_000_000n })
    for (let round = 0; round < count(150, 10_000); round += 1) {
      const order = await shop.order({ lines: [buildLine({ productId })] })
      const { orderId } = order
      const seen: Observed<OrderCall>[] = []
      const isCancelled = random() < 0.5
      const caller = async (at: number): Promise<void> => {
        let known = 1
        for (let call = 0; call < 4; call += 1) {
          const from = performance.now()
          const note = (one: OrderCall): unknown => seen.push({ call: one, from, to: performance.now() })
          if (at === 0 && call === 2 && isCancelled) {
            const [fence, input] = [runOf(order).next(), buildCommand()]
            const result = await insist(() => runCommand(shop.worker, fence, 'cancel', input))
            if (!('ok' in result) || !result.ok) throw new Error('an open order was not cancelled')
            note({ kind: 'cancelled', version: result.state.version, status: 'cancelled' })
          } else if (random() < 0.3) {
            const { version, status } = await getOrderState(shop.worker, orderId)
            known = version
            note({ kind: 'read', version, status })
          } else {
            const expected = random() < 0.6 ? known : undefined
            const asked = {
              method: 'UpdateShippingAddress',
              ...(expected !== undefined && { expectedVersion: expected }),
            }
            const [sealed, input] = [randomBytes(64), buildCommand(asked)]
            const answer = await insist(() => changeAddress(shop.api, orderId, sealed, input))
            if (answer instanceof DomainError) note({ kind: 'refused', reason: answer.reason, expected })
            else note({ kind: 'changed', version: (known = answer.version), expected })
          }
        }
      }
      await Promise.all([0, 1, 2, 3].map(caller))
      const { version, status } = await shop.state(order)
      const found = findSerialOrder(seen, { version: 1, status: 'pending' }, orderRules({ version, status }))
      if (found === undefined) throw new Error(`no order of these calls explains them: ${JSON.stringify(seen)}`)
    }
  })

  test('who all read one version of an order: in each of a thousand rounds one changes it, and the others are told', async () => {
    const { orderId } = await shop.order()
    const ROUNDS = 1_000
    for (let version = 1; version <= ROUNDS; version += 1) {
      const answers = await callConcurrently(4, () =>
        changeAddress(
          shop.api,
          orderId,
          randomBytes(64),
          buildCommand({ method: 'UpdateShippingAddress', expectedVersion: version }),
        ).then(
          (state) => state.version,
          (error: DomainError) => error.reason,
        ),
      )
      expect(answers.filter((answer) => answer === version + 1)).toHaveLength(1)
      expect(answers.filter((answer) => answer === 'VERSION_MISMATCH')).toHaveLength(3)
    }
    expect(await shop.state({ orderId })).toMatchObject({ version: ROUNDS + 1 })
  })

  test('who want two products in either order, while both are counted and swept, are all answered', async () => {
    const [a, b] = [await shop.product({ onHand: 1_000n }), await shop.product({ onHand: 1_000n })]
    const lines = [a, b].map(({ productId }) => buildLine({ productId }))
    const other = createAcceptor({ database: shop.api, giveBack: () => undefined })
    const PAIRS = count(1_000, 10_000)
    const answers = await callConcurrently(
      PAIRS,
      async (at) => {
        const short = at % 3 === 0 ? { windowMs: 1, graceMs: 0 } : {}
        const proposals = [{ lines }, { lines: lines.toReversed() }].map((one) => buildProposal({ ...one, ...short }))
        const pair = proposals.map((proposal, which) =>
          insist(() => (which === 0 ? shop.acceptor : other).accept(proposal)),
        )
        if (at % 20 === 0) {
          const adjustment = { actor: 'user:1', reason: 'more', expectedVersion: undefined }
          const more = { ...adjustment, productId: (at % 40 === 0 ? a : b).productId }
          const change = { kind: 'delta' as const, units: 3n }
          const attempt = buildAttempt({ method: 'AdjustStock' })
          await insist(() => adjustStock(shop.api, attempt, { ...more, change }, Infinity))
        }
        if (at % 10 === 0) await insist(() => sweepHolds(shop.worker, 50))
        return Promise.all(pair)
      },
      64,
    )
    const verdicts = new Set(answers.flat().map((answer) => ('verdict' in answer ? answer.verdict : answer.reason)))
    expect([...verdicts].filter((verdict) => verdict !== 'accepted' && verdict !== 'OUT_OF_STOCK')).toEqual([])
  })
})
