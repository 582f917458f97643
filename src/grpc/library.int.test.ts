// What grpc-js would answer, count and log by itself: each such answer has our details, and nothing of the caller.

import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import { callHttp2, framed, type Http2Request } from '../../test/support/raw_http2.ts'
import { until } from '../../test/support/until.ts'
import { createLogger } from '../telemetry.ts'
import { HealthService } from './gen/grpc/health/v1/health.ts'
import { OrderServiceService } from './gen/holdfast/v1/order.ts'
import { logLibrary, silenceLibrary } from './library_log.ts'
import { MAX_REQUEST_BYTES } from './library_status.ts'

const CANARY = 'CANARY7f3a'
const CHECK = HealthService.check.path
const LIST = OrderServiceService.listOrders.path

let database: TestDatabase
let front: TestFront
let token: string

beforeAll(async () => {
  database = await createTestDatabase()
  front = await createTestFront(database)
  token = `Bearer ${await front.tokenOf(customer(7))}`
})
afterEach(() => void jest.restoreAllMocks())
afterAll(async () => {
  await front.stop()
  await database.drop()
})

async function countOf(code: string): Promise<number> {
  const text = await front.registry.metrics()
  return [...text.matchAll(new RegExp(`grpc_server_handled_total\\{[^}]*grpc_code="${code}"[^}]*\\} (\\d+)`, 'g'))]
    .map(([, count]) => Number(count))
    .reduce((sum, count) => sum + count, 0)
}

type Case = {
  path?: string
  request: Http2Request
  code: string
  reason: string
  metadata?: Record<string, string>
  http?: number
}

