// Environment -> one typed frozen object per process. The only reader of process.env. A process refuses to start
// on a missing or unsafe value, naming the variable and what to do; secrets come from files.

import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { ASSET_POLICY, ASSETS, type Asset, type AssetPolicy } from './domain/payment.ts'
import { parseFiat } from './domain/money.ts'

/** Thrown at start only; the message is for the operator and names no secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const port = z.coerce.number().int().min(0).max(65_535)
const durationMs = z.coerce.number().int().min(1)
const mode = z.enum(['production', 'development']).default('production')
const logLevel = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info')

const base = {
  HOLDFAST_MODE: mode,
  HOLDFAST_LOG_LEVEL: logLevel,
  HOLDFAST_BIND: z.string().min(1).default('127.0.0.1'),
}
const database = {
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }),
  DATABASE_POOL: z.coerce.number().int().min(1).max(20).default(10),
}
const temporal = {
  TEMPORAL_ADDRESS: z.string().min(1).default('127.0.0.1:7233'),
  TEMPORAL_NAMESPACE: z.string().min(1).default('holdfast'),
}
/** One optional variable per asset, such as HOLDFAST_ETH_GRACE_MS. */
const perAsset = <Suffix extends string, Type extends z.ZodType>(suffix: Suffix, type: Type) =>
  Object.fromEntries(ASSETS.map((asset) => [`HOLDFAST_${asset}_${suffix}`, type.optional()])) as Record<
    `HOLDFAST_${Asset}_${Suffix}`,
    z.ZodOptional<Type>
  >

const API = z.object({
  ...base,
  ...database,
  ...temporal,
  ...perAsset('GRACE_MS', durationMs),
  ...perAsset('CONFIRM_WITHIN_MS', durationMs),
  ...perAsset('RATE', z.string()),
  HOLDFAST_GRPC_PORT: port.default(7070),
  HOLDFAST_ADMIN_PORT: port.default(7071),
  HOLDFAST_METRICS_PORT: port.default(9464),
  HOLDFAST_METRICS_BIND: z.string().min(1).default('127.0.0.1'),
  HOLDFAST_JWT_SECRETS_FILE: z.string().min(1),
  HOLDFAST_JWT_ISSUER: z.string().min(1).default('holdfast'),
  HOLDFAST_JWT_AUDIENCE: z.string().min(1).default('holdfast'),
  HOLDFAST_PII_KEYRING_FILE: z.string().min(1),
  HOLDFAST_ORDER_ID_SECRET_FILE: z.string().min(1),
  HOLDFAST_SOURCES_FILE: z.string().min(1),
  HOLDFAST_CURRENCY: z.enum(['EUR', 'USD']).default('EUR'),
  HOLDFAST_PAYMENT_WINDOW_MS: durationMs.default(15 * 60_000),
  HOLDFAST_ADDRESS_BLOCK: z.coerce.number().int().min(1).max(1_024).default(256),
  HOLDFAST_START_BACKLOG_LIMIT: z.coerce.number().int().min(1).default(100_000),
  HOLDFAST_ENABLED_ASSETS: z.string().default('ETH'),
})

const WORKER = z.object({
  ...base,
  ...database,
  ...temporal,
  HOLDFAST_METRICS_PORT: port.default(9466),
  HOLDFAST_SDK_METRICS_PORT: port.default(9467),
  HOLDFAST_METRICS_BIND: z.string().min(1).default('127.0.0.1'),
  HOLDFAST_BUILD_ID: z.string().min(1).max(63).default('development'),
  HOLDFAST_WORKFLOW_BUNDLE: z.string().min(1).optional(),
  HOLDFAST_MAX_CACHED_WORKFLOWS: z.coerce.number().int().min(0).optional(),
})

const KEYS = z.object({
  ...base,
  ...database,
  HOLDFAST_METRICS_PORT: port.default(9468),
  HOLDFAST_METRICS_BIND: z.string().min(1).default('127.0.0.1'),
  HOLDFAST_KEY_KEYRING_FILE: z.string().min(1),
  HOLDFAST_ENABLED_ASSETS: z.string().default('ETH'),
  HOLDFAST_KEYS_PER_DERIVATION: z.coerce.number().int().min(1).max(1_000).default(256),
  HOLDFAST_PBKDF2_ITERATIONS: z.coerce.number().int().min(100_000).default(210_000),
  HOLDFAST_POOL_TARGET: z.coerce.number().int().min(1).max(1_000_000).default(2_048),
})

