import { describe, expect, test } from '@jest/globals'
import { applyChanges, bodyText, parseBody, rowKey, systemActor, type AuditBody, type AuditView } from './audit.ts'

const BODY: AuditBody = {
  kind: 'order',
  id: '00000000-0000-8000-8000-000000000000',
  seq: '2',
  at: '2026-01-02T03:04:05.678901+00:00',
  txid: '751',
  dbRole: 'app_worker',
  by: { actor: 'user:7', role: 'customer', requestId: 'r-1' },
  changes: [{ table: 'orders', op: 'UPDATE', key: { order_id: 'o' }, old: { hold: 'none' }, new: { hold: 'manual' } }],
}

describe('a body', () => {
  test('is read and written in one form only', () => {
    expect(parseBody(bodyText(BODY))).toEqual(BODY)
    // The order of members is part of the form, whatever order they were given in.
    const { changes, ...rest } = BODY
    expect(bodyText({ changes, ...rest })).toBe(bodyText(BODY))
  })

  test.each([
    ['a space', (text: string) => text.replace(',', ', ')],
    ['another order', (text: string) => text.replace(/^\{"kind":"order",(.*)\}$/, '{$1,"kind":"order"}')],
    ['a member more', (text: string) => text.replace(/\}$/, ',"more":1}')],
    ['a member twice', (text: string) => text.replace('"seq":"2"', '"seq":"1","seq":"2"')],
    ['a number written otherwise', (text: string) => text.replace('"hold":"manual"', '"hold":1.0')],
    ['an end missing', (text: string) => text.slice(0, -1)],
  ])('with %s is none', (_, change) => {
    expect(change(bodyText(BODY))).not.toBe(bodyText(BODY))
    expect(parseBody(change(bodyText(BODY)))).toBeUndefined()
  })
})

test('changes make, alter and remove rows of a view', () => {
  const view: AuditView = new Map()
  const key = { order_id: 'o' }
  applyChanges(view, [
    { table: 'orders', op: 'INSERT', key, new: { hold: 'none', status: 'pending' } },
    { table: 'refund_due', op: 'INSERT', key, new: { amount: '1' } },
    { table: 'orders', op: 'UPDATE', key, old: { hold: 'none' }, new: { hold: 'fraud' } },
    { table: 'refund_due', op: 'DELETE', key, old: { amount: '1' } },
  ])
  expect([...view]).toEqual([[rowKey('orders', key), { order_id: 'o', hold: 'fraud', status: 'pending' }]])
})

test('a part of the system acts under a name of its own', () => {
  expect(systemActor('worker')).toEqual({ actor: 'system:worker', role: 'system' })
})
