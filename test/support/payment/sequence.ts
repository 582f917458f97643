// Generated lives of payments: what happens to outputs on a chain, what sources tell of it in which order, and what
// people and failures do to the orders meanwhile.

import fc from 'fast-check'
import type { OutputState, Sighting } from './oracle.ts'

/** Depth at which an output is final. */
const FINAL_DEPTH = 12

export const SIGHTINGS = ['early', 'in_time', 'at_end', 'just_late'] as const
export type SightingName = (typeof SIGHTINGS)[number]
export const sightingOf = (name: SightingName): Sighting =>
  name === 'early' ? 'early' : name === 'just_late' ? 'late' : 'in_time'

export const AMOUNTS = ['due', 'minimum', 'short', 'half', 'dust', 'more_than_dust', 'over', 'twice'] as const
export type AmountName = (typeof AMOUNTS)[number]

export const LIES = ['none', 'amount', 'gone', 'final'] as const
/** Orders of a sequence: the second one is paid by the same transaction. */
export const ORDERS = ['first', 'second'] as const

const chainEvent = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('mine' as const), blocks: fc.integer({ min: 1, max: FINAL_DEPTH }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('reorg' as const), blocks: fc.integer({ min: 1, max: FINAL_DEPTH + 2 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('replace' as const, 'drop' as const) }) },
)
type ChainEvent = typeof chainEvent extends fc.Arbitrary<infer Value> ? Value : never

const outputPlan = fc.record({
  order: fc.oneof({ weight: 4, arbitrary: fc.constant(ORDERS[0]) }, { weight: 1, arbitrary: fc.constant(ORDERS[1]) }),
  amount: fc.constantFrom<AmountName>('due', 'due', 'half', 'half', ...AMOUNTS),
  isRightAsset: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  sighting: fc.constantFrom<SightingName>('in_time', 'in_time', 'in_time', ...SIGHTINGS),
  secondSighting: fc.constantFrom<SightingName>('in_time', ...SIGHTINGS),
  lie: fc.constantFrom<(typeof LIES)[number]>('none', 'none', 'none', ...LIES),
  life: fc.array(chainEvent, { minLength: 1, maxLength: 7 }),
})
export type OutputPlan = typeof outputPlan extends fc.Arbitrary<infer Value> ? Value : never

export const MAX_OUTPUTS = 3
const tell = fc.record({
  kind: fc.constant('tell' as const),
  output: fc.nat(MAX_OUTPUTS - 1),
  isSecondSource: fc.boolean(),
  /** The next fact, with one left out, the last one again, the last of all, an older one, or the second. */
  which: fc.constantFrom(
    'next' as const,
    'next' as const,
    'next' as const,
    'skip' as const,
    'again' as const,
    'last' as const,
    'old' as const,
    'second' as const,
  ),
})
const act = (...kinds: readonly ActKind[]) =>
  fc.record({
    kind: fc.constantFrom(...kinds),
    order: fc.constantFrom(...ORDERS),
    ofReplacement: fc.constant<boolean>(false),
  })
/**
 * What people and the payer do about the oldest refund of an order that it fits, and how often. `settle` is an address
 * and two approvals, `pay` all of it to the end.
 */
const REFUND_ACTS = {
  ...{ ask_part: 3, ask_all: 2, ask_more: 1, ask_edge: 1, address: 1, approve_8: 2, approve_9: 2, reject: 1 },
  ...{ settle: 4, pay: 4, send: 3, send_lost: 1, revert: 2, confirm: 3 },
} as const
export type RefundAct = keyof typeof REFUND_ACTS
const isRefundAct = (name: string): name is RefundAct => name in REFUND_ACTS
const OFTEN = Object.entries(REFUND_ACTS).flatMap(([name, times]) =>
  isRefundAct(name) ? Array.from({ length: times }, () => name) : [],
)
/** Whose: of the order, or of the one that its late money bought, if there is one. */
const ofReplacement = fc.boolean()
const refundStep = fc.record({
  kind: fc.constant('refund' as const),
  act: fc.constantFrom<RefundAct>(...OFTEN),
  order: fc.constantFrom(ORDERS[0], ORDERS[0], ORDERS[0], ORDERS[0], ORDERS[1]),
  ofReplacement,
})
type ActKind = 'assess' | 'assess_lost' | 'assess_killed' | 'contradict' | 'cancel' | 'ship' | 'deliver' | 'expire'
const sequenceStep = fc.oneof(
  { weight: 12, arbitrary: tell },
  { weight: 5, arbitrary: act('assess') },
  { weight: 1, arbitrary: act('assess_lost', 'assess_killed', 'contradict') },
  { weight: 2, arbitrary: act('ship', 'deliver', 'cancel') },
  { weight: 2, arbitrary: act('expire') },
)
/** What happens to an order that has money: news of it, and refunds before, between and after. */
const laterStep = fc.oneof(
  { weight: 4, arbitrary: tell },
  { weight: 4, arbitrary: act('assess') },
  { weight: 1, arbitrary: act('assess_lost', 'assess_killed') },
  { weight: 12, arbitrary: refundStep },
  { weight: 2, arbitrary: act('ship', 'deliver', 'cancel') },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('cancel' as const, 'ship' as const),
      order: fc.constant(ORDERS[0]),
      ofReplacement: fc.constant<boolean>(true),
    }),
  },
)
type ValueOf<A> = A extends fc.Arbitrary<infer Value> ? Value : never
export type SequenceStep = ValueOf<typeof sequenceStep> | ValueOf<typeof laterStep>