const header = (headers: Http2Request['headers']): Http2Request => ({ ...(headers !== undefined && { headers }) })
const LARGE = { limit_bytes: String(MAX_REQUEST_BYTES) }
const CASES: Readonly<Record<string, Case>> = {
  'a timeout that is text': {
    request: header({ 'grpc-timeout': CANARY.repeat(200) }),
    code: 'INVALID_ARGUMENT',
    reason: 'CALL_MALFORMED',
    metadata: { part: 'timeout' },
  },
  'a timeout with text around it': {
    request: header({ 'grpc-timeout': `${CANARY}1S` }),
    code: 'INVALID_ARGUMENT',
    reason: 'CALL_MALFORMED',
    metadata: { part: 'timeout' },
  },
  'a timeout of no time': {
    request: header({ 'grpc-timeout': '0n' }),
    code: 'DEADLINE_EXCEEDED',
    reason: 'DEADLINE_EXCEEDED',
  },
  'another content type': {
    request: header({ 'content-type': `text/${CANARY}` }),
    code: 'INVALID_ARGUMENT',
    reason: 'CALL_MALFORMED',
    metadata: { part: 'content_type' },
    http: 415,
  },
  'gRPC in JSON': {
    request: header({ 'content-type': 'application/grpc+json' }),
    code: 'INVALID_ARGUMENT',
    reason: 'CALL_MALFORMED',
    metadata: { part: 'content_type' },
    http: 415,
  },
  'no content type': {
    request: header({ 'content-type': undefined }),
    code: 'INVALID_ARGUMENT',
    reason: 'CALL_MALFORMED',
    metadata: { part: 'content_type' },
    http: 415,
  },
  'another method of HTTP': {
    request: header({ ':method': 'PUT' }),
    code: 'INVALID_ARGUMENT',
    reason: 'CALL_MALFORMED',
    metadata: { part: 'method' },
  },
  'a method that does not exist': {
    path: `/holdfast.v1.OrderService/${CANARY}`,
    request: {},
    code: 'UNIMPLEMENTED',
    reason: 'METHOD_UNKNOWN',
  },
  'a service that does not exist': {
    path: `/${CANARY}/GetOrder`,
    request: {},
    code: 'UNIMPLEMENTED',
    reason: 'METHOD_UNKNOWN',
  },
  'a service of the other port': {
    path: '/holdfast.v1.StockAdminService/AdjustStock',
    request: {},
    code: 'UNIMPLEMENTED',
    reason: 'METHOD_UNKNOWN',
  },
  'a prototype key as path': { path: '/__proto__', request: {}, code: 'UNIMPLEMENTED', reason: 'METHOD_UNKNOWN' },
  'an encoding that is not known': {
    request: { ...header({ 'grpc-encoding': CANARY }), body: [framed(Buffer.alloc(0), { flag: 1 })] },
    code: 'UNIMPLEMENTED',
    reason: 'ENCODING_UNKNOWN',
  },
  'gzip that is none': {
    request: { ...header({ 'grpc-encoding': 'gzip' }), body: [framed(Buffer.from(CANARY), { flag: 1 })] },
    code: 'INVALID_ARGUMENT',
    reason: 'CALL_MALFORMED',
    metadata: { part: 'compression' },
  },
  'gzip that grows too large': {
    request: {
      ...header({ 'grpc-encoding': 'gzip' }),
      body: [framed(gzipSync(Buffer.alloc(MAX_REQUEST_BYTES + 1)), { flag: 1 })],
    },
    code: 'RESOURCE_EXHAUSTED',
    reason: 'MESSAGE_TOO_LARGE',
    metadata: LARGE,
  },
  'a length beyond the limit': {
    request: { body: [framed(Buffer.from(CANARY), { length: MAX_REQUEST_BYTES + 1 })] },
    code: 'RESOURCE_EXHAUSTED',
    reason: 'MESSAGE_TOO_LARGE',
    metadata: LARGE,
  },
  'two messages': {
    request: { body: [framed(Buffer.alloc(0)), framed(Buffer.alloc(0))] },
    code: 'INVALID_ARGUMENT',
    reason: 'CALL_MALFORMED',
    metadata: { part: 'message_count' },
  },
  'thousands of messages that are marked as compressed': {
    request: {
      ...header({ 'grpc-encoding': 'deflate' }),
      body: [Buffer.concat(Array.from({ length: 3_000 }, () => framed(Buffer.alloc(0), { flag: 1 })))],
    },
    code: 'INVALID_ARGUMENT',
    reason: 'CALL_MALFORMED',
    metadata: { part: 'message_count' },
  },
  'no message': {
    request: { body: [] },
    code: 'INVALID_ARGUMENT',
    reason: 'CALL_MALFORMED',
    metadata: { part: 'message_count' },
  },
  'half a message': {
    request: { body: [framed(Buffer.from(CANARY), { length: 100 })] },
    code: 'INVALID_ARGUMENT',
    reason: 'CALL_MALFORMED',
    metadata: { part: 'message_count' },
  },
  'bytes that are no message': {
    request: { body: [framed(Buffer.from([0xff, 0xff, 0xff]))] },
    code: 'INVALID_ARGUMENT',
    reason: 'FIELD_INVALID',
  },
}

describe('a call that the library refuses', () => {
  test.each(Object.entries(CASES))('for %s is answered and counted like any other', async (_, each) => {
    const before = await countOf(each.code)
    const request = {
      ...each.request,
      headers: { 'x-request-id': 'trace-1', authorization: token, ...each.request.headers },
    }
    const [answer] = await callHttp2(front.address, each.path ?? LIST, [request])
    expect(answer).toMatchObject({
      http: each.http ?? 200,
      code: each.code,
      detail: { reason: each.reason, metadata: each.metadata ?? {} },
      headers: { 'x-request-id': 'trace-1' },
      rstCode: 0,
    })
    expect(JSON.stringify(answer)).not.toContain(CANARY)
    expect(Number(answer?.message.length)).toBeLessThan(100)
    expect(await countOf(each.code)).toBe(before + 1)
    expect(front.logLines().join('')).not.toContain(CANARY)
  })

  test('has a line in the log, or is counted there in its class', async () => {
    for (const { code, reason } of Object.values(CASES)) {
      await until(() => front.logLines().some((line) => line.includes(`"${code}`) && line.includes(reason)))
    }
  })

  test('of the admin port too', async () => {
    const [answer] = await callHttp2(front.adminAddress, LIST, [{}])
    expect(answer).toMatchObject({ code: 'UNIMPLEMENTED', detail: { reason: 'METHOD_UNKNOWN' } })
  })

  test('with a body that never ends does not stay open', async () => {
    const [answer] = await callHttp2(front.address, '/none/None', [{ isOpen: true }])
    expect(answer).toMatchObject({ code: 'UNIMPLEMENTED', rstCode: 0 })
  })

  test('and its connection goes on to serve good calls', async () => {
    const answers = await callHttp2(front.address, CHECK, [
      header({ 'grpc-timeout': 'x' }),
      {},
      header({ 'content-type': 'text/plain' }),
      {},
    ])
    expect(answers.map(({ code }) => code)).toEqual(['INVALID_ARGUMENT', 'OK', 'INVALID_ARGUMENT', 'OK'])
  })
})

