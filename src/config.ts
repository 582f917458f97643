// Configuration: from environment variables to one typed frozen object per process. The only reader of process.env. A
// process refuses to start with a missing or unsafe value, and names the variable and what to do. Secrets come from
// files.

import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { ASSET_POLICY, ASSETS, type Asset, type AssetPolicy } from './domain/payment.ts'
import {
  BUILD_ID_PATTERN,
  BUILD_ID_RULE,
  MACHINE_PATTERN,
  MACHINE_RULE,
  NETWORK_PATTERN,
  NETWORK_RULE,
} from './domain/identifier.ts'
import { parseBudgets, type Budgets } from './domain/limit.ts'
import { parseFiat } from './domain/money.ts'

/** Thrown at start only; the message is for the operator and names no secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const port = z.coerce.number().int().min(0).max(65_535)
/** The longest JavaScript timer: a longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1
const DAY_MS = 86_400_000
/** A quote must not outlive the rate it was made with by months. */
const MAX_WINDOW_MS = 90 * DAY_MS
/** The database's own limits (invoice_grace_range, invoice_confirm_within_range). */
const MAX_GRACE_MS = 3_600_000
const MAX_CONFIRM_WITHIN_MS = 7 * DAY_MS
const durationMs = z.coerce.number().int().min(1).max(MAX_TIMER_MS)
const mode = z.enum(['production', 'development']).default('production')
const logLevel = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info')

const base = {
  HOLDFAST_MODE: mode,
  HOLDFAST_LOG_LEVEL: logLevel,
}
const databaseLogin = {
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }),
  /** The password of the URL, from a mounted secret file instead of the environment. */
  DATABASE_PASSWORD_FILE: z.string().min(1).optional(),
}
const database = {
  ...databaseLogin,
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

const network = z.string().regex(NETWORK_PATTERN, NETWORK_RULE)

/** An IPv4-mapped network is refused: mapped addresses are compared as IPv4, so it would match nothing. */
const cidr = z.union([z.cidrv4(), z.cidrv6().refine((text) => !/^::ffff:/i.test(text))])
const cidrList = z
  .string()
  .refine(
    (list) => cidrsOf(list).every((text) => cidr.safeParse(text).success),
    'must be networks in CIDR notation, separated by commas, such as 10.0.0.0/8,fd00::/8',
  )

/** The networks of a comma-separated list. */
export const cidrsOf = (list: string): readonly string[] =>
  list
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')

const LOOPBACK = ['127.0.0.0/8', '::1/128']

/** Who may reach the admin port: no caller, unless networks are given; in development, this machine. */
export const adminCidrsOf = ({ HOLDFAST_ADMIN_CIDRS: list, HOLDFAST_MODE }: Config<'api'>): readonly string[] =>
  list === undefined && HOLDFAST_MODE === 'development' ? LOOPBACK : cidrsOf(list ?? '')

const API = z.object({
  ...base,
  ...database,
  ...temporal,
  ...perAsset('GRACE_MS', durationMs.max(MAX_GRACE_MS)),
  ...perAsset('CONFIRM_WITHIN_MS', durationMs.max(MAX_CONFIRM_WITHIN_MS)),
  ...perAsset('MAX_LAG_MS', durationMs),
  ...perAsset('RATE', z.string()),
  ...perAsset('NETWORK', network),
  HOLDFAST_BIND: z.string().min(1).default('127.0.0.1'),
  HOLDFAST_GRPC_PORT: port.default(7070),
  HOLDFAST_ADMIN_BIND: z.string().min(1).default('127.0.0.1'),
  HOLDFAST_ADMIN_PORT: port.default(7071),
  HOLDFAST_ADMIN_CIDRS: cidrList.optional(),
  HOLDFAST_TRUSTED_PROXIES: cidrList
    .refine((list) => !cidrsOf(list).some((text) => text.endsWith('/0')), 'must not trust every address')
    .default(''),
  /** How long a load balancer needs to notice that the api is stopping. */
  HOLDFAST_DRAIN_MS: z.coerce.number().int().min(0).max(60_000).default(3_000),
  HOLDFAST_METRICS_PORT: port.default(9464),
  HOLDFAST_METRICS_BIND: z.string().min(1).default('127.0.0.1'),
  HOLDFAST_JWT_SECRETS_FILE: z.string().min(1).optional(),
  HOLDFAST_JWKS_URL: z.string().min(1).optional(),
  HOLDFAST_JWT_ALGORITHM: z.enum(['EdDSA', 'RS256']).default('EdDSA'),
  HOLDFAST_JWT_ISSUER: z.string().min(1).default('holdfast'),
  HOLDFAST_JWT_AUDIENCE: z.string().min(1).default('holdfast'),
  HOLDFAST_STEP_UP_TOTAL: z
    .string()
    .refine((text) => parseFiat(text) !== undefined, 'must be an amount, such as 1000.00')
    .default('1000.00'),
  HOLDFAST_CLIENT_SANS_FILE: z.string().min(1).optional(),
  HOLDFAST_PII_KEYRING_FILE: z.string().min(1),
  HOLDFAST_ORDER_ID_SECRET_FILE: z.string().min(1),
  HOLDFAST_SOURCES_FILE: z.string().min(1),
  HOLDFAST_CURRENCY: z.enum(['EUR', 'USD']).default('EUR'),
  HOLDFAST_PAYMENT_WINDOW_MS: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_WINDOW_MS)
    .default(15 * 60_000),
  HOLDFAST_ADDRESS_BLOCK: z.coerce.number().int().min(1).max(1_024).default(256),
  HOLDFAST_START_BACKLOG_LIMIT: z.coerce.number().int().min(1).max(1_000_000_000).default(100_000),
  HOLDFAST_ENABLED_ASSETS: z.string().default('ETH'),
  HOLDFAST_LIMITS: z
    .string()
    .default('')
    .refine((text) => parseBudgets(text) !== undefined, {
      error: 'must be CLASS=USER/ADDRESS/AT_ONCE,… with numbers from 1 to 1000000, such as order=60/600/32',
    }),
})

