import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { putAddresses } from '../../test/support/address.ts'
import { figureOf, type Measurement, type Round, type System } from '../benchmark.ts'
import { mintToken, products, putProducts, startHoldfast } from '../holdfast.ts'
import { programAt } from '../program.ts'
import type { BenchDatabase } from '../servers.ts'
import { percentile } from '../statistics.ts'
import { LINES_PER_ORDER, type Scene } from './scene.ts'

const run = promisify(execFile)

const PROTOSET = fileURLToPath(new URL('../../proto/holdfast.binpb', import.meta.url))
const CALL = 'holdfast.v1.OrderService.CreateOrder'
const USER = 1
/** Calls in flight. */
const LEVELS = [1, 16, 64] as const
const MAX_CONNECTIONS = 4
/** All levels together take about as long as another system's slot. */
const MIN_LEVEL_S = 2
const WARM_UP_S = 3
/** More than this machine could use up: an order without an address would be an error. */
const ADDRESSES_PER_S = 2_000
const ADDRESS_BATCH = 1_000
const MAX_OUTPUT_BYTES = 256 * 1024 * 1024
/** A backlog no worker drains, since none runs. */
const NO_LIMIT = 1_000_000_000

const rateAt = (level: number): string => `orders/s, ${level} in flight`

/** The best of the levels. */
export const acceptRateOf = (round: Round): number =>
  Math.max(...LEVELS.map((level) => figureOf(round, 'accept', rateAt(level))))

/** The way in, alone: orders are accepted for good while no worker runs. */
export function createAccept({ servers, dataDir, seconds, isSmoke }: Scene): System {
  const levelS = Math.max(MIN_LEVEL_S, Math.round(seconds / LEVELS.length))
  const warmUpS = isSmoke ? 1 : WARM_UP_S
  return {
    name: 'accept',
    about: 'Accept path alone: CreateOrder through gRPC from ghz, committed and answered; no worker runs.',
    measure: async () => {
      // Its backlog must be nobody's: a new database each time.
      const database = await servers.createDatabase('bench_accept')
      await putProducts(database)
      await fillPool(database, (warmUpS + LEVELS.length * levelS) * ADDRESSES_PER_S)
      const settings = { HOLDFAST_START_BACKLOG_LIMIT: String(NO_LIMIT) }
      const api = await startHoldfast({
        servers,
        database,
        namespace: 'none',
        dataDir,
        processes: ['api'],
        settings,
      })
      try {
        const token = await mintToken(servers, 'customer', String(USER))
        await callFor(api.address, token, Math.max(...LEVELS), warmUpS)
        const figures: Record<string, number> = {}
        const messages: string[] = []
        let errors = 0
        for (const level of LEVELS) {
          const report = await callFor(api.address, token, level, levelS)
          const latencies = report.details.map(({ latency }) => latency / 1e6)
          figures[rateAt(level)] = report.rps
          figures[`create ms, p50, ${level} in flight`] = percentile(latencies, 0.5)
          figures[`create ms, p99, ${level} in flight`] = percentile(latencies, 0.99)
          errors += report.count - (report.statusCodeDistribution['OK'] ?? 0)
          messages.push(...Object.keys(report.errorDistribution ?? {}))
        }
        figures['orders/s'] = Math.max(...LEVELS.map((level) => figures[rateAt(level)] ?? 0))
        return { figures, errors, messages } satisfies Measurement
      } finally {
        await api.stop()
      }
    },
  }
}

/** What of ghz's report is read. Latencies are in nanoseconds. */
type Report = {
  count: number
  rps: number
  statusCodeDistribution: Record<string, number>
  errorDistribution: Record<string, number> | null
  details: { latency: number }[]
}

async function callFor(address: string, token: string, inFlight: number, seconds: number): Promise<Report> {
  const args = [
    ...['--insecure', '--protoset', PROTOSET, '--call', CALL],
    ...['--metadata', JSON.stringify({ authorization: `Bearer ${token}` }), '--data', dataTemplate()],
    ...['--concurrency', String(inFlight), '--connections', String(Math.min(inFlight, MAX_CONNECTIONS))],
    // Calls under way when the time is over are waited for: cut off, they would count as errors.
    ...['--duration', `${seconds}s`, '--duration-stop', 'wait', '--format', 'json'],
    address,
  ]
  const { stdout } = await run(programAt('HOLDFAST_GHZ'), args, { maxBuffer: MAX_OUTPUT_BYTES })
  return JSON.parse(stdout) as Report
}

/** Filled by ghz for each call: a new key, and lines from three parts of the catalogue. */
function dataTemplate(): string {
  const share = Math.floor(products.length / LINES_PER_ORDER)
  const lines = Array.from({ length: LINES_PER_ORDER }, (_, part) => ({
    productId: `sku-{{randomInt ${part * share} ${(part + 1) * share}}}`,
    quantity: 1,
    expectedUnitPrice: products[0]?.price,
  }))
  return JSON.stringify({
    idempotencyKey: '{{newUUID}}',
    userId: String(USER),
    lines,
    asset: 'ETH',
    shippingAddress: '1 Harbour Street, Sample Town',
  })
}

async function fillPool(database: BenchDatabase, count: number): Promise<void> {
  for (let made = 0; made < count; made += ADDRESS_BATCH) await putAddresses(database, ADDRESS_BATCH)
}
