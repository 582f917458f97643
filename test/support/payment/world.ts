// A world of sequences: orders of one shop that live side by side, each compared with its oracle after each step. The
// reports of all of them go out in one call per round, as a watcher's do.

import { createHash, randomBytes } from 'node:crypto'
import { saveAssetRates } from '../../../src/db/asset_rate.ts'
import type { AcceptedOrder } from '../../../src/db/accept/accept.ts'
import type { Tx } from '../../../src/db/connection/pool.ts'
import { expireOrder } from '../../../src/db/order.ts'
import { assessLatePayments, assessPayments, recordReport } from '../../../src/db/payment.ts'
import type { ReportedObservation } from '../../../src/domain/chain.ts'
import { DomainError } from '../../../src/domain/failure.ts'
import type { LatePolicy } from '../../../src/domain/late.ts'
import { putAddresses } from '../address.ts'
import { createTestShop, runOf, type Run, type TestShop } from '../shop.ts'
import { canonical, compareOrders, type Difference } from './compare.ts'
import { playRefunds, type RefundPlay } from './refund_play.ts'
import { NetworkOracle, OrderOracle, type OutputState, type Word } from './oracle.ts'
import {
  ORDERS,
  sightingOf,
  statesOfLife,
  type AmountName,
  type OutputPlan,
  type Sequence,
  type SequenceStep,
  type SightingName,
} from './sequence.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** 0.00001 ETH. */
const DUST = 10_000_000_000_000n
const PRICE_MINOR = 1_250n
const RATE_MINOR = 200_000n
const SOURCES = ['w1', 'w2'] as const

export type WorldRules = { acceptsLate: boolean; sources: 1 | 2; requiredSources: 1 | 2 }

export type PaymentWorld = {
  /** Plays the sequences of these seeds together, and says where the product differs from the oracle. */
  play: (sequences: ReadonlyMap<number, Sequence>, rules: WorldRules) => Promise<Difference[]>
  shop: TestShop
  close: () => Promise<void>
}

type TellStep = Extract<SequenceStep, { kind: 'tell' }>
type Fact = { word: Word; observation: ReportedObservation }
type PlayedOutput = { live: LiveOrder; facts: readonly (readonly Fact[])[]; at: number[] }
type LiveOrder = { order: AcceptedOrder; oracle: OrderOracle; run: Run }
type Played = { seed: number; steps: readonly SequenceStep[]; orders: Map<string, LiveOrder>; outputs: PlayedOutput[] }

export async function openPaymentWorld(): Promise<PaymentWorld> {
  const shop = await createTestShop()
  // As many as an order may need to expire.
  for (const source of ['w1', 'w2']) await shop.catchUp(undefined, source)
  const { productId } = await shop.product({ onHand: 100_000_000n })
  return { shop, close: () => shop.close(), play: (sequences, rules) => playWorld(shop, productId, sequences, rules) }
}

async function playWorld(
  shop: TestShop,
  productId: string,
  sequences: ReadonlyMap<number, Sequence>,
  rules: WorldRules,
): Promise<Difference[]> {
  await shop.query(`select require_sources('ETH', $1, 0, 'a test of payments')`, [rules.requiredSources])
  if (rules.acceptsLate) {
    await saveAssetRates(shop.api, 'EUR', [{ asset: 'ETH', rateMinor: RATE_MINOR }])
    await putAddresses(shop.test, 2 * sequences.size)
  }
  const network = new NetworkOracle()
  const all = await Promise.all(
    [...sequences].map(([seed, sequence]) => beginSequence(shop, productId, seed, sequence, rules, network)),
  )
  const policy: LatePolicy = { accepts: rules.acceptsLate, withinMs: DAY_MS, driftBps: 200, rateAgeMs: HOUR_MS }
  const differences: Difference[] = []
  const rounds = Math.max(...all.map(({ steps }) => steps.length))
  for (let round = 0; round < rounds; round += 1) {
    differences.push(...(await report(shop, all, round)))
    const acting = all.flatMap((one) => actorOf(one, round) ?? [])
    differences.push(...(await act(shop, acting, policy, round)))
    if (acting.length > 0) differences.push(...(await compareOrders(shop, acting, round)))
    if (differences.length > 0) break
  }
  // The next world starts on a network whose sources agree.
  await shop.test.forge('delete from source_doubt', [])
  return differences
}

