import { expect, test } from '@jest/globals'
import { DomainError, FAILURES, type FailureKind, type FailureReason } from '../../domain/failure.ts'
import { TransportError } from '../../grpc/client.ts'
import { EXIT, endingOf, UnavailableError, UsageError } from './exit.ts'

const EXPECTED: Readonly<Record<FailureKind, number>> = {
  invalid: EXIT.usage,
  unauthenticated: EXIT.denied,
  denied: EXIT.denied,
  not_found: EXIT.refused,
  wrong_state: EXIT.refused,
  conflict: EXIT.refused,
  limited: EXIT.unavailable,
  too_large: EXIT.usage,
  deadline: EXIT.unavailable,
  unavailable: EXIT.unavailable,
  unimplemented: EXIT.refused,
  bug: EXIT.unexpected,
}

test.each(Object.entries(FAILURES) as [FailureReason, FailureKind][])(
  '%s, of kind %s, has its exit code',
  (reason, kind) => {
    const { code, message } = endingOf(new DomainError(reason, 'It did not work.'))
    expect(code).toBe(EXPECTED[kind])
    expect(message).toMatch(new RegExp(`^${reason}: It did not work\\.`))
  },
)

test('a refusal names what is wrong, what is left, and what to do', () => {
  const error = new DomainError('OUT_OF_STOCK', 'There are not enough units left.', {
    metadata: { available: '1' },
    violations: [{ field: 'lamp', description: 'wanted 2, available 1' }],
  })
  expect(endingOf(error).message).toBe(
    [
      'OUT_OF_STOCK: There are not enough units left.',
      '  lamp: wanted 2, available 1',
      'Order fewer units, or add stock: holdfast stock adjust PRODUCT --delta N',
    ].join('\n'),
  )
})

test('a key that is in use is no refusal: the same command may work later', () => {
  const inProgress = new DomainError('IDEMPOTENCY_KEY_IN_PROGRESS', 'Still running.', { retryAfterMs: 500 })
  expect(endingOf(inProgress).code).toBe(EXIT.unavailable)
  expect(endingOf(new DomainError('VERSION_MISMATCH', 'Changed.')).code).toBe(EXIT.refused)
})

test('a server that asks for patience is quoted, in whole seconds', () => {
  const error = new DomainError('DATABASE_UNAVAILABLE', 'The database cannot be reached.', { retryAfterMs: 1_200 })
  expect(endingOf(error).message).toMatch(/\nTry again in 2 s\.$/)
})

test.each([
  ['UNAVAILABLE', EXIT.unavailable],
  ['DEADLINE_EXCEEDED', EXIT.unavailable],
  ['UNAUTHENTICATED', EXIT.denied],
  ['PERMISSION_DENIED', EXIT.denied],
  ['INTERNAL', EXIT.unexpected],
])('a call that fails on its way with %s ends with %i', (status, code) => {
  expect(endingOf(new TransportError(status, 'no connection', undefined)).code).toBe(code)
})

test('what is wrong with the command line, with the stack and with us have codes of their own', () => {
  expect(endingOf(new UsageError('an address needs an --amount')).code).toBe(EXIT.usage)
  expect(endingOf(new UnavailableError('no running stack was found')).code).toBe(EXIT.unavailable)
  expect(endingOf(new Error('broken')).code).toBe(EXIT.unexpected)
})

test('a Postgres that cannot be reached is unavailable, never a finding, with what to check', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' })
  expect(endingOf(refused)).toEqual({
    code: EXIT.unavailable,
    message: 'Postgres cannot be reached (connect ECONNREFUSED 127.0.0.1:1): check --database or DATABASE_URL',
  })
})