const WATCHER = z.object({
  ...base,
  ...database,
  HOLDFAST_METRICS_PORT: port.default(9470),
  HOLDFAST_METRICS_BIND: z.string().min(1).default('127.0.0.1'),
  HOLDFAST_API_ADDRESS: z.string().min(1).default('127.0.0.1:7070'),
  HOLDFAST_SOURCE: z
    .string()
    .regex(/^[a-z0-9-]{1,63}$/)
    .default('watcher-1'),
  HOLDFAST_SOURCE_SECRET_FILE: z.string().min(1),
  HOLDFAST_WATCHER_TOKEN_FILE: z.string().min(1),
  HOLDFAST_ETH_RPC_URL: z.url(),
  HOLDFAST_ETH_NETWORK: z.string().min(1).max(32).default('ethereum'),
  HOLDFAST_ETH_CONFIRMATIONS: z.coerce
    .number()
    .int()
    .min(ASSET_POLICY.ETH.confirmations)
    .default(ASSET_POLICY.ETH.confirmations),
  HOLDFAST_POLL_MS: durationMs.default(1_000),
  HOLDFAST_MAX_TIP_AGE_MS: durationMs.default(120_000),
})

const MIGRATE = z.object({ ...base, DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }) })

const SCHEMAS = { api: API, worker: WORKER, keys: KEYS, watcher: WATCHER, migrate: MIGRATE } as const
export type ProcessName = keyof typeof SCHEMAS
export type Config<P extends ProcessName> = Readonly<z.output<(typeof SCHEMAS)[P]>>

/** Reads and checks the configuration of one process. Throws ConfigError with one line per problem. */
export function loadConfig<P extends ProcessName>(process_: P, env: NodeJS.ProcessEnv = process.env): Config<P> {
  const result = SCHEMAS[process_].safeParse(env)
  if (!result.success) {
    const lines = result.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`)
    throw new ConfigError(`${process_} cannot start; set these variables:\n${lines.join('\n')}`)
  }
  refuseUnsafe(result.data.HOLDFAST_MODE, env)
  return Object.freeze(result.data) as Config<P>
}

/** grpc-js prints received headers, tokens included, when these are set. */
function refuseUnsafe(runMode: 'production' | 'development', env: NodeJS.ProcessEnv): void {
  for (const name of ['GRPC_TRACE', 'GRPC_NODE_TRACE', 'GRPC_NODE_DEBUG_SEND_ERROR_DETAILS']) {
    if (runMode === 'production' && env[name]) throw new ConfigError(`${name} prints tokens: unset it in production`)
  }
}

/** A secret from a file, without its trailing newline. Throws ConfigError naming the variable, never the content. */
export function readSecretFile(variable: string, path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw new ConfigError(`${variable}: cannot read the file it names`, { cause })
  }
}

/** Asset rules with the configuration's overrides. */
export function assetPolicyOf(config: Config<'api'>, asset: Asset): AssetPolicy {
  const policy = ASSET_POLICY[asset]
  return {
    ...policy,
    graceMs: config[`HOLDFAST_${asset}_GRACE_MS`] ?? policy.graceMs,
    confirmWithinMs: config[`HOLDFAST_${asset}_CONFIRM_WITHIN_MS`] ?? policy.confirmWithinMs,
  }
}

/** Fixed prices per coin in minor units, from HOLDFAST_<ASSET>_RATE; assets without one are absent. */
export function staticRatesOf(config: Config<'api'>): ReadonlyMap<Asset, bigint> {
  const table = new Map<Asset, bigint>()
  for (const asset of ASSETS) {
    const text = config[`HOLDFAST_${asset}_RATE`]
    if (text === undefined) continue
    const minor = parseFiat(text)
    if (minor === undefined || minor === 0n)
      throw new ConfigError(`HOLDFAST_${asset}_RATE must be a positive price with at most two decimals`)
    table.set(asset, minor)
  }
  return table
}

/** The assets a process serves, from a comma-separated list. */
export function enabledAssetsOf(list: string): readonly Asset[] {
  return list.split(',').map((word) => {
    const asset = ASSETS.find((known) => known === word.trim())
    if (asset === undefined) throw new ConfigError(`HOLDFAST_ENABLED_ASSETS: unknown asset ${word.trim()}`)
    return asset
  })
}
