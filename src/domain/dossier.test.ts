import { describe, expect, test } from '@jest/globals'
import { judgementOf, maskedAddressOf, REPORT_JUDGEMENTS, type JudgedReport, type ReportJudgement } from './dossier.ts'

/** The newest word of a source, as the order has it. */
const COUNTED: JudgedReport = {
  ...{ isAssessed: true, isSuperseded: false, isSourceRetired: false, isRightAsset: true, isEarly: false },
  ...{ state: 'final', amount: 5n, credit: { isOfThisOrder: true, state: 'final', amount: 5n } },
}

const CASES: readonly [string, Partial<JudgedReport>, ReportJudgement][] = [
  ['one that nobody has looked at', { isAssessed: false, isSuperseded: true, credit: undefined }, 'waiting'],
  ['one that says what the order has', {}, 'counts'],
  ['one of a retired source that is still right', { isSourceRetired: true }, 'counts'],
  ['one of a retired source that is wrong', { isSourceRetired: true, amount: 6n }, 'retired_source'],
  ['one whose source has said more since', { isSuperseded: true }, 'superseded'],
  ['one that other sources contradict', { state: 'reorged' }, 'outweighed'],
  ['one of another amount', { amount: 6n }, 'outweighed'],
  ['one that too few sources say', { credit: { isOfThisOrder: true, state: 'seen', amount: 5n } }, 'outweighed'],
  ['one in another asset', { isRightAsset: false, credit: undefined }, 'wrong_asset'],
  ['money from before the order', { isEarly: true, credit: undefined }, 'too_early'],
  ['money that another source saw later, and in time', { isEarly: true }, 'counts'],
  [
    'an output that another order has',
    { isSuperseded: true, credit: { isOfThisOrder: false, state: 'final', amount: 5n } },
    'of_another_order',
  ],
]

describe('a report', () => {
  test.each(CASES)('%s is judged', (_case, change, judgement) => {
    expect(judgementOf({ ...COUNTED, ...change })).toBe(judgement)
  })

  test('each judgement has a case', () => {
    expect(new Set(CASES.map(([, , judgement]) => judgement))).toEqual(new Set(REPORT_JUDGEMENTS))
  })
})

describe('a masked address', () => {
  test('shows its ends alone', () => {
    expect(maskedAddressOf('0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed')).toBe('0x5aAe…eAed')
  })

  test('shows nothing of a text that is hardly longer than its ends', () => {
    for (const text of ['', '0x', '0x5aAeb605']) expect(maskedAddressOf(text)).toBe('…')
  })
})