const anySequence = fc.record({
  /** Whether the quote of the orders has ended by the time they may expire. */
  hasEnded: fc.boolean(),
  quantity: fc.integer({ min: 1, max: 9 }),
  outputs: fc.array(outputPlan, { minLength: 1, maxLength: MAX_OUTPUTS }),
  steps: fc.array(sequenceStep, { minLength: 4, maxLength: 16 }),
})
export type Sequence = Omit<ValueOf<typeof anySequence>, 'steps'> & { steps: SequenceStep[] }

/** Outputs that are final soon, and then may lose their block and come back. */
const finalOutput = fc.record({
  order: fc.constantFrom(ORDERS[0], ORDERS[0], ORDERS[0], ORDERS[1]),
  amount: fc.constantFrom<AmountName>('due', 'due', 'due', 'over', 'twice', 'half', ...AMOUNTS),
  isRightAsset: fc.constant<boolean>(true),
  sighting: fc.constantFrom<SightingName>('in_time', 'in_time', 'just_late'),
  secondSighting: fc.constant<SightingName>('in_time'),
  lie: fc.constantFrom<(typeof LIES)[number]>('none', 'none', 'none', 'none', 'gone'),
  life: fc
    .array(chainEvent, { maxLength: 5, size: 'max' })
    .map((after): ChainEvent[] => [
      { kind: 'mine', blocks: FINAL_DEPTH },
      ...(after.length > 0 ? [{ kind: 'reorg' as const, blocks: FINAL_DEPTH + 1 }] : []),
      ...after,
    ]),
})
/** Lives of orders that have money: paid, cancelled, or expired and paid late. Without bias to short ones. */
const refundedLife = fc
  .record({
    beginning: fc.constantFrom('paid' as const, 'paid' as const, 'cancelled' as const, 'expired' as const),
    quantity: fc.integer({ min: 1, max: 9 }),
    outputs: fc.array(finalOutput, { minLength: 1, maxLength: MAX_OUTPUTS, size: 'max' }),
    steps: fc.array(laterStep, { minLength: 6, maxLength: 16, size: 'max' }),
  })
  .map(({ beginning, steps, outputs, ...rest }): Sequence => {
    const asked = (kind: ActKind) => ({ kind, order: ORDERS[0], ofReplacement: false })
    const told = [false, true].map((isSecondSource) => ({
      ...{ kind: 'tell' as const, output: 0, isSecondSource, which: 'second' as const },
    }))
    const [first, ...others] = outputs
    return {
      ...rest,
      hasEnded: beginning === 'expired',
      outputs: first === undefined ? [] : [{ ...first, order: ORDERS[0] }, ...others],
      steps: [
        ...(beginning === 'expired' ? [asked('assess'), asked('expire')] : []),
        ...[...told, asked('assess')],
        ...(beginning === 'cancelled' ? [asked('cancel')] : []),
        ...steps,
      ],
    }
  })

const refundedSequence = fc.noBias(refundedLife)

/** Of so many sequences, one has money early, and refunds. It shares no factor with PERIOD (chaos.ts): all rules. */
const REFUNDED_EVERY = 9
export const sequenceArbitraryOf = (seed: number): fc.Arbitrary<Sequence> =>
  seed % REFUNDED_EVERY === 0 ? refundedSequence : anySequence

/** The sequence of this seed: the same one on every run. */
export const sequenceOf = (seed: number): Sequence => {
  const [sequence] = fc.sample(sequenceArbitraryOf(seed), { seed, numRuns: 1 })
  if (sequence === undefined) throw new Error('nothing was generated')
  return sequence
}

/** The states that a source reports of an output with this life, in order: changes only, numbered from 1. */
export function statesOfLife(life: readonly ChainEvent[]): OutputState[] {
  const told: OutputState[] = ['seen']
  let depth = 0
  const say = (state: OutputState): void => {
    if (told.at(-1) !== state) told.push(state)
  }
  for (const event of life) {
    if (told.at(-1) === 'replaced') break
    if (event.kind === 'mine') {
      if (depth === 0) say('seen')
      depth += event.blocks
      if (depth >= FINAL_DEPTH) say('final')
    } else if (event.kind === 'reorg') {
      // A shallower branch replaces blocks above the output: nothing is lost.
      if (depth === 0 || event.blocks < depth) continue
      depth = 0
      say('reorged')
    } else if (depth === 0) say(event.kind === 'replace' ? 'replaced' : 'dropped')
  }
  return told
}
