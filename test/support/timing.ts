// What `npm run test:timing` measures: pairs of calls whose answers are the same, and whose times must be too, since
// the difference would tell what the answer does not. Each pair is measured interleaved, in random order.

import { randomBytes, randomUUID } from 'node:crypto'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { DomainError } from '../../src/domain/failure.ts'
import { readDetails } from '../../src/grpc/detail.ts'
import { OrderServiceService } from '../../src/grpc/gen/holdfast/v1/order.ts'
import { createReportVerifier, loadSources, signReport } from '../../src/keyvault/signature.ts'
import { createTokenVerifier, loadTokenSecrets, signDevelopmentToken } from '../../src/keyvault/token.ts'
import { buildLine, putOrder, putProduct } from './builder.ts'
import { createTestDatabase } from './database.ts'
import { createTestFront, customer } from './front.ts'

/** Calls before the first that counts: compilation, caches, the connection. */
const WARM_UP = 500
/** Orders of each kind, so that not one row is measured. */
const ORDERS = 50
const REPORT_BYTES = 300
/** The token of a test front lives for minutes: so many calls take seconds. */
const TOKEN_EVERY = 5_000

/** Both resolve to the reason of their refusal. */
type Pair = {
  first: () => Promise<string>
  second: () => Promise<string>
  /** Before each call, outside of its time. */
  prepare?: () => Promise<void>
  close?: () => Promise<void>
}
export type TimingCase = { name: string; expected: string; open: () => Promise<Pair> }

export const TIMING_CASES: readonly TimingCase[] = [
  {
    name: 'GetOrder: foreign, missing',
    expected: 'PERMISSION_DENIED',
    open: () =>
      openOrders(OrderServiceService.getOrder.path, (orderId) =>
        OrderServiceService.getOrder.requestSerialize({ orderId, includeShippingAddress: false }),
      ),
  },
  {
    name: 'CancelOrder: foreign, missing',
    expected: 'PERMISSION_DENIED',
    open: () =>
      openOrders(OrderServiceService.cancelOrder.path, (orderId) =>
        OrderServiceService.cancelOrder.requestSerialize({
          idempotencyKey: randomUUID(),
          orderId,
          expectedVersion: undefined,
        }),
      ),
  },
  { name: 'report signature: wrong in its first byte, in its last', expected: 'SIGNATURE_INVALID', open: openReports },
  { name: 'token signature: wrong in its first byte, in its last', expected: 'CREDENTIALS_INVALID', open: openTokens },
]

/**
 * Measures `samples` calls of each kind.
 * @param random numbers in [0, 1), which decide the order
 * @returns microseconds
 */
export async function measureTimings(
  { name, expected, open }: TimingCase,
  samples: number,
  random: () => number,
): Promise<{ first: number[]; second: number[] }> {
  const pair = await open()
  const times = { first: [] as number[], second: [] as number[] }
  try {
    for (let at = 0; at < 2 * (samples + WARM_UP); at += 1) {
      const kind = chooseKind(times, samples + WARM_UP, random)
      await pair.prepare?.()
      const startedAt = performance.now()
      const reason = await pair[kind]()
      times[kind].push((performance.now() - startedAt) * 1_000)
      if (reason !== expected) throw new Error(`${name}: ${kind} ended with ${reason}`)
    }
  } finally {
    await pair.close?.()
  }
  return { first: times.first.slice(WARM_UP), second: times.second.slice(WARM_UP) }
}

/** At random, until one kind has all its samples. */
function chooseKind(
  { first, second }: { first: readonly number[]; second: readonly number[] },
  each: number,
  random: () => number,
): 'first' | 'second' {
  if (first.length === each) return 'second'
  if (second.length === each) return 'first'
  return random() < 0.5 ? 'first' : 'second'
}

const same = (bytes: Buffer): Buffer => bytes

/** Calls over a front with a database, about orders of another customer and about orders that do not exist. */
async function openOrders(path: string, bodyOf: (orderId: string) => Buffer): Promise<Pair> {
  const database = await createTestDatabase()
  const front = await createTestFront(database)
  const { productId } = await putProduct(database, { onHand: 10_000n })
  const foreign: string[] = []
  for (let at = 0; at < ORDERS; at += 1) {
    const order = await putOrder(database, { userId: 8n, lines: [buildLine({ productId })] })
    foreign.push(order.orderId)
  }
  const missing = Array.from({ length: ORDERS }, () => randomUUID())
  const client = new Client(front.address, credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 })
  let calls = 0
  let metadata = new Metadata()
  const call = (ids: readonly string[]): Promise<string> => {
    const body = bodyOf(ids[calls % ORDERS] ?? '')
    return new Promise((resolve) => {
      client.makeUnaryRequest(path, same, same, body, metadata, (error) =>
        resolve(error === null ? 'OK' : readDetails(error.metadata).reason),
      )
    })
  }
  return {
    prepare: async () => {
      if (calls % TOKEN_EVERY === 0) {
        metadata = new Metadata()
        metadata.set('authorization', `Bearer ${await front.tokenOf(customer(7))}`)
      }
      calls += 1
    },
    first: () => call(foreign),
    second: () => call(missing),
    close: async () => {
      client.close()
      await front.stop()
      await database.drop()
    },
  }
}

/** The text with another character at a place. */
const spoiled = (text: string, at: number): string =>
  `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`

async function openReports(): Promise<Pair> {
  const secret = randomBytes(32)
  const source = { name: 'watcher-1', algorithm: 'sha256', secrets: [secret.toString('base64')] }
  const verify = createReportVerifier({ sources: loadSources(JSON.stringify({ sources: [source] }), 'development') })
  const report = randomBytes(REPORT_BYTES)
  const signed = { id: randomUUID(), timestampS: BigInt(Math.floor(Date.now() / 1_000)), report }
  const signature = signReport({ ...signed, secret, algorithm: 'sha256' })
  const check = (text: string) => () =>
    refusalOf(async () => verify({ ...signed, source: source.name, signatures: [text] }))
  return {
    first: check(spoiled(signature, signature.indexOf(',') + 1)),
    second: check(spoiled(signature, signature.length - 3)),
  }
}

async function openTokens(): Promise<Pair> {
  const keys = [{ kid: 'test', secret: randomBytes(32).toString('base64') }]
  const secrets = loadTokenSecrets(JSON.stringify({ keys }), 'development')
  const issuer = { issuer: 'holdfast-test', audience: 'holdfast-test' }
  const verify = createTokenVerifier({ secrets, ...issuer })
  const token = await signDevelopmentToken({ secrets, ...issuer, roles: ['customer'], subject: '7' })
  const check = (text: string) => () => refusalOf(() => verify(text))
  return {
    first: check(spoiled(token, token.lastIndexOf('.') + 1)),
    // The last character has one spelling per byte only: the one before it belongs to the last byte too.
    second: check(spoiled(token, token.length - 2)),
  }
}

async function refusalOf(check: () => Promise<unknown>): Promise<string> {
  try {
    await check()
    return 'OK'
  } catch (error) {
    return error instanceof DomainError ? error.reason : String(error)
  }
}