const WORKER = z.object({
  ...base,
  ...database,
  ...temporal,
  TEMPORAL_BACKGROUND_NAMESPACE: z.string().min(1).default('holdfast-background'),
  HOLDFAST_METRICS_PORT: port.default(9466),
  HOLDFAST_SDK_METRICS_PORT: port.default(9467),
  HOLDFAST_METRICS_BIND: z.string().min(1).default('127.0.0.1'),
  HOLDFAST_BUILD_ID: z.string().regex(BUILD_ID_PATTERN, BUILD_ID_RULE).default('development'),
  HOLDFAST_WORKFLOW_BUNDLE: z.string().min(1).optional(),
  HOLDFAST_MAX_CACHED_WORKFLOWS: z.coerce.number().int().min(0).max(1_000_000).optional(),
  HOLDFAST_WEBHOOK_URL: z.url().optional(),
  HOLDFAST_WEBHOOK_SECRET_FILE: z.string().min(1).optional(),
  HOLDFAST_WEBHOOK_PRIVATE: z.enum(['allow', 'refuse']).default('refuse'),
  HOLDFAST_CONSISTENCY_EVERY_MS: durationMs.default(3_600_000),
})

const KEYS = z.object({
  ...base,
  ...database,
  ...perAsset('NETWORK', network),
  DATABASE_POOL: z.coerce.number().int().min(1).max(2).default(2),
  HOLDFAST_METRICS_PORT: port.default(9468),
  HOLDFAST_METRICS_BIND: z.string().min(1).default('127.0.0.1'),
  HOLDFAST_KEY_KEYRING_FILE: z.string().min(1),
  HOLDFAST_ENABLED_ASSETS: z.string().default('ETH'),
  HOLDFAST_KEYS_PER_DERIVATION: z.coerce.number().int().min(1).max(1_000).default(256),
  HOLDFAST_PBKDF2_ITERATIONS: z.coerce.number().int().min(100_000).max(10_000_000).default(210_000),
  HOLDFAST_POOL_TARGET: z.coerce.number().int().min(1).max(1_000_000).default(2_048),
})

const MAX_CONFIRMATIONS = 500

const WATCHER = z.object({
  ...base,
  ...database,
  HOLDFAST_METRICS_PORT: port.default(9470),
  HOLDFAST_METRICS_BIND: z.string().min(1).default('127.0.0.1'),
  HOLDFAST_API_ADDRESS: z.string().min(1).default('127.0.0.1:7070'),
  HOLDFAST_SOURCE: z.string().regex(MACHINE_PATTERN, MACHINE_RULE).default('watcher-1'),
  HOLDFAST_SOURCE_SECRET_FILE: z.string().min(1),
  HOLDFAST_SOURCE_ALGORITHM: z.enum(['sha256', 'sha512']).default('sha256'),
  HOLDFAST_WATCHER_TOKEN_FILE: z.string().min(1),
  HOLDFAST_ETH_RPC_URL: z.url(),
  HOLDFAST_ETH_NETWORK: network.default('ethereum'),
  HOLDFAST_ETH_CHAIN_ID: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
  HOLDFAST_ETH_START: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  HOLDFAST_ETH_CONFIRMATIONS: z.coerce
    .number()
    .int()
    .min(ASSET_POLICY.ETH.confirmations)
    // The watcher keeps a thousand blocks: a transfer that needs more would never be final.
    .max(MAX_CONFIRMATIONS)
    .default(ASSET_POLICY.ETH.confirmations),
  HOLDFAST_POLL_MS: durationMs.default(1_000),
  HOLDFAST_MAX_TIP_AGE_MS: durationMs.default(120_000),
  HOLDFAST_MAX_BLOCK_AGE_MS: durationMs.optional(),
})

