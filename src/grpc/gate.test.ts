// What the gate answers by itself, over real connections.

import { once } from 'node:events'
import http2 from 'node:http2'
import { afterEach, expect, test } from '@jest/globals'
import { Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js'
import { createLogger, createRegistry } from '../telemetry.ts'
import { readDetails } from './detail.ts'
import { gateStreams } from './gate.ts'
import { CatalogServiceService } from './gen/holdfast/v1/catalog.ts'
import { createObserver } from './observe.ts'
import { createAddressSet, createPeerOf } from './peer.ts'

const PATH = CatalogServiceService.getProduct.path
const CALLS = 200
const cleanUps: (() => void)[] = []
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) cleanUp()
})

type Shed = { code: string; reason: string; retryAfterMs: number | undefined; requestId: string }

async function shedCall(session: http2.ClientHttp2Session): Promise<Shed> {
  const stream = session.request({
    ...{ ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc', 'x-request-id': 'mine' },
  })
  stream.resume().end()
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  const { 'grpc-status': code, 'x-request-id': requestId, ...rest } = headers
  const { reason, retryAfterMs } = readDetails(Metadata.fromHttp2Headers(rest))
  return { code: status[Number(code)] ?? '', reason, retryAfterMs, requestId: String(requestId) }
}

test('calls that are shed get a full answer, are counted, and never reach the library', async () => {
  let reached = 0
  const server = new Server()
  server.addService(CatalogServiceService, {
    getProduct: () => (reached += 1),
    listProducts: () => (reached += 1),
  })
  const lines: string[] = []
  const registry = createRegistry('api')
  const observer = createObserver({
    logger: createLogger({ process: 'api', level: 'info', destination: { write: (line) => void lines.push(line) } }),
    registry,
    peerHashOf: () => '',
    peerOf: createPeerOf(createAddressSet([])),
    hashRequest: () => Buffer.alloc(32),
  })
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  )
  gateStreams(
    server,
    observer,
    () => true,
    () => true,
  )
  cleanUps.push(() => server.forceShutdown())
  const session = http2.connect(`http://127.0.0.1:${port}`)
  cleanUps.push(() => session.destroy())

  const answers = await Promise.all(Array.from({ length: CALLS }, () => shedCall(session)))
  for (const answer of answers)
    expect(answer).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'OVERLOADED', retryAfterMs: expect.any(Number) })
  expect(answers.every(({ requestId }) => requestId !== 'mine')).toBe(true)
  expect(new Set(answers.map(({ requestId }) => requestId)).size).toBeLessThan(CALLS)
  expect(reached).toBe(0)
  expect(lines.length).toBeLessThan(5)
  expect(await registry.metrics()).toMatch(
    new RegExp(`grpc_server_handled_total\\{[^}]*grpc_code="RESOURCE_EXHAUSTED"[^}]*\\} ${CALLS}`),
  )
})
