// One server of the front benchmarks: the full front, or grpc-js with a bare handler. Reads its configuration from
// stdin and prints its address; answers each further line with what it uses; ends when stdin closes.

import { createInterface } from 'node:readline'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { Database } from '../../src/db/connection/pool.ts'
import { CatalogServiceService, type GetProductResponse } from '../../src/grpc/gen/holdfast/v1/catalog.ts'
import { createLogger } from '../../src/telemetry.ts'
import { createTestFront, customer } from '../../test/support/front.ts'

export type ServerKind = 'bare' | 'full'
export type ServerConfig = { kind: ServerKind; databaseUrl: string }
export type ServerReady = { address: string; token: string }
export type ServerUsage = { cpuMs: number; rssBytes: number }

const BUYER = 1
const PRODUCT = {
  productId: 'sku-1',
  name: 'Lamp',
  unitPrice: '12.50',
  currency: 'EUR',
  isActive: true,
  version: 3n,
  updatedAt: new Date(1_700_000_000_000),
}
/** As its row arrives from Postgres. */
const ROW = { ...PRODUCT, version: '3', updatedAt: PRODUCT.updatedAt.toISOString() }
/** As much as one page holds: a call that costs the process more than its refusal does. */
const PAGE = Array.from({ length: 100 }, (_, index) => ({ ...ROW, productId: `sku-${index}` }))

/** The whole chain, with its log, but a catalogue in memory: what a query costs is not the front's. */
async function startFull(databaseUrl: string): Promise<ServerReady> {
  const catalogue = { sql: { maybeOne: async () => ROW, any: async () => PAGE } } as unknown as Database
  const logger = createLogger({ process: 'api', level: 'info' })
  const front = await createTestFront({ urlOf: () => databaseUrl }, { deps: { database: catalogue, logger } })
  return { address: front.address, token: await front.tokenOf(customer(BUYER)) }
}

async function startBare(): Promise<ServerReady> {
  const server = new Server()
  server.addService(CatalogServiceService, {
    getProduct: (_call: unknown, answer: (error: null, response: GetProductResponse) => void) =>
      answer(null, { product: PRODUCT }),
    listProducts: (_call: unknown, answer: (error: Error) => void) => answer(new Error('not measured')),
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  return { address: `127.0.0.1:${port}`, token: 'none' }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (what: ServerReady | ServerUsage): void => void process.stdout.write(`${JSON.stringify(what)}\n`)
const { kind, databaseUrl } = JSON.parse((await lines.next()).value ?? '{}') as ServerConfig
say(kind === 'full' ? await startFull(databaseUrl) : await startBare())
for (let line = await lines.next(); line.done !== true; line = await lines.next()) {
  const { user, system } = process.cpuUsage()
  say({ cpuMs: (user + system) / 1_000, rssBytes: process.memoryUsage.rss() })
}
process.exit(0)
