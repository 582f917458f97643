// Handlers that fail in each way that JavaScript allows: the caller gets one answer with our words, and the process
// goes on. An unhandled rejection would end it.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { CALL_WITHIN_MS, until } from '../../test/support/until.ts'
import { DomainError } from '../domain/failure.ts'
import { createLogger, createRegistry } from '../telemetry.ts'
import type { Call } from './call.ts'
import { createClient, ServingStatus, type HoldfastClient } from './client.ts'
import { addService } from './handle.ts'
import { PUBLIC_SERVICES } from './method.ts'
import { createObserver } from './observe.ts'

const CANARY = 'CANARY7f3a'
const OURS = { reason: 'INTERNAL', message: 'Something went wrong on our side.' }
const OK: { status: ServingStatus } = { status: ServingStatus.SERVING }

type Unary = (call: Call) => Promise<{ status: ServingStatus }>
type Stream = (call: Call) => AsyncIterable<{ status: ServingStatus }>

let server: Server
let client: HoldfastClient
let unary: Unary
let stream: Stream
const lines: string[] = []
const lost: unknown[] = []
const onLost = (error: unknown): void => void lost.push(error)

beforeAll(async () => {
  const destination = { write: (line: string) => void lines.push(line) }
  const logger = createLogger({ process: 'api', level: 'debug', destination })
  const peers = { peerHashOf: () => '', peerOf: () => ({ address: '', isKnown: true }) }
  const deps = { logger, registry: createRegistry('api'), hashRequest: () => Buffer.of(), ...peers }
  const { interceptor } = createObserver(deps)
  server = new Server({ interceptors: [interceptor] })
  const handlers = {
    check: (_: unknown, call: Call) => unary(call),
    list: async () => ({ statuses: {} }),
    watch: (_: unknown, call: Call) => stream(call),
  }
  addService(server, PUBLIC_SERVICES.health, handlers, new AbortController().signal)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  client = createClient({ deadlineMs: CALL_WITHIN_MS, address: `127.0.0.1:${port}`, token: () => '' })
})
beforeEach(() => {
  for (const event of ['unhandledRejection', 'uncaughtException'] as const) process.on(event, onLost)
})
afterEach(async () => {
  await nextTurn()
  for (const event of ['unhandledRejection', 'uncaughtException'] as const) process.off(event, onLost)
  expect(lost.splice(0)).toEqual([])
  expect(lines.join('')).not.toContain(CANARY)
  // The process goes on to serve.
  expect(await client.health.list({})).toEqual({ statuses: {} })
})
afterAll(() => {
  client.close()
  server.forceShutdown()
})

const failureOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => 'nothing failed',
    (error: unknown) => error,
  )
async function readAll(): Promise<number> {
  const read: unknown[] = []
  for await (const message of client.health.watch({})) read.push(message)
  return read.length
}

const circular = new Error(CANARY)
circular.cause = circular
const THROWN: readonly (readonly [string, unknown])[] = [
  ['an error', new Error(CANARY)],
  ['an error whose causes are a circle', circular],
  ['a text', CANARY],
  ['nothing', undefined],
  ['null', null],
  ['what grpc-js takes for a status', { code: status.NOT_FOUND, details: CANARY, metadata: new Metadata() }],
  ['a success', { code: status.OK, details: CANARY }],
  ['an error with a code of gRPC', Object.assign(new Error(CANARY), { code: status.ALREADY_EXISTS, details: CANARY })],
  [
    'an error that cannot be read',
    new Proxy(new Error(CANARY), {
      get: () => {
        throw new Error(CANARY)
      },
    }),
  ],
]
const raise = (thrown: unknown): never => {
  throw thrown
}

describe.each(THROWN)('a handler that throws %s', (_, thrown) => {
  test('at once, is answered for', async () => {
    unary = () => raise(thrown)
    expect(await failureOf(client.health.check({}))).toMatchObject(OURS)
  })

  test('in its promise, is answered for', async () => {
    unary = () => Promise.reject(thrown)
    expect(await failureOf(client.health.check({}))).toMatchObject(OURS)
  })

  test('as a stream, at once, is answered for', async () => {
    stream = () => raise(thrown)
    expect(await failureOf(readAll())).toMatchObject(OURS)
  })

  test('after the first message of a stream, is answered for', async () => {
    stream = async function* () {
      yield OK
      raise(thrown)
    }
    const read: unknown[] = []
    const call = (async () => {
      for await (const message of client.health.watch({})) read.push(message)
    })()
    expect(await failureOf(call)).toMatchObject(OURS)
    expect(read).toEqual([OK])
  })
})

describe('a handler', () => {
  test('that settles twice is answered for once', async () => {
    unary = () => {
      const { promise, resolve, reject } = Promise.withResolvers<typeof OK>()
      resolve(OK)
      resolve({ status: ServingStatus.NOT_SERVING })
      reject(new Error(CANARY))
      return promise
    }
    expect(await client.health.check({})).toEqual(OK)
  })

  test('that fails after its deadline was answered does no harm', async () => {
    let fail: (error: Error) => void = () => undefined
    unary = () => new Promise((_, reject) => (fail = reject))
    expect(await failureOf(client.health.check({}, { deadlineMs: 100 }))).toHaveProperty('name')
    fail(new Error(CANARY))
  })

  test('that fails after its caller went away does no harm', async () => {
    const leaving = new AbortController()
    let fail: ((error: Error) => void) | undefined
    unary = () => new Promise((_, reject) => (fail = reject))
    const call = failureOf(client.health.check({}, { signal: leaving.signal }))
    await until(() => fail !== undefined)
    leaving.abort()
    await call
    fail?.(new Error(CANARY))
  })

  test('whose stream fails where its caller left it does no harm', async () => {
    let isClosed = false
    stream = async function* () {
      try {
        for (;;) {
          yield OK
          await nextTurn()
        }
      } finally {
        isClosed = true
        raise(new Error(CANARY))
      }
    }
    const watching = client.health.watch({})[Symbol.asyncIterator]()
    await watching.next()
    await watching.return?.()
    await until(() => isClosed)
  })

  test('that returns no stream is answered for', async () => {
    stream = () => undefined as unknown as ReturnType<Stream>
    expect(await failureOf(readAll())).toMatchObject(OURS)
  })

  test('that returns no answer is answered for', async () => {
    unary = async () => undefined as unknown as Awaited<ReturnType<Unary>>
    expect(await failureOf(client.health.check({}))).toMatchObject(OURS)
  })

  test('that refuses in words that no header can carry is answered for', async () => {
    unary = () => {
      throw new DomainError('RATE_LIMITED', '\ud800\r\nx-evil: 1', {
        metadata: { class: '\udfff' },
        retryAfterMs: Number.NaN,
      })
    }
    expect(await failureOf(client.health.check({}))).toMatchObject({ reason: 'RATE_LIMITED', retryAfterMs: 1_000 })
  })
})
