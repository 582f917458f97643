// Answers that cannot be written: the caller gets our words and an incident id, the log gets the cause.

import { Server, ServerCredentials } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { CALL_WITHIN_MS } from '../../test/support/until.ts'
import { createLogger, createRegistry } from '../telemetry.ts'
import { createClient, ServingStatus, type HoldfastClient } from './client.ts'
import { addService, MAX_RESPONSE_BYTES } from './handle.ts'
import { PUBLIC_SERVICES } from './method.ts'
import { createObserver } from './observe.ts'

const LIBRARY_TEXT = 'Cannot convert NaN to a BigInt'
const OURS = { reason: 'INTERNAL', message: 'Something went wrong on our side.' }

let server: Server
let client: HoldfastClient
const lines: string[] = []

/** As ts-proto fails on what it cannot write. */
const unwritable = {
  get status(): ServingStatus {
    throw new RangeError(LIBRARY_TEXT)
  },
}

beforeAll(async () => {
  const logger = createLogger({
    process: 'api',
    level: 'debug',
    destination: { write: (line: string) => void lines.push(line) },
  })
  const peers = { peerHashOf: () => '', peerOf: () => ({ address: '', isKnown: true }) }
  const deps = { logger, registry: createRegistry('api'), hashRequest: () => Buffer.of(), ...peers }
  const { interceptor } = createObserver(deps)
  server = new Server({ interceptors: [interceptor], 'grpc.max_send_message_length': MAX_RESPONSE_BYTES })
  const handlers = {
    check: async () => unwritable,
    list: async () => ({
      statuses: { ['x'.repeat(MAX_RESPONSE_BYTES)]: { status: ServingStatus.SERVING } },
    }),
    watch: async function* () {
      yield { status: ServingStatus.SERVING }
      yield unwritable
    },
  }
  addService(server, PUBLIC_SERVICES.health, handlers, new AbortController().signal)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  client = createClient({ deadlineMs: CALL_WITHIN_MS, address: `127.0.0.1:${port}`, token: () => '' })
})
afterAll(() => {
  client.close()
  server.forceShutdown()
})

async function readAll(): Promise<ServingStatus[]> {
  const read: ServingStatus[] = []
  for await (const { status } of client.health.watch({})) read.push(status)
  return read
}

describe.each([
  ['an answer with a value that cannot be written', () => client.health.check({}), 'RangeError'],
  ['an answer that is larger than any may be', () => client.health.list({}), 'serialize'],
  ['a stream whose second message cannot be written', readAll, 'RangeError'],
] as const)('%s', (_, call, name) => {
  test('is INTERNAL with an incident id, without a word of a library, and the log tells where it was', async () => {
    lines.length = 0
    const error: unknown = await call().catch((reason: unknown) => reason)
    expect(error).toMatchObject({ ...OURS, metadata: { incident_id: expect.any(String) } })
    const { metadata } = error as { metadata: { incident_id: string } }
    const line = lines.find((text) => text.includes(metadata.incident_id)) ?? ''
    expect(line).toContain(name)
  })
})
