import { describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { DomainError, FAILURES, type FailureReason } from '../domain/failure.ts'
import { applicationFailureOf } from './failure.ts'

const REASONS = Object.keys(FAILURES) as FailureReason[]
const sqlError = (code: string): Error =>
  Object.assign(new pg.DatabaseError('duplicate key (email)=(ann@example.org)', 0, 'error'), { code })

describe('a refusal', () => {
  test('keeps its reason and its text', () => {
    expect(applicationFailureOf(new DomainError('STALE_RUN', 'A later run owns this order.'))).toMatchObject({
      type: 'STALE_RUN',
      message: 'A later run owns this order.',
      nonRetryable: true,
    })
  })

  test('ends the step, unless it may pass by itself or nobody foresaw it', () => {
    const retried = REASONS.filter(
      (reason) => applicationFailureOf(new DomainError(reason, 'Why.')).nonRetryable === false,
    )
    expect(retried).toEqual([
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
      'INTERNAL',
    ])
  })
})

describe('an error nobody foresaw', () => {
  test.each([
    ['of the database', sqlError('23505'), 'unexpected failure 23505'],
    ['of ours', new TypeError('cannot read ann@example.org'), 'unexpected failure'],
    ['that is no error', 'ann@example.org', 'unexpected failure'],
  ])('%s is tried again, and nothing of its text reaches a history', (_whose, error, message) => {
    const failure = applicationFailureOf(error)
    expect(failure).toMatchObject({ type: 'INTERNAL', message, nonRetryable: false })
    expect(failure.cause).toBeUndefined()
    expect(JSON.stringify([failure.message, failure.stack, failure.details])).not.toContain('ann@example.org')
  })
})

test('an outage of the database is tried again under its own name', () => {
  const failure = applicationFailureOf(
    Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:5432'), { code: 'ECONNREFUSED' }),
  )
  expect(failure).toMatchObject({ type: 'DATABASE_UNAVAILABLE', nonRetryable: false })
  expect(failure.message).not.toContain('10.0.0.7')
})
