import { status } from '@grpc/grpc-js'
import { describe, expect, test } from '@jest/globals'
import { isTemporalUnavailable, temporalCodeOf } from './temporal_failure.ts'

const CODES = Object.values(status).filter((code): code is status => typeof code === 'number' && code !== status.OK)
/** The same call fails again, however often it is repeated. */
const FINAL: readonly status[] = [
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.UNIMPLEMENTED,
  status.DATA_LOSS,
  status.UNAUTHENTICATED,
]

describe.each(CODES.map((code) => [status[code], code] as const))('%s of Temporal', (_, code) => {
  test('is waited for or ends the process, bare and as a cause', () => {
    const bare = Object.assign(new Error('text'), { code })
    const wrapped = new Error('wrapped', { cause: bare })
    expect(temporalCodeOf(wrapped)).toBe(code)
    expect([isTemporalUnavailable(bare), isTemporalUnavailable(wrapped)]).toEqual(
      FINAL.includes(code) ? [false, false] : [true, true],
    )
  })
})

test.each([
  ['status: code: Unavailable', true],
  ['status: code: PermissionDenied', false],
  ['tcp connect error', true],
])('the native part of the SDK says it in its message: %s', (message, isAway) => {
  expect(isTemporalUnavailable(Object.assign(new Error(message), { name: 'TransportError' }))).toBe(isAway)
})

test('an error of another kind is none of Temporal', () => {
  expect(isTemporalUnavailable(new TypeError('x'))).toBe(false)
  expect(isTemporalUnavailable('text')).toBe(false)
})