/** The unsealed window that docs/operations.md states. */
const MAX_SEAL_EVERY_MS = 5_000

const SEALER = z.object({
  ...base,
  ...databaseLogin,
  DATABASE_POOL: z.coerce.number().int().min(1).max(2).default(2),
  HOLDFAST_METRICS_PORT: port.default(9472),
  HOLDFAST_METRICS_BIND: z.string().min(1).default('127.0.0.1'),
  HOLDFAST_SEAL_KEY_FILE: z.string().min(1),
  HOLDFAST_SEAL_PUBLIC_KEYS_FILE: z.string().min(1),
  HOLDFAST_AUDIT_FILE: z.string().min(1),
  HOLDFAST_SEAL_EVERY_MS: durationMs.max(MAX_SEAL_EVERY_MS).default(2_000),
})

const MIGRATE = z.object({ ...base, ...databaseLogin })

/** For the starter of a development stack. tools/setup.mjs sets where the programs are. */
const STACK = z.object({
  HOLDFAST_MODE: z.literal('development', { error: 'this starts development stacks only' }).default('development'),
  DATABASE_URL: database.DATABASE_URL.optional(),
  TEMPORAL_ADDRESS: z.string().min(1).optional(),
  HOLDFAST_TEMPORAL_SERVER: z.string().min(1).optional(),
  HOLDFAST_TEMPORAL_SQL_TOOL: z.string().min(1).optional(),
  HOLDFAST_TEMPORAL_UI: z.string().min(1).optional(),
})

const CLI = z.object({
  HOLDFAST_MODE: mode,
  HOLDFAST_READY_FILE: z.string().min(1).optional(),
  HOLDFAST_API: z.string().min(1).optional(),
  HOLDFAST_ADMIN: z.string().min(1).optional(),
  HOLDFAST_TOKEN: z.string().min(1).optional(),
  DATABASE_URL: database.DATABASE_URL.optional(),
  DATABASE_PASSWORD_FILE: databaseLogin.DATABASE_PASSWORD_FILE,
  HOLDFAST_AUDIT_FILE: z.string().min(1).optional(),
  HOLDFAST_SEAL_PUBLIC_KEYS_FILE: z.string().min(1).optional(),
  TEMPORAL_ADDRESS: z.string().min(1).optional(),
  TEMPORAL_NAMESPACE: z.string().min(1).optional(),
})

const SCHEMAS = {
  api: API,
  worker: WORKER,
  keys: KEYS,
  watcher: WATCHER,
  sealer: SEALER,
  migrate: MIGRATE,
  stack: STACK,
  cli: CLI,
} as const
export type ProcessName = keyof typeof SCHEMAS
export type Config<P extends ProcessName> = Readonly<z.output<(typeof SCHEMAS)[P]>>

/** Reads and checks the configuration of one process. Throws ConfigError with one line per problem. */
export function loadConfig<P extends ProcessName>(process_: P, env: NodeJS.ProcessEnv = process.env): Config<P> {
  const result = SCHEMAS[process_].safeParse(env)
  if (!result.success) {
    const lines = result.error.issues.map((issue) => `  ${issue.path.join('.')}: ${problemOf(issue, env)}`)
    throw new ConfigError(
      `${process_} cannot start; correct these variables (docs/configuration.md has all):\n${lines.join('\n')}`,
    )
  }
  refuseUnsafe(result.data.HOLDFAST_MODE, env)
  return Object.freeze(withPassword(result.data)) as Config<P>
}

/** What is wrong with a variable, without its value. */
function problemOf(issue: z.core.$ZodIssue, env: NodeJS.ProcessEnv): string {
  if (env[issue.path.join('.')] === undefined && issue.code === 'invalid_type') return 'is not set'
  if (issue.code === 'invalid_type') return 'must be a number'
  if (issue.code === 'invalid_format' && issue.format === 'url')
    return 'must be a URL, such as postgres://ROLE@HOST/DATABASE or http://HOST:PORT'
  if (issue.code === 'too_small' && issue.origin === 'string') return 'must not be empty'
  if (issue.code === 'too_small') return `must be at least ${issue.minimum}`
  if (issue.code === 'too_big') return `must be at most ${issue.maximum}`
  return issue.message
}

