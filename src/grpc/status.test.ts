import { Metadata, status } from '@grpc/grpc-js'
import { describe, expect, test } from '@jest/globals'
import { readSource } from '../../test/support/source.ts'
import { DomainError, FAILURES, METADATA_KEYS, RETRY_HINT_MS, type FailureReason } from '../domain/failure.ts'
import { LIMIT_CLASSES } from '../domain/limit.ts'
import { ANONYMOUS, type CallRecord } from './call.ts'
import { DETAILS_KEY, MAX_DETAIL_BYTES, readDetails } from './detail.ts'
import { ErrorReason } from './gen/holdfast/v1/error_reason.ts'
import { REPLAY_KEY } from './observe.ts'
import { CODES, MAX_VIOLATIONS, PUSHBACK_KEY, REQUEST_ID_KEY, statusOf } from './status.ts'

const REASONS = Object.keys(FAILURES) as FailureReason[]

const buildRecord = (): CallRecord => ({
  path: '/holdfast.v1.OrderService/GetOrder',
  requestId: 'request-1',
  peer: '127.0.0.1',
  isPeerKnown: true,
  peerHash: '',
  hashRequest: () => Buffer.of(),
  startedAt: 0,
  principal: ANONYMOUS,
  orderId: undefined,
  isReplay: false,
  failure: undefined,
})
const detailOf = (error: unknown, record = buildRecord()) =>
  readDetails(statusOf(error, record).metadata ?? new Metadata())

describe('reasons', () => {
  const proto = readSource('proto/holdfast/v1/error_reason.proto')

  test('the proto lists exactly the reasons of the domain', () => {
    const listed = Object.keys(ErrorReason).filter((name) => !/UNSPECIFIED|UNRECOGNIZED/.test(name))
    expect(listed.toSorted()).toEqual(REASONS.map((reason) => `ERROR_REASON_${reason}`).toSorted())
  })

  test.each(REASONS)('%s is documented with its code, its callers and an example of all its metadata', (reason) => {
    const block = proto.split(`ERROR_REASON_${reason} =`)[0]?.split('\n\n').at(-1) ?? ''
    expect(block).toContain(`// ${status[CODES[FAILURES[reason]]]}. `)
    expect(block).toMatch(/\/\/ Caller: \S/)
    const example = new RegExp(`"reason": "${reason}", "metadata": (\\{.*?\\})`).exec(block)?.[1] ?? 'none'
    expect(Object.keys(JSON.parse(example) as object)).toEqual(METADATA_KEYS[reason] ?? [])
  })

  test.each(REASONS)('%s is documented with google.rpc.RetryInfo if it is sent with it, and else without', (reason) => {
    const block = proto.split(`ERROR_REASON_${reason} =`)[0]?.split('\n\n').at(-1) ?? ''
    const isSent = detailOf(new DomainError(reason, 'What happened.')).retryAfterMs !== undefined
    expect(block.includes('google.rpc.RetryInfo')).toBe(isSent)
  })

  test('the conventions say what is retried, what metadata there is, and how long answers are kept', () => {
    const common = readSource('proto/holdfast/v1/common.proto')
    const retried = REASONS.filter(
      (reason) => detailOf(new DomainError(reason, 'What happened.')).retryAfterMs !== undefined,
    )
    const rule = /\/\/ Retrying: [^]*?\n\n/.exec(common)?.[0] ?? ''
    for (const reason of retried) expect(rule).toContain(status[CODES[FAILURES[reason]]])
    for (const key of ['authorization', REQUEST_ID_KEY, REPLAY_KEY]) expect(common).toContain(`\`${key}`)
    const [kept] = /\d+ days/.exec(readSource('migrations/function/forget_answers.sql')) ?? ['']
    expect(common).toContain(`kept for ${kept}`)
  })

  test('RATE_LIMITED names all classes', () => {
    const block = proto.split('ERROR_REASON_RATE_LIMITED =')[0]?.split('\n\n').at(-1) ?? ''
    for (const each of LIMIT_CLASSES) expect(block).toMatch(new RegExp(`\\b${each}\\b`))
    expect(LIMIT_CLASSES).toContain(/"class": "(\w+)"/.exec(block)?.[1])
  })

  test.each(REASONS.filter((reason) => FAILURES[reason] !== 'bug'))(
    '%s reaches the caller with its code, its words and its documented metadata alone',
    (reason) => {
      const known = Object.fromEntries((METADATA_KEYS[reason] ?? []).map((key) => [key, 'tea']))
      const error = new DomainError(reason, 'What happened.', { metadata: { ...known, undocumented: 'CANARY' } })
      const sent = statusOf(error, buildRecord())
      expect(sent).toMatchObject({ code: CODES[FAILURES[reason]], details: 'What happened.' })
      const { metadata, ...detail } = detailOf(error)
      expect(detail.reason).toBe(reason)
      expect(metadata).toEqual(known)
    },
  )
})

