// Ports and environment of each process of a stack: the only place that knows how the processes are wired to each
// other and to their servers.

import { fileURLToPath } from 'node:url'
import { freePorts } from './port.ts'
import type { SecretFiles } from './secret.ts'
import { TEMPORAL_PORTS } from './temporal.ts'

const HOST = '127.0.0.1'

/** The api's gRPC port. With another base, all other ports move with it. */
export const DEFAULT_PORT_BASE = 7_070
const DEFAULT_PORT = {
  admin: 7_071,
  pay: 7_072,
  temporal: 7_233, // and the eight after it
  postgres: 7_432,
  ui: 8_233,
  anvil: 8_545,
  apiMetrics: 9_464,
  workerMetrics: 9_466,
  workerSdk: 9_467,
  keysMetrics: 9_468,
  watcherMetrics: 9_470,
  sealerMetrics: 9_472,
  payerMetrics: 9_474,
} as const
const MAX_PORT = 65_535
const HIGHEST_PORT = Math.max(...Object.values(DEFAULT_PORT))
/** Below it, ports need rights. */
export const MIN_PORT_BASE = 1_024
/** The base with which the highest port of the stack is the highest there is. */
export const MAX_PORT_BASE = MAX_PORT - HIGHEST_PORT + DEFAULT_PORT_BASE
/** Temporal's UI in `npm start`. */
export const DEFAULT_UI_URL = `http://${HOST}:${DEFAULT_PORT.ui}`

export type ApiPorts = {
  readonly grpc: number
  readonly admin: number
  readonly pay: number
  readonly metrics: number
}
export type WorkerPorts = { readonly metrics: number; readonly sdk: number }
export type StackPorts = {
  readonly apis: readonly ApiPorts[]
  readonly workers: readonly WorkerPorts[]
  readonly keys: number
  readonly watcher: number
  readonly sealer: number
  readonly payer: number
  readonly postgres: number
  readonly temporal: readonly number[]
  readonly ui: number
  readonly anvil: number
}

export type StackShape = {
  /** Undefined: any free ports. */
  readonly portBase?: number | undefined
  readonly apis: number
  readonly workers: number
}

/** @throws {RangeError} when the base leaves no room below the highest port; {Error} when too few ports are free */
export async function choosePorts({ portBase, apis, workers }: StackShape): Promise<StackPorts> {
  const fixed = portBase === undefined ? undefined : shifted(portBase)
  const extra = (count: number): number => Math.max(0, count - (fixed === undefined ? 0 : 1))
  const single = fixed === undefined ? 7 + TEMPORAL_PORTS : 0
  const free = await freePorts(4 * extra(apis) + 2 * extra(workers) + single)
  const take = (): number => free.pop() ?? 0
  const more = <T>(count: number, make: () => T): T[] => Array.from({ length: extra(count) }, make)
  const moreApis = more(apis, () => ({ grpc: take(), admin: take(), pay: take(), metrics: take() }))
  const moreWorkers = more(workers, () => ({ metrics: take(), sdk: take() }))
  if (fixed !== undefined)
    return { ...fixed, apis: [...fixed.apis, ...moreApis], workers: [...fixed.workers, ...moreWorkers] }
  return {
    apis: moreApis,
    workers: moreWorkers,
    keys: take(),
    watcher: take(),
    sealer: take(),
    payer: take(),
    postgres: take(),
    ui: take(),
    anvil: take(),
    temporal: Array.from({ length: TEMPORAL_PORTS }, take),
  }
}

function shifted(portBase: number): StackPorts {
  const shift = portBase - DEFAULT_PORT_BASE
  if (portBase < MIN_PORT_BASE || portBase > MAX_PORT_BASE)
    throw new RangeError(`--port-base must be from ${MIN_PORT_BASE} to ${MAX_PORT_BASE}`)
  const at = (name: keyof typeof DEFAULT_PORT): number => DEFAULT_PORT[name] + shift
  return {
    apis: [{ grpc: portBase, admin: at('admin'), pay: at('pay'), metrics: at('apiMetrics') }],
    workers: [{ metrics: at('workerMetrics'), sdk: at('workerSdk') }],
    keys: at('keysMetrics'),
    watcher: at('watcherMetrics'),
    sealer: at('sealerMetrics'),
    payer: at('payerMetrics'),
    postgres: at('postgres'),
    ui: at('ui'),
    anvil: at('anvil'),
    temporal: Array.from({ length: TEMPORAL_PORTS }, (_, index) => at('temporal') + index),
  }
}