type Acting = {
  seed: number
  name: string
  step: Exclude<SequenceStep, { kind: 'tell' }>
  live: LiveOrder
  fact: Fact | undefined
}

/** What a sequence does in this round, if it is no report. After its last step each order is assessed. */
function actorOf({ seed, steps, orders, outputs }: Played, round: number): Acting[] | undefined {
  const step = steps[round]
  if (step === undefined || step.kind === 'tell') return undefined
  const live = orders.get(step.order)
  if (live === undefined) return undefined
  const told = outputs.find((output) => output.live === live && (output.at[0] ?? 0) > 0)
  return [{ seed, name: step.order, step, live, fact: told?.facts[0]?.[(told.at[0] ?? 1) - 1] }]
}

async function beginSequence(
  shop: TestShop,
  productId: string,
  seed: number,
  { hasEnded, quantity, outputs, steps }: Sequence,
  rules: WorldRules,
  network: NetworkOracle,
): Promise<Played> {
  const names = [...new Set(['first', ...outputs.map(({ order }) => order)])]
  const made = await Promise.all(
    names.map(async (name): Promise<[string, LiveOrder]> => {
      const lines = [{ productId, quantity, unitPriceMinor: PRICE_MINOR }]
      const order = await shop.order({ lines, ...(hasEnded && { windowMs: 1, graceMs: 0 }) })
      const { acceptsLate, requiredSources } = rules
      const oracle = new OrderOracle({ due: order.amountDue, dust: DUST, requiredSources, acceptsLate, network })
      return [name, { order, oracle, run: runOf(order) }]
    }),
  )
  const orders = new Map(made)
  const [txId, otherTxId] = [
    `0x${randomBytes(32).toString('hex')}`,
    randomBytes(44).toString('hex').replaceAll('0', '1'),
  ]
  const played = outputs.flatMap((plan, index): PlayedOutput[] => {
    const live = orders.get(plan.order)
    return live === undefined
      ? []
      : [{ live, facts: factsOf(live, plan, hasEnded, plan.isRightAsset ? txId : otherTxId, index, rules), at: [0, 0] }]
  })
  const ending = ORDERS.map((order) => ({ kind: 'assess' as const, order, ofReplacement: false }))
  return { seed, steps: [...steps, ...ending], orders, outputs: played }
}

const amountOf: Readonly<Record<AmountName, (due: bigint) => bigint>> = {
  due: (due) => due,
  minimum: (due) => due - due / 1_000n,
  short: (due) => due - due / 1_000n - 1n,
  half: (due) => due / 2n,
  dust: () => DUST,
  more_than_dust: () => DUST + 1n,
  over: (due) => due + DUST + 1n,
  twice: (due) => 2n * due,
}

const seenAt = ({ createdAt, expiresAt }: AcceptedOrder, hasEnded: boolean, sighting: SightingName): Date => {
  const end = expiresAt.getTime() + (hasEnded ? 0 : 60_000)
  if (sighting === 'early') return new Date(createdAt.getTime() - DAY_MS)
  if (sighting === 'in_time') return new Date(Math.min(createdAt.getTime(), end - 1))
  // The database counts microseconds; these are milliseconds, rounded.
  return new Date(sighting === 'at_end' ? end - 1 : end + 1)
}

