import { expect, test } from '@jest/globals'
import { MAX_RETRY_AFTER_MS, retryAfterMsOf } from './transport.ts'

const NOW = Date.UTC(2026, 0, 1)

test.each([
  ['7', 7_000],
  [' 7 ', 7_000],
  ['0', 0],
  ['99999999', MAX_RETRY_AFTER_MS],
  ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
  ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
  ['Fri, 01 Jan 2027 00:00:00 GMT', MAX_RETRY_AFTER_MS],
  ['-5', undefined],
  ['1.5', undefined],
  ['soon', undefined],
  ['', undefined],
  [null, undefined],
])('Retry-After «%s» asks for %s ms', (header, expected) => {
  expect(retryAfterMsOf(header, NOW)).toBe(expected)
})
