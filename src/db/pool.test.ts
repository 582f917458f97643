import { expect, test } from '@jest/globals'
import pg from 'pg'
import { DomainError } from '../domain/failure.ts'
import { databaseFailure, isDatabaseDown, sqlStateOf } from './pool.ts'

const refused = (code: string): Error => {
  const error = new pg.DatabaseError('the database said no', 0, 'error')
  error.code = code
  return error
}
const broken = (code: string): Error => Object.assign(new Error('the connection broke'), { code })

test.each([
  ['a server that ends its sessions', refused('57P01')],
  ['too many sessions', refused('53300')],
  ['a statement out of time', refused('57014')],
  ['a login that is refused', refused('28P01')],
  ['a deadlock that outlived its retries', refused('40P01')],
  ['a server that is not there', broken('ECONNREFUSED')],
  ['a connection that broke', broken('EPIPE')],
  ['any of these as a cause', new Error('outer', { cause: refused('08006') })],
])('%s is the database being unavailable', (_name, error) => {
  expect(isDatabaseDown(error)).toBe(true)
  expect(databaseFailure(error)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE', retryAfterMs: expect.any(Number) })
})

test.each([
  ['a duplicate', refused('23505')],
  ['a bug', new TypeError('undefined is not a function')],
  ['a refusal of the domain', new DomainError('OUT_OF_STOCK', 'gone')],
])('%s is not, and stays what it is', (_name, error) => {
  expect(databaseFailure(error)).toBe(error)
})

test('only an answer of Postgres has an SQLSTATE', () => {
  expect(sqlStateOf(new Error('outer', { cause: refused('23505') }))).toBe('23505')
  expect(sqlStateOf(broken('EPIPE'))).toBeUndefined()
})
