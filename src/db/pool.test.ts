import { describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { DomainError } from '../domain/failure.ts'
import { databaseFailure, isDatabaseDown, retrying, sqlStateOf } from './pool.ts'

/** As pg makes them of an answer of the server. */
function sqlError(code: string): pg.DatabaseError {
  const error = new pg.DatabaseError(`state ${code}`, 0, 'error')
  error.code = code
  return error
}
const systemError = (code: string): Error => Object.assign(new Error(`connect ${code} 127.0.0.1:5432`), { code })
const within = (cause: Error): Error => new Error('Query failed.', { cause })

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

describe('the database is down', () => {
  test.each([
    '57P01',
    '57P03',
    '57014',
    '53300',
    '53100',
    '08006',
    '28P01',
    '40001',
    '40P01',
    '55P03',
    '25P03',
    '25P04',
  ])('when it says %s', (code) => {
    expect(isDatabaseDown(within(sqlError(code)))).toBe(true)
  })

  test.each(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN'])(
    'when the network says %s',
    (code) => {
      expect(isDatabaseDown(within(systemError(code)))).toBe(true)
    },
  )

  test.each(['Connection terminated unexpectedly', 'timeout exceeded when trying to connect'])(
    'when the driver says %s',
    (text) => {
      expect(isDatabaseDown(new Error(text))).toBe(true)
    },
  )

  test.each([
    sqlError('23505'),
    sqlError('42501'),
    sqlError('HF001'),
    new TypeError('x is undefined'),
    new DomainError('OUT_OF_STOCK', 'gone'),
    undefined,
    'down',
  ])('not when the request is at fault: %s', (error) => {
    expect(isDatabaseDown(error)).toBe(false)
  })

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

describe('retrying', () => {
  /** Fails so often with this, then succeeds. Counts the attempts. */
  function flaky(error: Error, failures: number) {
    const seen = { attempts: 0 }
    const attempt = async (): Promise<string> => {
      seen.attempts += 1
      if (seen.attempts <= failures) throw error
      return 'done'
    }
    return { seen, attempt }
  }

  test.each(['40001', '40P01', '55P03'])('runs again what did nothing (%s), up to six times in all', async (code) => {
    const five = flaky(sqlError(code), 5)
    await expect(retrying(five.attempt, Number.POSITIVE_INFINITY)).resolves.toBe('done')
    expect(five.seen.attempts).toBe(6)
    const six = flaky(within(sqlError(code)), 6)
    await expect(retrying(six.attempt, Number.POSITIVE_INFINITY)).rejects.toThrow('Query failed.')
    expect(six.seen.attempts).toBe(6)
  })

  test.each([sqlError('23505'), sqlError('57P01'), sqlError('08006'), systemError('ECONNRESET'), new Error('bug')])(
    'never runs again what may have done something, or would fail again: %s',
    async (error) => {
      const { seen, attempt } = flaky(error, 1)
      await expect(retrying(attempt, Number.POSITIVE_INFINITY)).rejects.toBe(error)
      expect(seen.attempts).toBe(1)
    },
  )

  test('gives up when the caller would no longer wait', async () => {
    const { seen, attempt } = flaky(sqlError('40001'), 5)
    await expect(retrying(attempt, Date.now() - 1)).rejects.toMatchObject({ code: '40001' })
    expect(seen.attempts).toBe(1)
  })
})
