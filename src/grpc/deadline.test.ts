import { expect, test } from '@jest/globals'
import { deadlineExceeded, deadlineOf } from './deadline.ts'

const begun = () => ({ startedAt: performance.now() })
const DAY_MS = 86_400_000

test('a caller without a deadline has a default one, of seconds', () => {
  const left = deadlineOf(begun(), Number.POSITIVE_INFINITY, false) - Date.now()
  expect(left).toBeGreaterThan(1_000)
  expect(left).toBeLessThanOrEqual(10_000)
})

test('a deadline counts from the headers, not from the message', () => {
  const early = { startedAt: performance.now() - 4_000 }
  const late = deadlineOf(begun(), Number.POSITIVE_INFINITY, false)
  expect(late - deadlineOf(early, Number.POSITIVE_INFINITY, false)).toBeGreaterThan(3_000)
})

test('a caller’s own deadline holds, up to a maximum', () => {
  const soon = Date.now() + 500
  expect(deadlineOf(begun(), soon, false)).toBe(soon)
  expect(deadlineOf(begun(), Date.now() + DAY_MS, false) - Date.now()).toBeLessThanOrEqual(60_000)
})

test('a stream ends within minutes, whatever its caller asks for', () => {
  for (const given of [Number.POSITIVE_INFINITY, Date.now() + DAY_MS])
    expect(deadlineOf(begun(), given, true) - Date.now()).toBeLessThanOrEqual(150_000)
})

test('a late call is told to repeat in words that fit a read, which has no key', () => {
  expect(deadlineExceeded().message).toBe('The deadline passed. Repeat the call, with the same key if it has one.')
})
