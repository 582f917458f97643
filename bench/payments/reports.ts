// Reports that one api process stores per second, against commits of one row each on the same Postgres.

import { randomUUID } from 'node:crypto'
import pg from 'pg'
import type { Measurement, Options, System } from '../benchmark.ts'
import { putAddresses } from '../../test/support/address.ts'
import { putChain, putProducts, startHoldfast } from '../holdfast.ts'
import type { BenchDatabase, BenchServers } from '../servers.ts'
import { runLoad, type Loaded } from '../stock/load.ts'
import { RATE } from './processing.ts'
import { openBenchShop, type Awaiting } from './shop.ts'

const IN_FLIGHT = 16
const WARM_UP_S = 3
const SMOKE_WARM_UP_S = 1
const ORDERS = 1_000
const SMOKE_ORDERS = 100
const NO_LIMIT = 1_000_000_000
/** As in the tables that a report writes. */
const TABLE = 'create table if not exists bench_commit (id uuid primary key, body jsonb not null)'

/** Reports alone: no worker assesses them. Each is the next state of the only output of one of many orders. */
export const createReports = (servers: BenchServers, { dataDir, seconds, isSmoke }: Options): System => ({
  name: 'reports',
  about: `ReportPayments, one observation each, signed and with a token, ${IN_FLIGHT} in flight, to one api; no worker runs.`,
  measure: async () => {
    const database = await servers.createDatabase('bench_reports')
    await putProducts(database)
    await putChain(database)
    const count = isSmoke ? SMOKE_ORDERS : ORDERS
    await putAddresses(database, count)
    const settings = { HOLDFAST_START_BACKLOG_LIMIT: String(NO_LIMIT) }
    const api = await startHoldfast({ servers, database, namespace: 'none', dataDir, processes: ['api'], settings })
    const shop = await openBenchShop({ servers, database, address: api.address })
    try {
      const orders = await shop.createOrders(count)
      const loaded = await runLoad(loadOf(seconds, isSmoke), () => shop.report(nextOf(orders)))
      return measurementOf(loaded)
    } finally {
      await shop.close()
      await api.stop()
    }
  },
})

/** The same number in flight, each on a connection of its own. */
export const createCommits = (database: BenchDatabase, { seconds, isSmoke }: Options): System => ({
  name: 'commits',
  about: `One row inserted and committed, ${IN_FLIGHT} in flight, without an api.`,
  measure: async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: IN_FLIGHT })
    try {
      await pool.query(TABLE)
      const insert = { name: 'bench_commit', text: 'insert into bench_commit (id, body) values ($1, $2)' }
      const body = JSON.stringify({ asset: 'ETH', state: 'final', amount: '1000000000000000000' })
      const put = (): Promise<unknown> => pool.query({ ...insert, values: [randomUUID(), body] })
      return measurementOf(await runLoad(loadOf(seconds, isSmoke), put))
    } finally {
      await pool.end()
    }
  },
})

const loadOf = (seconds: number, isSmoke: boolean) => ({
  inFlight: IN_FLIGHT,
  warmUpS: isSmoke ? SMOKE_WARM_UP_S : WARM_UP_S,
  seconds,
})

/** The next report of the next order: its output is final, or back in a block, by turns. */
function nextOf(orders: Awaiting[]): Awaiting['observation'] {
  const order = orders.shift()
  if (order === undefined) throw new Error('there is no order')
  const { observation } = order
  const seq = observation.seq + 1
  orders.push({ ...order, observation: { ...observation, seq, state: seq % 2 === 0 ? 'reorged' : 'final' } })
  return observation
}

const measurementOf = ({ rate, p50Ms, p99Ms, errors, messages }: Loaded): Measurement => ({
  figures: { [RATE]: rate, 'ms, p50': p50Ms, 'ms, p99': p99Ms },
  errors,
  messages,
})