test('an unexpected error is INTERNAL with an incident id, and nothing of its own text', () => {
  const record = buildRecord()
  const sent = statusOf(new Error('duplicate key value violates unique constraint "orders_pk"'), record)
  expect(sent.code).toBe(status.INTERNAL)
  expect(sent.details).toBe('Something went wrong on our side.')
  const { reason, metadata } = readDetails(sent.metadata ?? new Metadata())
  expect(reason).toBe('INTERNAL')
  expect(metadata).toEqual({ incident_id: record.failure?.incidentId })
  expect(String(sent.metadata?.get(DETAILS_KEY)[0])).not.toContain('orders_pk')
})

test('a bug that the domain itself found keeps its words to the log', () => {
  const record = buildRecord()
  const error = new DomainError('INTERNAL', 'The database holds an amount that is not money.')
  expect(statusOf(error, record).details).toBe('Something went wrong on our side.')
  expect(record.failure?.cause).toBe(error)
})

test('a database that is down is UNAVAILABLE and says when to come back', () => {
  const error = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
  expect(statusOf(error, buildRecord()).code).toBe(status.UNAVAILABLE)
  expect(detailOf(error)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE', retryAfterMs: 1_000 })
})

test('whatever passes with time names a delay', () => {
  expect(detailOf(new DomainError('SHUTTING_DOWN', 'Stopping.')).retryAfterMs).toBe(500)
  expect(detailOf(new DomainError('ADDRESS_POOL_EMPTY', 'None.', { retryAfterMs: 1_249.5 })).retryAfterMs).toBe(1_250)
  expect(detailOf(new DomainError('ORDER_STATUS', 'Shipped.')).retryAfterMs).toBeUndefined()
})

test('a library does not retry what takes longer than its own retries', () => {
  const pushbackOf = (retryAfterMs?: number) =>
    statusOf(
      new DomainError('ASSET_UNAVAILABLE', 'Behind.', { ...(retryAfterMs !== undefined && { retryAfterMs }) }),
      buildRecord(),
    ).metadata?.get(PUSHBACK_KEY)
  expect(pushbackOf(RETRY_HINT_MS.chain)).toEqual(['-1'])
  expect(pushbackOf(RETRY_HINT_MS.backlog)).toEqual(['-1'])
  expect(pushbackOf(RETRY_HINT_MS.outage)).toEqual([])
  expect(pushbackOf()).toEqual([])
})

test('the details stay small however many fields are wrong', () => {
  const violations = Array.from({ length: 500 }, (_, at) => ({
    field: `lines[${at}].expected_unit_price`,
    description: 'x'.repeat(64),
  }))
  const sent = statusOf(new DomainError('FIELD_INVALID', 'Wrong.', { violations }), buildRecord())
  expect(readDetails(sent.metadata ?? new Metadata()).violations).toHaveLength(MAX_VIOLATIONS)
  expect(Buffer.byteLength(sent.metadata?.get(DETAILS_KEY)[0] ?? '')).toBeLessThanOrEqual(MAX_DETAIL_BYTES)
})

test('an exceeded limit is listed as a quota, with the time to wait', () => {
  const quota = [{ subject: 'user', description: '60 calls in 60 s' }]
  const limited = new DomainError('RATE_LIMITED', 'Too many calls.', { quota, retryAfterMs: 7_000 })
  expect(detailOf(limited)).toMatchObject({ reason: 'RATE_LIMITED', quota, retryAfterMs: 7_000 })
  expect(detailOf(new DomainError('OVERLOADED', 'Busy.')).retryAfterMs).toBe(500)
  expect(detailOf(new DomainError('MESSAGE_TOO_LARGE', 'Long.')).retryAfterMs).toBeUndefined()
})

test.each([
  ['metadata', { metadata: { product_id: 'x'.repeat(10_000) } }],
  ['violations', { violations: [{ field: 'x'.repeat(10_000), description: 'wrong' }] }],
  ['quotas', { quota: Array.from({ length: 20 }, () => ({ subject: 'user', description: 'x'.repeat(1_000) })) }],
])('the details stay small however long their %s', (_, detail) => {
  const sent = statusOf(new DomainError('ORDER_STATUS', 'x'.repeat(10_000), detail), buildRecord())
  expect(Buffer.byteLength(sent.metadata?.get(DETAILS_KEY)[0] ?? '')).toBeLessThanOrEqual(MAX_DETAIL_BYTES)
  expect(sent.details.length).toBeLessThanOrEqual(256)
  expect(readDetails(sent.metadata ?? new Metadata()).reason).toBe('ORDER_STATUS')
})

test.each([Number.NaN, Number.POSITIVE_INFINITY, -5, 1e300])('a wait of %d is sent as a time', (retryAfterMs) => {
  const told = detailOf(new DomainError('RATE_LIMITED', 'Later.', { retryAfterMs })).retryAfterMs
  expect(told).toBeGreaterThan(0)
  expect(told).toBeLessThanOrEqual(86_400_000)
})

const circular = new Error('circular')
circular.cause = circular
test.each([
  ['whose causes are a circle', circular],
  [
    'that cannot be read',
    new Proxy(new Error('closed'), {
      get: () => {
        throw new Error('unreadable')
      },
    }),
  ],
  ['that is text', 'text'],
  ['that is nothing', undefined],
  ['that imitates a status', { code: 5, details: 'CANARY', metadata: new Metadata() }],
])('a failure %s is INTERNAL too', (_, error) => {
  expect(statusOf(error, buildRecord())).toMatchObject({
    code: status.INTERNAL,
    details: 'Something went wrong on our side.',
  })
})

test('details that are no details are read as none', () => {
  const metadata = new Metadata()
  metadata.set(DETAILS_KEY, Buffer.from([0xff, 0xff, 0xff]))
  expect(readDetails(metadata)).toEqual({ reason: '', metadata: {}, violations: [], quota: [] })
})

test('half a character is no reason to fail', () => {
  const sent = statusOf(
    new DomainError('NOT_FOUND', 'No \ud800.', { metadata: { product_id: '\udc00' } }),
    buildRecord(),
  )
  expect(() => encodeURI(sent.details)).not.toThrow()
})

test('what must hold first is listed as preconditions', () => {
  const violations = [{ field: 'tea', description: 'wanted 3, available 1' }]
  const gone = new DomainError('OUT_OF_STOCK', 'Gone.', { violations })
  expect(detailOf(gone).violations).toEqual(violations)
  const packed = Buffer.from(statusOf(gone, buildRecord()).metadata?.get(DETAILS_KEY)[0] ?? '').toString('latin1')
  expect(packed).toContain('google.rpc.PreconditionFailure')
  expect(packed).not.toContain('google.rpc.BadRequest')
})