test('a timeout beyond what a timer can hold is a long one', async () => {
  const answers = await callHttp2(
    front.address,
    CHECK,
    ['99999999H', '2147484S', '35791395M'].map((timeout) => header({ 'grpc-timeout': timeout })),
  )
  expect(answers.map(({ code }) => code)).toEqual(['OK', 'OK', 'OK'])
})

describe('what a stranger sends', () => {
  const FLOOD = 300
  const evil = { 'x-evil': `${CANARY}\u00ff${'x'.repeat(3_000)}`, 'x-request-id': CANARY }

  test.each([
    ['a token with a byte that headers must not have', { authorization: `Bearer ${CANARY}\u00ff` }],
    ['other headers with such bytes', evil],
    ['a request id', { 'x-request-id': CANARY }],
    ['a bad timeout', { 'grpc-timeout': CANARY }],
    ['a content type', { 'content-type': CANARY }],
  ])('in %s is in no log, and a flood of it writes one line per second and class', async (_, headers) => {
    const library: string[] = []
    const printed = jest.spyOn(process.stderr, 'write')
    const printedByNode = jest.spyOn(globalThis.console, 'error')
    logLibrary(
      createLogger({ process: 'api', level: 'debug', destination: { write: (line) => void library.push(line) } }),
    )
    const first = front.logLines().length
    const startedAt = performance.now()
    try {
      const requests = Array.from({ length: FLOOD }, () => ({ headers }))
      for (let round = 0; round < 3; round += 1) {
        const answers = await callHttp2(front.address, LIST, requests.slice(0, FLOOD / 3))
        expect(answers.every(({ detail }) => detail.reason !== '')).toBe(true)
      }
    } finally {
      silenceLibrary()
    }
    const seconds = Math.ceil((performance.now() - startedAt) / 1_000)
    const lines = [...front.logLines().slice(first), ...library]
    expect(printed).not.toHaveBeenCalled()
    expect(printedByNode).not.toHaveBeenCalled()
    expect(library.length > 0).toBe(Object.values(headers).some((value) => value.includes('\u00ff')))
    expect(lines.join('')).not.toContain(CANARY)
    // One class of ours per case, and two of the library's own.
    expect(lines.length).toBeLessThanOrEqual(3 * (1 + seconds))
  })

  test('is counted in the log where its lines are left out', async () => {
    await callHttp2(
      front.address,
      LIST,
      Array.from({ length: 50 }, () => ({})),
    )
    const counts = () =>
      front
        .logLines()
        .flatMap(
          (line) => /"UNAUTHENTICATED CREDENTIALS_INVALID authorization","suppressed":(\d+)/.exec(line)?.[1] ?? [],
        )
    await until(() => counts().length > 0)
    expect(Math.max(...counts().map(Number))).toBeGreaterThan(10)
  })
})

test('a caller with a token has each call logged, with its own request id', async () => {
  const headers = {
    authorization: `Bearer ${await front.tokenOf({ ...admin, subject: '4711' })}`,
    'x-request-id': 'trace-2',
  }
  await callHttp2(
    front.address,
    OrderServiceService.getOrder.path,
    Array.from({ length: 5 }, () => ({ headers })),
  )
  const lines = front.logLines().filter((line) => line.includes('user:4711'))
  expect(lines).toHaveLength(5)
  expect(lines.every((line) => line.includes('trace-2'))).toBe(true)
})
