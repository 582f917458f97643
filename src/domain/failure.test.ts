import { describe, expect, test } from '@jest/globals'
import { DomainError, FAILURES, RETRYABLE_KINDS, type FailureReason } from './failure.ts'

const REASONS = Object.keys(FAILURES) as FailureReason[]

test.each(REASONS)('%s keeps its kind, its text and what belongs to it', (reason) => {
  const cause = new Error('the row was (7, secret)')
  const error = new DomainError(reason, 'Why.', {
    metadata: { available: '3' },
    violations: [{ field: 'lines', description: 'must not be empty' }],
    quota: [{ subject: 'user', description: '60 calls in 60 s' }],
    retryAfterMs: 500,
    cause,
  })
  expect(error).toBeInstanceOf(Error)
  expect(error).toMatchObject({
    name: 'DomainError',
    reason,
    kind: FAILURES[reason],
    message: 'Why.',
    metadata: { available: '3' },
    violations: [{ field: 'lines', description: 'must not be empty' }],
    quota: [{ subject: 'user', description: '60 calls in 60 s' }],
    retryAfterMs: 500,
    cause,
  })
})

test('without details there are none', () => {
  const error = new DomainError('NOT_FOUND', 'No such order.')
  expect(error).toMatchObject({ metadata: {}, violations: [], quota: [], retryAfterMs: undefined, cause: undefined })
})

describe('what may be tried again', () => {
  test('is what can pass by itself, and never a refusal', () => {
    expect(REASONS.filter((reason) => RETRYABLE_KINDS.has(FAILURES[reason]))).toEqual([
      'RATE_LIMITED',
      'TOO_MANY_CALLS',
      'TOO_MANY_STREAMS',
      'OVERLOADED',
      'DEADLINE_EXCEEDED',
      'ADDRESS_POOL_EMPTY',
      'STOCK_BEING_RELEASED',
      'START_BACKLOG_FULL',
      'RATE_UNAVAILABLE',
      'ASSET_UNAVAILABLE',
      'ENGINE_UNAVAILABLE',
      'DATABASE_UNAVAILABLE',
      'ISSUER_UNAVAILABLE',
      'SHUTTING_DOWN',
    ])
  })
})