/** What each source has to tell of an output, in the order of its seq. */
function factsOf(
  { order }: LiveOrder,
  plan: OutputPlan,
  hasEnded: boolean,
  txId: string,
  outputIndex: number,
  { sources }: WorldRules,
): Fact[][] {
  const honest = statesOfLife(plan.life)
  const amount = amountOf[plan.amount](order.amountDue)
  return SOURCES.slice(0, sources).map((source, place) => {
    const lie = place === 0 ? 'none' : plan.lie
    const lies: Readonly<Record<OutputPlan['lie'], readonly OutputState[]>> = {
      none: honest,
      amount: honest,
      gone: [...honest, 'dropped'],
      final: ['final'],
    }
    const sighting = place === 0 ? plan.sighting : plan.secondSighting
    const said = lie === 'amount' ? amount + 1n : amount
    return lies[lie].map((state, at) => {
      const word: Word = {
        source,
        output: `${txId}/${outputIndex}`,
        seq: at + 1,
        state,
        amount: said,
        isRightAsset: plan.isRightAsset,
        sighting: sightingOf(sighting),
      }
      return { word, observation: observationOf(order, word, txId, outputIndex, seenAt(order, hasEnded, sighting)) }
    })
  })
}

const observationOf = (
  { network, asset, address }: AcceptedOrder,
  { source, output, seq, state, amount, isRightAsset }: Word,
  txId: string,
  outputIndex: number,
  firstSeenAt: Date,
): ReportedObservation => ({
  reportId: createHash('sha256').update(`${source}/${output}/${seq}`).digest('hex'),
  network,
  asset: isRightAsset ? asset : 'SOL',
  txId,
  outputIndex,
  seq,
  state,
  address,
  amount,
  block: state === 'final' ? { height: 10, hash: `0x${seq.toString(16)}` } : undefined,
  firstSeenAt,
})

/** Sends the reports of a round, one call per source. */
async function report(shop: TestShop, all: readonly Played[], round: number): Promise<Difference[]> {
  const facts = SOURCES.map((): { seed: number; live: LiveOrder; fact: Fact }[] => [])
  for (const { seed, steps, outputs } of all) {
    const step = steps[round]
    if (step?.kind !== 'tell') continue
    const output = outputs[step.output % outputs.length]
    if (output === undefined) continue
    const source = step.isSecondSource && output.facts.length > 1 ? 1 : 0
    const fact = chooseFact(output, source, step.which)
    if (fact !== undefined) facts[source]?.push({ seed, live: output.live, fact })
  }
  const differences: Difference[] = []
  for (const [place, said] of facts.entries()) {
    if (said.length === 0) continue
    const source = SOURCES[place] ?? SOURCES[0]
    const told = await recordReport(
      shop.api,
      source,
      said.map(({ fact }) => fact.observation),
    )
    const fresh = said.filter(({ live, fact }) => live.oracle.hear(fact.word)).length
    const seed = said[0]?.seed ?? 0
    if (told !== fresh) differences.push({ seed, step: round, order: 'reports', expected: fresh, found: told })
  }
  return differences
}

function chooseFact({ facts, at }: PlayedOutput, source: number, which: TellStep['which']): Fact | undefined {
  const own = facts[source] ?? []
  const next = at[source] ?? 0
  const places = { next, skip: next + 1, again: next - 1, last: own.length - 1, old: Math.floor(next / 2), second: 1 }
  const wanted = places[which]
  const place = Math.max(0, Math.min(wanted, own.length - 1))
  at[source] = Math.max(next, place + 1)
  return own[place]
}

/** Assessments of a round share a transaction. What a person asks has its own, as in production. */
async function act(
  shop: TestShop,
  acting: readonly Acting[],
  policy: LatePolicy,
  round: number,
): Promise<Difference[]> {
  const assessing = acting.filter(({ step }) => step.kind.startsWith('assess'))
  if (assessing.length > 0)
    await shop.worker.transaction(async (tx) => {
      for (const one of assessing) await assess(tx, one, policy)
    })
  for (const { oracle } of assessing.map(({ live }) => live)) oracle.assess()
  const replacements = await findReplacements(shop, acting)
  await Promise.all(acting.filter((one) => !assessing.includes(one)).map((one) => ask(shop, one, replacements)))
  const refunding = acting.flatMap((one) => {
    const play = refundPlayOf(one, replacements)
    return play === undefined ? [] : [{ seed: one.seed, order: one.name, play }]
  })
  const answers = await playRefunds(
    shop,
    refunding.map(({ play }) => play),
  )
  return answers.flatMap(({ at, ...answer }) =>
    canonical(answer.expected) === canonical(answer.found)
      ? []
      : [
          {
            seed: refunding[at]?.seed ?? 0,
            step: round,
            order: `${refunding[at]?.order}, ${refunding[at]?.play.act}`,
            ...answer,
          },
        ],
  )
}

