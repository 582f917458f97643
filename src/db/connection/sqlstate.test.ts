import { describe, expect, test } from '@jest/globals'
import { DomainError } from '../../domain/failure.ts'
import {
  databaseFailure,
  isDatabaseDown,
  isDatabaseUnavailable,
  isRetryable,
  isSessionSpent,
  isUndone,
  sqlStateOf,
} from './sqlstate.ts'
import { sqlError, systemError, within } from '../../../test/support/sql_error.ts'

describe('an SQLSTATE', () => {
  test('is found however deep a library buries it', () => {
    expect(sqlStateOf(sqlError('40P01'))).toBe('40P01')
    expect(sqlStateOf(within(within(sqlError('23505'))))).toBe('23505')
  })

  test.each([systemError('EPIPE'), systemError('EPERM'), new Error('no code'), 'text', undefined, { code: '40001' }])(
    'is not seen in %s',
    (error) => {
      expect(sqlStateOf(error)).toBeUndefined()
    },
  )
})

describe('the server is down', () => {
  test.each(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETDOWN'])(
    'when the network says %s',
    (code) => {
      const error = within(systemError(code))
      expect([isDatabaseDown(error), isDatabaseUnavailable(error), isSessionSpent(error)]).toEqual([true, true, true])
    },
  )

  test.each([
    'Connection terminated unexpectedly',
    'Connection terminated due to connection timeout',
    'timeout exceeded when trying to connect',
    'timeout expired',
    'Backend has been terminated.',
    'Client has encountered a connection error and is not queryable',
    'Client was closed and is not queryable',
    'Client is pending destroy.',
  ])('when a library says %s', (text) => {
    expect(isDatabaseDown(within(new Error(text)))).toBe(true)
  })

  test.each([
    sqlError('23505'),
    sqlError('42501'),
    sqlError('HF001'),
    new TypeError('x is undefined'),
    new DomainError('OUT_OF_STOCK', 'gone'),
    undefined,
    'down',
  ])('not when the request is at fault: %s', (error) => {
    expect([isDatabaseDown(error), isDatabaseUnavailable(error), isSessionSpent(error)]).toEqual([false, false, false])
  })

  test.each(['57014', '55P03', '40001', '40P01', '25P03', '25P04'])(
    'not when it ended one transaction that lasted too long (%s): that is told to its caller alone',
    (code) => {
      const error = within(sqlError(code))
      expect([isDatabaseDown(error), isDatabaseUnavailable(error)]).toEqual([false, true])
    },
  )

  test("is told to callers without a word of the driver's", () => {
    const cause = within(systemError('ECONNREFUSED'))
    const told = databaseFailure(cause)
    expect(told).toBeInstanceOf(DomainError)
    expect(told).toMatchObject({
      reason: 'DATABASE_UNAVAILABLE',
      message: 'The database cannot be reached; try again.',
      retryAfterMs: 1_000,
      cause,
    })
  })

  test('is not told of any other error, which stays what it is', () => {
    const error = sqlError('23505')
    expect(databaseFailure(error)).toBe(error)
  })
})

test('only what did nothing is run again', () => {
  expect(['40001', '40P01', '55P03'].map((code) => isRetryable(sqlError(code)))).toEqual([true, true, true])
  expect(['57014', '57P01', '08006', '25006', '23505'].some((code) => isRetryable(sqlError(code)))).toBe(false)
})

describe('a statement that failed', () => {
  test.each(['55P03', '40001', '40P01', '57014', '23505', '22001', '42501', 'P0001', 'HF010'])(
    'with %s has certainly written nothing',
    (code) => {
      expect(isUndone(within(sqlError(code)))).toBe(true)
    },
  )

  test.each([
    // The session ended, or the disk was full: the commit may be written.
    ...['57P01', '57P02', '08006', '53100', '58030', '25P04', '40003', 'XX000'].map(sqlError),
    ...['ECONNRESET', 'EPIPE', 'ETIMEDOUT'].map(systemError),
    new Error('Connection terminated unexpectedly'),
    undefined,
  ])('with %s may have written', (error) => {
    expect(isUndone(error)).toBe(false)
  })
})
