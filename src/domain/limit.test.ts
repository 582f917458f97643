import { expect, test } from '@jest/globals'
import { DEFAULT_BUDGETS, LIMIT_CLASSES, parseBudgets } from './limit.ts'

test('no text means the defaults, which no address can use up as one user', () => {
  expect(parseBudgets('')).toEqual(DEFAULT_BUDGETS)
  for (const { user, address } of Object.values(DEFAULT_BUDGETS)) expect(user).toBeLessThanOrEqual(address)
})

test('an entry sets one class, and a star sets all of them', () => {
  expect(parseBudgets('order=5/50/2, list=7/70/3')).toEqual({
    ...DEFAULT_BUDGETS,
    order: { user: 5, address: 50, atOnce: 2 },
    list: { user: 7, address: 70, atOnce: 3 },
  })
  const budgets = parseBudgets('*=9/90/4,report=3/3/1')
  expect(budgets?.report).toEqual({ user: 3, address: 3, atOnce: 1 })
  for (const each of LIMIT_CLASSES.filter((name) => name !== 'report'))
    expect(budgets?.[each]).toEqual({ user: 9, address: 90, atOnce: 4 })
})

test.each([
  'order',
  'order=5',
  'order=5/5',
  'order=0/5/5',
  'order=5/0/5',
  'order=5/5/0',
  'orders=5/5/5',
  'order=-1/5/5',
  'order=5/9999999/5',
  'toString=1/1/1',
  'order=1/1/1;list=1/1/1',
])('%s is no list of budgets', (text) => expect(parseBudgets(text)).toBeUndefined())
