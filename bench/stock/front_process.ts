// The front process of a benchmark, with a configurable acceptor. It reads its configuration from stdin, prints its
// address, and ends when stdin closes.

import { createInterface } from 'node:readline'
import { openDatabase, type Database } from '../../src/db/connection/pool.ts'
import { POOLS } from '../../src/servers/wiring.ts'
import { createTestFront, customer } from '../../test/support/front.ts'
import { BUYER, type FrontConfig, type FrontReady } from './front.ts'
import { createBenchAcceptor } from './hot.ts'

const lines = createInterface({ input: process.stdin })
const ended = new Promise<void>((resolve) => lines.once('close', resolve))
const first = await new Promise<string>((resolve) => lines.once('line', resolve))
const { databaseUrl, combining, isIdle = false } = JSON.parse(first) as FrontConfig

const pool = { poolSize: POOLS.app_api, applicationName: 'bench', forceGenericPlan: true }
const database = await openDatabase({ url: databaseUrl, ...pool })
const idle = { ...database, sql: { any: async () => [] } } as unknown as Database
const acceptor = createBenchAcceptor(database, combining)
const front = await createTestFront(
  { urlOf: () => databaseUrl },
  { deps: { acceptor, ...(isIdle && { database: idle }) } },
)
const ready: FrontReady = { address: front.address, token: await front.tokenOf(customer(BUYER)) }
process.stdout.write(`${JSON.stringify(ready)}\n`)

await ended
await front.stop()
await database.close()
process.exit(0)