/** Every port and the part that needs it, to be checked before anything starts. */
export const portsInUse = (ports: StackPorts): { port: number; part: string }[] => [
  ...ports.apis.flatMap(({ grpc, admin, pay, metrics }) =>
    [grpc, admin, pay, metrics].map((port) => ({ port, part: 'the api' })),
  ),
  ...ports.workers.flatMap(({ metrics, sdk }) => [metrics, sdk].map((port) => ({ port, part: 'the worker' }))),
  { port: ports.keys, part: 'the keys process' },
  { port: ports.watcher, part: 'the watcher' },
  { port: ports.sealer, part: 'the sealer' },
  { port: ports.payer, part: 'the payer' },
  { port: ports.postgres, part: 'Postgres' },
  ...ports.temporal.map((port) => ({ port, part: 'Temporal' })),
  { port: ports.ui, part: "Temporal's UI" },
  { port: ports.anvil, part: 'anvil' },
]

export const addressOf = (port: number): string => `${HOST}:${port}`

/** The processes' roles in the database, and how many sessions each process's pool may open. */
export const POOLS = { app_api: 10, app_worker: 10, app_keys: 2, watcher: 4, audit_sealer: 2, auditor: 2 } as const
/** The payer has the worker's role. */
const PAYER_POOL = 2
export type ProcessRole = keyof typeof POOLS
export const PROCESS_ROLES = Object.keys(POOLS) as readonly ProcessRole[]
/** Sessions of a killed process may outlive it by a moment, while the next one opens its own. */
const POOL_SLACK = 2

/** How many sessions each role may have in a stack of this shape. */
export const connectionLimitsOf = ({ apis, workers }: StackShape): Readonly<Record<ProcessRole, number>> => ({
  app_api: POOLS.app_api * apis * POOL_SLACK,
  app_worker: (POOLS.app_worker * workers + PAYER_POOL) * POOL_SLACK,
  app_keys: POOLS.app_keys * POOL_SLACK,
  watcher: POOLS.watcher * POOL_SLACK,
  audit_sealer: POOLS.audit_sealer * POOL_SLACK,
  // Not a process: for `holdfast audit verify` and people who look.
  auditor: POOLS.auditor * POOL_SLACK,
})

export type Wiring = {
  readonly ports: StackPorts
  readonly secrets: SecretFiles
  /** Where the sealer writes its checkpoints. */
  readonly auditFile: string
  readonly databaseUrlOf: (role: ProcessRole) => string
  readonly temporalAddress: string
  readonly chainUrl: string | undefined
  /** Variables of the configuration table, for every process. Those that are wired here win. */
  readonly settings: Readonly<Record<string, string>>
}

export type ProcessSpec = {
  /** Its name in messages and log files, such as `api` or `api-2`. */
  readonly name: string
  readonly entry: string
  /** The port of /metrics and /readyz. */
  readonly metricsPort: number
  readonly env: Readonly<Record<string, string>>
}

/** Where the environment sets nothing else. There is no load balancer here that a drain would give time. */
const DEFAULT_SETTINGS = {
  HOLDFAST_ETH_RATE: '2500.00',
  HOLDFAST_DRAIN_MS: '0',
  // Load comes from one machine here, often as one user.
  HOLDFAST_LIMITS: '*=1000000/1000000/1000',
}
/** The watcher's name as a source of reports. */
export const WATCHER_SOURCE = 'watcher-1'

const entryOf = (process: string): string => fileURLToPath(new URL(`../main/${process}.ts`, import.meta.url))
const nameOf = (process: string, index: number): string => (index === 0 ? process : `${process}-${index + 1}`)

function commonEnv(wiring: Wiring, role: ProcessRole, metricsPort: number): Record<string, string> {
  return {
    ...DEFAULT_SETTINGS,
    ...wiring.settings,
    TZ: 'UTC',
    HOLDFAST_MODE: 'development',
    DATABASE_URL: wiring.databaseUrlOf(role),
    DATABASE_POOL: String(POOLS[role]),
    TEMPORAL_ADDRESS: wiring.temporalAddress,
    HOLDFAST_METRICS_PORT: String(metricsPort),
  }
}

