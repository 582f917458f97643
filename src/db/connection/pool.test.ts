import { describe, expect, test } from '@jest/globals'
import { retrying } from './pool.ts'
import { sqlError, systemError, within } from '../../../test/support/sql_error.ts'

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
