// Lives of payments that generated sequences meet once in many thousands, each named after what must come of it.

import type { AmountName, OutputPlan, RefundAct, Sequence, SequenceStep, SightingName } from './sequence.ts'

const FINAL = { kind: 'mine', blocks: 12 } as const
const LOST = { kind: 'reorg', blocks: 13 } as const

const output = (amount: AmountName, sighting: SightingName, ...life: OutputPlan['life']): OutputPlan => ({
  ...{ order: 'first', amount, isRightAsset: true, sighting, secondSighting: 'in_time', lie: 'none', life },
})
const assess: SequenceStep = { kind: 'assess', order: 'first', ofReplacement: false }
/** The next facts of an output, and an assessment. */
const hear = (place: number, facts: number): SequenceStep[] => [
  ...Array.from({ length: facts }, (): SequenceStep => ({
    ...{ kind: 'tell', output: place, isSecondSource: false, which: 'next' },
  })),
  assess,
]
const refund = (...acts: readonly RefundAct[]): SequenceStep[] =>
  acts.map((act) => ({ kind: 'refund', act, order: 'first', ofReplacement: false }))
const lifeOf = (outputs: OutputPlan[], ...steps: SequenceStep[][]): Sequence => ({
  ...{ hasEnded: false, quantity: 2, outputs, steps: steps.flat() },
})

export const RARE_LIVES: Readonly<Record<string, Sequence>> = {
  'what is owed is open again once the money is back that another refund was promised': lifeOf(
    [
      output('due', 'in_time', FINAL, LOST, FINAL),
      output('over', 'just_late', FINAL),
      output('half', 'just_late', FINAL),
    ],
    ...[hear(0, 2), hear(1, 2), refund('ask_all'), hear(0, 1), hear(2, 2), hear(0, 2)],
  ),
  'an order that loses the dust which covered its refund is partially refunded until the dust is back': lifeOf(
    [output('due', 'in_time', FINAL), output('dust', 'just_late', FINAL, LOST, FINAL)],
    ...[hear(0, 2), hear(1, 2), refund('ask_edge', 'settle', 'send', 'confirm'), hear(1, 1), hear(1, 2)],
  ),
  'an order that is paid after its refunded late money was lost is not shipped until that money is back': lifeOf(
    [output('due', 'just_late', FINAL, LOST, FINAL), output('due', 'in_time', FINAL)],
    ...[hear(0, 2), refund('pay'), hear(0, 1), hear(1, 2)],
    [{ kind: 'ship', order: 'first', ofReplacement: false }],
    hear(0, 2),
  ),
}