/** Every process of the stack; the watcher and the payer only where there is a chain. */
export const specsOf = (wiring: Wiring): ProcessSpec[] => [
  keysSpec(wiring),
  sealerSpec(wiring),
  ...apiSpecs(wiring),
  ...workerSpecs(wiring),
  ...(wiring.chainUrl === undefined ? [] : [watcherSpec(wiring, wiring.chainUrl), payerSpec(wiring, wiring.chainUrl)]),
]

const apiSpecs = (wiring: Wiring): ProcessSpec[] =>
  wiring.ports.apis.map(({ grpc, admin, pay, metrics }, index) => ({
    name: nameOf('api', index),
    entry: entryOf('api'),
    metricsPort: metrics,
    env: {
      ...commonEnv(wiring, 'app_api', metrics),
      HOLDFAST_GRPC_PORT: String(grpc),
      HOLDFAST_ADMIN_PORT: String(admin),
      HOLDFAST_PAY_PORT: String(pay),
      HOLDFAST_PAY_URL: `http://${addressOf(pay)}`,
      HOLDFAST_PAY_SECRETS_FILE: wiring.secrets.payLinks,
      HOLDFAST_JWT_SECRETS_FILE: wiring.secrets.jwt,
      HOLDFAST_PII_KEYRING_FILE: wiring.secrets.piiRing,
      HOLDFAST_ORDER_ID_SECRET_FILE: wiring.secrets.orderId,
      HOLDFAST_SOURCES_FILE: wiring.secrets.sources,
      HOLDFAST_QUOTE_KEY_FILE: wiring.secrets.quoteKey,
      HOLDFAST_REFUND_KEY_FILE: wiring.secrets.refundKey,
    },
  }))

const workerSpecs = (wiring: Wiring): ProcessSpec[] =>
  wiring.ports.workers.map(({ metrics, sdk }, index) => ({
    name: nameOf('worker', index),
    entry: entryOf('worker'),
    metricsPort: metrics,
    env: { ...commonEnv(wiring, 'app_worker', metrics), HOLDFAST_SDK_METRICS_PORT: String(sdk) },
  }))

const keysSpec = (wiring: Wiring): ProcessSpec => ({
  name: 'keys',
  entry: entryOf('keys'),
  metricsPort: wiring.ports.keys,
  env: { ...commonEnv(wiring, 'app_keys', wiring.ports.keys), HOLDFAST_KEY_KEYRING_FILE: wiring.secrets.keyRing },
})

const sealerSpec = (wiring: Wiring): ProcessSpec => ({
  name: 'sealer',
  entry: entryOf('sealer'),
  metricsPort: wiring.ports.sealer,
  env: {
    ...commonEnv(wiring, 'audit_sealer', wiring.ports.sealer),
    HOLDFAST_SEAL_KEY_FILE: wiring.secrets.sealKey,
    HOLDFAST_SEAL_PUBLIC_KEYS_FILE: wiring.secrets.sealPublicKeys,
    HOLDFAST_AUDIT_FILE: wiring.auditFile,
  },
})

const watcherSpec = (wiring: Wiring, chainUrl: string): ProcessSpec => ({
  name: 'watcher',
  entry: entryOf('watcher'),
  metricsPort: wiring.ports.watcher,
  env: {
    ...commonEnv(wiring, 'watcher', wiring.ports.watcher),
    // All apis: a watcher must not wait for one that is down while others serve.
    HOLDFAST_API_ADDRESS: `ipv4:${wiring.ports.apis.map(({ grpc }) => addressOf(grpc)).join(',')}`,
    HOLDFAST_SOURCE: WATCHER_SOURCE,
    HOLDFAST_SOURCE_SECRET_FILE: wiring.secrets.sourceSecret,
    HOLDFAST_WATCHER_TOKEN_FILE: wiring.secrets.watcherToken,
    HOLDFAST_ETH_RPC_URL: chainUrl,
  },
})

const payerSpec = (wiring: Wiring, chainUrl: string): ProcessSpec => ({
  name: 'payer',
  entry: entryOf('payer'),
  metricsPort: wiring.ports.payer,
  env: {
    ...commonEnv(wiring, 'app_worker', wiring.ports.payer),
    DATABASE_POOL: String(PAYER_POOL),
    HOLDFAST_ETH_RPC_URL: chainUrl,
    HOLDFAST_PAYOUT_KEY_FILE: wiring.secrets.payoutKey,
    HOLDFAST_REFUND_PUBLIC_KEYS_FILE: wiring.secrets.refundPublicKeys,
  },
})