type Replacements = ReadonlyMap<string, string>
/** Orders that late money bought, by the order that expired. */
async function findReplacements(shop: TestShop, acting: readonly Acting[]): Promise<Replacements> {
  const ids = acting.flatMap(({ step, live }) =>
    step.ofReplacement && live.oracle.replacement !== undefined ? [live.order.orderId] : [],
  )
  if (ids.length === 0) return new Map()
  const rows = await shop.query<{ of: string; id: string | null }>(
    'select order_id as of, replacement_id as id from late_decision where order_id = any ($1::uuid[])',
    [ids],
  )
  return new Map(rows.flatMap(({ of, id }) => (id === null ? [] : [[of, id]])))
}

function refundPlayOf({ step, live: { order, oracle } }: Acting, replacements: Replacements): RefundPlay | undefined {
  if (step.kind !== 'refund') return undefined
  const replacement = step.ofReplacement ? replacements.get(order.orderId) : undefined
  const target =
    replacement === undefined || oracle.replacement === undefined
      ? { orderId: order.orderId, oracle }
      : { orderId: replacement, oracle: oracle.replacement }
  return { act: step.act, target: { ...target, due: order.amountDue, dust: DUST } }
}

class Killed extends Error {}

async function assess(
  tx: Tx,
  { step: { kind }, live: { order, oracle, run } }: Acting,
  policy: LatePolicy,
): Promise<void> {
  const fence = run.next()
  const once = (within: Tx) => {
    const database = { transaction: <T>(work: (tx: Tx) => Promise<T>): Promise<T> => work(within) }
    return oracle.isTerminal ? assessLatePayments(database, order.orderId, policy) : assessPayments(database, fence)
  }
  if (kind === 'assess_killed')
    await tx
      .savepoint(async (within) => {
        await once(within)
        throw new Killed()
      })
      .catch((error: unknown) => {
        if (!(error instanceof Killed)) throw error
      })
  await once(tx)
  // The answer was lost, so the worker asks for the same step again.
  if (kind === 'assess_lost') await once(tx)
}

async function ask(
  shop: TestShop,
  { step: { kind, ofReplacement }, live: { order, oracle, run }, fact }: Acting,
  replacements: Replacements,
): Promise<void> {
  if (kind === 'expire') {
    if (oracle.isTerminal) return
    await expireOrder(shop.worker, run.next())
    if (order.expiresAt.getTime() < Date.now()) oracle.expire()
  } else if (kind === 'contradict' && fact !== undefined) {
    const { observation } = fact
    const lie = { ...observation, reportId: randomBytes(32).toString('hex'), amount: observation.amount + 1n }
    await recordReport(shop.api, 'w1', [lie]).then(
      () => {
        throw new Error('a contradicting report was taken')
      },
      (error: unknown) => {
        if (!(error instanceof DomainError) || error.reason !== 'REPORT_CONFLICT') throw error
      },
    )
  } else if (kind === 'cancel' || kind === 'ship' || kind === 'deliver') {
    const orderId = ofReplacement ? replacements.get(order.orderId) : undefined
    if (orderId === undefined || oracle.replacement === undefined) {
      if (ofReplacement) return
      await shop.ask(kind, run.next())
      oracle[kind]()
    } else {
      await shop.ask(kind, { ...run.next(), orderId })
      oracle.replacement[kind]()
    }
  }
}
