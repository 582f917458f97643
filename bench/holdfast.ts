// Our own processes, run as `npm start` does, on a benchmark's database and namespace.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Role } from '../src/domain/access.ts'
import { loadTokenSecrets, signDevelopmentToken } from '../src/keyvault/token.ts'
import type { Child } from '../src/servers/child.ts'
import { startProcess } from '../src/servers/process.ts'
import { addressOf, choosePorts, specsOf } from '../src/servers/wiring.ts'
import type { BenchDatabase, BenchServers } from './servers.ts'

const ISSUER = { issuer: 'holdfast', audience: 'holdfast' }

export const PRODUCTS = 1_000
const PRICE = '12.50'
/** More than any run can sell. */
const ON_HAND = 1_000_000_000
export const productId = (number: number): string => `sku-${number}`
export const products = Array.from({ length: PRODUCTS }, (_, number) => ({ id: productId(number), price: PRICE }))

export type Holdfast = {
  /** host:port of the public gRPC port. */
  address: string
  /** By process name. */
  pids: Readonly<Record<string, number>>
  stop: () => Promise<void>
}

export type HoldfastOptions = {
  servers: BenchServers
  database: BenchDatabase
  namespace: string
  dataDir: string
  processes: readonly ('api' | 'worker' | 'keys')[]
  settings?: Readonly<Record<string, string>>
}

export async function startHoldfast(options: HoldfastOptions): Promise<Holdfast> {
  const { servers, database, dataDir } = options
  const ports = await choosePorts({ apis: 1, workers: 1 })
  const specs = specsOf({
    ports,
    secrets: servers.secrets,
    auditFile: join(dataDir, 'checkpoints.jsonl'),
    databaseUrlOf: database.urlOf,
    temporalAddress: servers.temporalAddress,
    chainUrl: undefined,
    settings: { TEMPORAL_NAMESPACE: options.namespace, ...options.settings },
  }).filter(({ name }) => options.processes.some((wanted) => wanted === name))
  const children: Child[] = []
  const stop = async (): Promise<void> => void (await Promise.all(children.map((child) => child.stop())))
  const launched = await Promise.allSettled(
    specs.map(async (spec) => {
      const logFile = join(dataDir, 'log', `${database.name}-${spec.name}.log`)
      const child = await startProcess(spec, { logFile, nodeArgs: process.execArgv })
      children.push(child)
    }),
  )
  for (const result of launched) {
    if (result.status === 'fulfilled') continue
    await stop()
    throw result.reason
  }
  return {
    address: addressOf(ports.apis[0]?.grpc ?? 0),
    pids: Object.fromEntries(children.map(({ name, pid }) => [name, pid])),
    stop,
  }
}

/** Stands in for a watcher that is always at the chain's tip: without one, no order is accepted. */
export const putChain = (database: BenchDatabase): Promise<unknown> =>
  database.query(
    `insert into chain_status (network, start_height, settled_height, scanned_height, tip_height, tip_asked_at, caught_up_at)
     select 'ethereum', 1, 1, 1, 1, t, clock_timestamp() from (select clock_timestamp() + interval '1 day' as t) later`,
  )

/** Fills the catalogue and the stock. */
export const putProducts = (database: BenchDatabase): Promise<unknown> =>
  database.query(
    `with added as (
       insert into product (product_id, name, unit_price, currency)
       select 'sku-' || n, 'Product ' || n, ${PRICE}, 'EUR' from generate_series(0, ${PRODUCTS - 1}) n
     ), counted as (
       insert into stock (product_id, on_hand) select 'sku-' || n, ${ON_HAND} from generate_series(0, ${PRODUCTS - 1}) n
     )
     insert into stock_movement (product_id, kind, on_hand_delta, reserved_delta, actor)
     select 'sku-' || n, 'adjust', ${ON_HAND}, 0, 'bench' from generate_series(0, ${PRODUCTS - 1}) n`,
  )

/** Resolves once the keys process has no backlog. */
export async function untilPoolIsFull(database: BenchDatabase, target: number): Promise<void> {
  const free = async (): Promise<number> => {
    const [row] = await database.query<{ free: number }>(
      'select count(*)::int as free from address_pool where leased_at is null',
    )
    return row?.free ?? 0
  }
  while ((await free()) < target) await sleep(200)
}

/** An access token that is valid for longer than a slot. */
export async function mintToken(servers: BenchServers, role: Role, subject: string): Promise<string> {
  const secrets = loadTokenSecrets(await readFile(servers.secrets.jwt, 'utf8'), 'development')
  return signDevelopmentToken({ secrets, ...ISSUER, roles: [role], subject })
}
