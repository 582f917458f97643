import { expect, test } from '@jest/globals'
import { findSerialOrder, type Observed, type Rules } from './linearizability.ts'

type Call = { read: number } | { add: number }
const rules = (end: number): Rules<number, Call> => ({
  apply: (state, call) => ('add' in call ? state + call.add : call.read === state ? state : undefined),
  isEnd: (state) => state === end,
})
const at = (from: number, to: number, call: Call): Observed<Call> => ({ call, from, to })

test('calls that overlap may have happened in any order', () => {
  const calls = [at(0, 9, { add: 1 }), at(1, 8, { read: 1 }), at(2, 7, { read: 0 })]
  expect(findSerialOrder(calls, 0, rules(1))).toEqual([{ read: 0 }, { add: 1 }, { read: 1 }])
})

test('a call that was over before another began came first', () => {
  expect(findSerialOrder([at(0, 1, { add: 1 }), at(2, 3, { read: 0 })], 0, rules(1))).toBeUndefined()
})

test('an end that no order leads to is a lost update', () => {
  expect(findSerialOrder([at(0, 5, { add: 1 }), at(1, 4, { add: 1 })], 0, rules(1))).toBeUndefined()
})