/** DATABASE_URL with the password of DATABASE_PASSWORD_FILE, where that is set. */
function withPassword<Data extends object>(data: Data): Data {
  if (!('DATABASE_PASSWORD_FILE' in data) || !('DATABASE_URL' in data)) return data
  const url = new URL(String(data.DATABASE_URL))
  url.password = encodeURIComponent(readSecretFile('DATABASE_PASSWORD_FILE', String(data.DATABASE_PASSWORD_FILE)))
  return { ...data, DATABASE_URL: url.href }
}

export type Variable = { name: string; isRequired: boolean; default: string | undefined; range: string | undefined }

/** The variables of one process, for the tests that hold documents and deployments to them. */
export function variablesOf(process_: ProcessName): Variable[] {
  return Object.entries<z.ZodType>(SCHEMAS[process_].shape).map(([name, type]) => {
    const unset = type.safeParse(undefined)
    return {
      name,
      isRequired: !unset.success,
      default: unset.data === undefined ? undefined : `${unset.data as string | number}`,
      range: rangeOf(type),
    }
  })
}

/** The bounds of a number, as «1 to 20»; undefined for what is no number. */
function rangeOf(type: z.ZodType): string | undefined {
  const {
    minimum,
    exclusiveMinimum,
    maximum = Number.MAX_SAFE_INTEGER,
  } = z.toJSONSchema(type, { unrepresentable: 'any' })
  const least = minimum ?? (typeof exclusiveMinimum === 'number' ? exclusiveMinimum + 1 : undefined)
  if (least === undefined) return undefined
  return maximum < Number.MAX_SAFE_INTEGER ? `${least} to ${maximum}` : `at least ${least}`
}

/** The environment's variables that the processes of a stack read, to be passed on to them. */
export function findSettings(env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const known = new Set([API, WORKER, KEYS, WATCHER, SEALER].flatMap((schema) => Object.keys(schema.shape)))
  const given = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return Object.fromEntries(given.filter(([name]) => name.startsWith('HOLDFAST_') && known.has(name)))
}

/** With these variables grpc-js prints received headers, tokens included. */
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
    maxLagMs: config[`HOLDFAST_${asset}_MAX_LAG_MS`] ?? maxLagOf(config.HOLDFAST_MODE, policy),
  }
}

/** A development chain mines on demand: its newest block may have any age. */
const maxLagOf = (runMode: 'production' | 'development', { maxLagMs }: AssetPolicy): number =>
  runMode === 'production' ? maxLagMs : Number.POSITIVE_INFINITY

const ETHEREUM_CHAIN_ID = 1
const ANVIL_CHAIN_ID = 31_337
/** Ten slots of Ethereum. */
const MAX_BLOCK_AGE_MS = 120_000

/** Which chain the node must be on, and how old its newest block may be (any age in development). */
export function chainRulesOf(config: Config<'watcher'>): { chainId: number; maxBlockAgeMs: number } {
  const isReal = config.HOLDFAST_MODE === 'production'
  return {
    chainId: config.HOLDFAST_ETH_CHAIN_ID ?? (isReal ? ETHEREUM_CHAIN_ID : ANVIL_CHAIN_ID),
    maxBlockAgeMs: config.HOLDFAST_MAX_BLOCK_AGE_MS ?? (isReal ? MAX_BLOCK_AGE_MS : Number.POSITIVE_INFINITY),
  }
}

/** The rate limits of the api: the defaults, with the overrides of HOLDFAST_LIMITS. */
export function budgetsOf(config: Pick<Config<'api'>, 'HOLDFAST_LIMITS'>): Budgets {
  const budgets = parseBudgets(config.HOLDFAST_LIMITS)
  if (budgets === undefined) throw new ConfigError('HOLDFAST_LIMITS is no list of limits')
  return budgets
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

const NETWORKS: Readonly<Record<Asset, string>> = { BTC: 'bitcoin', LTC: 'litecoin', ETH: 'ethereum', SOL: 'solana' }

/** The network an asset is paid on: its main one, unless HOLDFAST_<ASSET>_NETWORK names another. */
export const networkOf = (config: Config<'api'> | Config<'keys'>, asset: Asset): string =>
  config[`HOLDFAST_${asset}_NETWORK`] ?? NETWORKS[asset]

/** The assets a process serves, from a comma-separated list. */
export function enabledAssetsOf(list: string): readonly Asset[] {
  return list.split(',').map((word) => {
    const asset = ASSETS.find((known) => known === word.trim())
    if (asset === undefined) throw new ConfigError(`HOLDFAST_ENABLED_ASSETS: unknown asset ${word.trim()}`)
    return asset
  })
}
