// Schema of the environment variables: type, default and bounds of each, by process. config.ts reads them.

import { isIP } from 'node:net'
import { z } from 'zod'
import { ADDRESS_RULE, isAddress, isDecodable, PERCENT_RULE } from './domain/deployment.ts'
import {
  BUILD_ID_PATTERN,
  BUILD_ID_RULE,
  MACHINE_PATTERN,
  MACHINE_RULE,
  NETWORK_PATTERN,
  NETWORK_RULE,
} from './domain/identifier.ts'
import { LATE_POLICIES } from './domain/late.ts'
import { BUDGETS_RULE, parseBudgets } from './domain/limit.ts'
import { parseFiat } from './domain/money.ts'
import { NODE_URLS_RULE, parseNodeUrls } from './domain/node_url.ts'
import { parseRateSources, RATE_DEFAULTS, RATE_SOURCES, RATE_SOURCES_RULE } from './domain/rate.ts'
import { ASSET_POLICY, ASSETS, ASSETS_RULE, parseAssets, type Asset } from './domain/payment.ts'
import { FEE_BEARERS } from './domain/refund.ts'

const port = z.coerce.number().int().min(0).max(65_535)
/** The longest JavaScript timer: a longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1
const DAY_MS = 86_400_000
/** A quote must not outlive the rate it was made with by months. */
const MAX_WINDOW_MS = 90 * DAY_MS
/** The database's own limits (invoice_grace_range, invoice_confirm_within_range). */
const MAX_GRACE_MS = 3_600_000
const MAX_CONFIRM_WITHIN_MS = 7 * DAY_MS
/** A present cost of up to the double. */
const MAX_DRIFT_BPS = 10_000
const durationMs = z.coerce.number().int().min(1).max(MAX_TIMER_MS)
const mode = z.enum(['production', 'development']).default('production')
const logLevel = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info')

const checked = (isValid: (text: string) => boolean, rule: string) => z.string().refine(isValid, rule)

/** A name may resolve to several addresses, of which a listener that starts may have only some. */
const bind = checked((text) => isIP(text) !== 0, 'must be an IP address, such as 127.0.0.1, 0.0.0.0 or ::')
const address = checked(isAddress, ADDRESS_RULE)
const file = z.string().min(1).optional()

const base = {
  HOLDFAST_MODE: mode,
  HOLDFAST_LOG_LEVEL: logLevel,
  HOLDFAST_PRIVATE_HOSTS: z.string().default(''),
}
const databaseLogin = {
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }).refine(isDecodable, PERCENT_RULE),
  /** The password of the URL, from a mounted secret file instead of the environment. */
  DATABASE_PASSWORD_FILE: file,
}
const database = {
  ...databaseLogin,
  DATABASE_POOL: z.coerce.number().int().min(1).max(20).default(10),
}
const temporalTls = {
  TEMPORAL_TLS_CA_FILE: file,
  TEMPORAL_TLS_CERT_FILE: file,
  TEMPORAL_TLS_KEY_FILE: file,
}
const temporal = {
  TEMPORAL_ADDRESS: address.default('127.0.0.1:7233'),
  TEMPORAL_NAMESPACE: z.string().min(1).default('holdfast'),
  ...temporalTls,
}
/** One optional variable per asset, such as HOLDFAST_ETH_GRACE_MS. */
const perAsset = <Suffix extends string, Type extends z.ZodType>(suffix: Suffix, type: Type) =>
  Object.fromEntries(ASSETS.map((asset) => [`HOLDFAST_${asset}_${suffix}`, type.optional()])) as Record<
    `HOLDFAST_${Asset}_${Suffix}`,
    z.ZodOptional<Type>
  >

const rate = checked((text) => (parseFiat(text) ?? 0n) > 0n, 'must be a price, such as 2000.00')
const assetList = checked((list) => parseAssets(list) !== undefined, ASSETS_RULE).default('ETH')
const chainId = z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER)
const nodeUrls = checked((list) => parseNodeUrls(list) !== undefined, NODE_URLS_RULE)
const network = z.string().regex(NETWORK_PATTERN, NETWORK_RULE)

/** An IPv4-mapped network is refused: mapped addresses are compared as IPv4, so it would match nothing. */
const cidr = z.union([z.cidrv4(), z.cidrv6().refine((text) => !/^::ffff:/i.test(text))])
const cidrList = checked(
  (list) => cidrsOf(list).every((text) => cidr.safeParse(text).success),
  'must be networks in CIDR notation, separated by commas, such as 10.0.0.0/8,192.0.2.7/32,fd00::/8',
)

const webUrl = z.url({ protocol: /^https?$/ })
const webBase = webUrl.regex(
  /^https?:\/\/[^/?#@]+\/?$/,
  'must be a URL without a path, such as https://pay.example.com',
)

/** The networks of a comma-separated list. */
export const cidrsOf = (list: string): readonly string[] =>
  list
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')

const ONE_BPS = 1
const ALL_BPS = 10_000
const bps = z.coerce.number().int().min(ONE_BPS).max(ALL_BPS)
/** Within the time after which a process without a heartbeat is not alive. */
const MAX_RATE_EVERY_MS = 60_000
/** A quote must not begin with an older rate. */
const MAX_RATE_AGE_MS = 3_600_000
const rates = {
  HOLDFAST_RATE_SOURCES: checked((list) => parseRateSources(list) !== undefined, RATE_SOURCES_RULE).default(''),
  HOLDFAST_RATE_LEAST_SOURCES: z.coerce
    .number()
    .int()
    .min(1)
    .max(RATE_SOURCES.length)
    .default(RATE_DEFAULTS.leastSources),
  HOLDFAST_RATE_EVERY_MS: durationMs.min(1_000).max(MAX_RATE_EVERY_MS).default(RATE_DEFAULTS.everyMs),
  HOLDFAST_RATE_MAX_AGE_MS: durationMs.max(MAX_RATE_AGE_MS).default(RATE_DEFAULTS.maxAgeMs),
  HOLDFAST_RATE_MAX_SPREAD_BPS: bps.default(RATE_DEFAULTS.maxSpreadBps),
  HOLDFAST_RATE_MAX_JUMP_BPS: bps.default(RATE_DEFAULTS.maxJumpBps),
  HOLDFAST_RATE_JUMP_HOLD_MS: durationMs.default(RATE_DEFAULTS.jumpHoldMs),
}

const API = z.object({
  ...base,
  ...database,
  ...temporal,
  ...perAsset('GRACE_MS', durationMs.max(MAX_GRACE_MS)),
  ...perAsset('CONFIRM_WITHIN_MS', durationMs.max(MAX_CONFIRM_WITHIN_MS)),
  ...perAsset('MAX_LAG_MS', durationMs),
  ...perAsset('RATE', rate),
  ...rates,
  ...perAsset('NETWORK', network),
  HOLDFAST_BIND: bind.default('127.0.0.1'),
  HOLDFAST_GRPC_PORT: port.default(7070),
  HOLDFAST_ADMIN_BIND: bind.default('127.0.0.1'),
  HOLDFAST_ADMIN_PORT: port.default(7071),
  HOLDFAST_TLS: z.enum(['here', 'terminated-by-proxy']).default('here'),
  HOLDFAST_TLS_CERT_FILE: file,
  HOLDFAST_TLS_KEY_FILE: file,
  HOLDFAST_TLS_CLIENT_CA_FILE: file,
  HOLDFAST_TLS_CLIENT_CERT: z.enum(['requested', 'required']).default('requested'),
  HOLDFAST_REFLECTION: z.enum(['off', 'on', 'on-in-production']).optional(),
  /** How long a load balancer needs to notice that the api is stopping. */
  HOLDFAST_DRAIN_MS: z.coerce.number().int().min(0).max(60_000).default(3_000),
  HOLDFAST_METRICS_PORT: port.default(9464),
  HOLDFAST_METRICS_BIND: bind.default('127.0.0.1'),
  HOLDFAST_PAY_BIND: bind.default('127.0.0.1'),
  HOLDFAST_PAY_PORT: port.default(7072),
  HOLDFAST_PAY_URL: webBase.optional(),
  HOLDFAST_PAY_SECRETS_FILE: file,
  HOLDFAST_PAY_REFUND_URL: webUrl.optional(),
  HOLDFAST_ADMIN_CIDRS: cidrList.optional(),
  HOLDFAST_TRUSTED_PROXIES: cidrList
    .refine((list) => !cidrsOf(list).some((text) => text.endsWith('/0')), 'must not trust every address')
    .default(''),
  HOLDFAST_JWT_SECRETS_FILE: z.string().min(1).optional(),
  HOLDFAST_JWKS_URL: z.string().min(1).optional(),
  HOLDFAST_JWT_ALGORITHM: z.enum(['EdDSA', 'RS256']).default('EdDSA'),
  HOLDFAST_JWT_ISSUER: z.string().min(1).default('holdfast'),
  HOLDFAST_JWT_AUDIENCE: z.string().min(1).default('holdfast'),
  HOLDFAST_STEP_UP_TOTAL: z
    .string()
    .refine((text) => parseFiat(text) !== undefined, 'must be an amount, such as 1000.00')
    .default('1000.00'),
  HOLDFAST_REFUND_FEE_BEARER: z.enum(FEE_BEARERS).default('shop'),
  HOLDFAST_CLIENT_SANS_FILE: z.string().min(1).optional(),
  HOLDFAST_PII_KEYRING_FILE: z.string().min(1),
  HOLDFAST_ORDER_ID_SECRET_FILE: z.string().min(1),
  HOLDFAST_SOURCES_FILE: z.string().min(1),
  HOLDFAST_QUOTE_KEY_FILE: z.string().min(1),
  HOLDFAST_REFUND_KEY_FILE: z.string().min(1),
  HOLDFAST_ETH_CHAIN_ID: chainId.optional(),
  HOLDFAST_CURRENCY: z.enum(['EUR', 'USD']).default('EUR'),
  HOLDFAST_PAYMENT_WINDOW_MS: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_WINDOW_MS)
    .default(15 * 60_000),
  HOLDFAST_ADDRESS_BLOCK: z.coerce.number().int().min(1).max(1_024).default(256),
  HOLDFAST_START_BACKLOG_LIMIT: z.coerce.number().int().min(1).max(1_000_000_000).default(100_000),
  HOLDFAST_ENABLED_ASSETS: assetList,
  HOLDFAST_LIMITS: checked((text) => parseBudgets(text) !== undefined, BUDGETS_RULE).default(''),
})

const WORKER = z.object({
  ...base,
  ...database,
  ...temporal,
  TEMPORAL_BACKGROUND_NAMESPACE: z.string().min(1).default('holdfast-background'),
  HOLDFAST_METRICS_PORT: port.default(9466),
  HOLDFAST_SDK_METRICS_PORT: port.default(9467),
  HOLDFAST_METRICS_BIND: bind.default('127.0.0.1'),
  HOLDFAST_BUILD_ID: z.string().regex(BUILD_ID_PATTERN, BUILD_ID_RULE).default('development'),
  HOLDFAST_WORKFLOW_BUNDLE: z.string().min(1).optional(),
  HOLDFAST_MAX_CACHED_WORKFLOWS: z.coerce.number().int().min(0).max(1_000_000).optional(),
  HOLDFAST_WEBHOOK_URL: z.url().optional(),
  HOLDFAST_WEBHOOK_SECRET_FILE: z.string().min(1).optional(),
  HOLDFAST_WEBHOOK_PRIVATE: z.enum(['allow', 'refuse']).default('refuse'),
  HOLDFAST_CONSISTENCY_EVERY_MS: durationMs.default(3_600_000),
  HOLDFAST_LATE_POLICY: z.enum(LATE_POLICIES).default('accept'),
  HOLDFAST_LATE_WITHIN_MS: durationMs.default(DAY_MS),
  HOLDFAST_LATE_DRIFT_BPS: z.coerce.number().int().min(0).max(MAX_DRIFT_BPS).default(200),
})

const KEYS = z.object({
  ...base,
  ...database,
  ...perAsset('NETWORK', network),
  DATABASE_POOL: z.coerce.number().int().min(1).max(2).default(2),
  HOLDFAST_METRICS_PORT: port.default(9468),
  HOLDFAST_METRICS_BIND: bind.default('127.0.0.1'),
  HOLDFAST_KEY_KEYRING_FILE: z.string().min(1),
  HOLDFAST_ENABLED_ASSETS: assetList,
  HOLDFAST_KEYS_PER_DERIVATION: z.coerce.number().int().min(1).max(1_000).default(256),
  HOLDFAST_PBKDF2_ITERATIONS: z.coerce.number().int().min(100_000).max(10_000_000).default(210_000),
  HOLDFAST_POOL_TARGET: z.coerce.number().int().min(1).max(1_000_000).default(2_048),
})

const MAX_CONFIRMATIONS = 500
const confirmations = z.coerce
  .number()
  .int()
  .min(ASSET_POLICY.ETH.confirmations)
  // The watcher keeps a thousand blocks: a transfer that needs more would never be final.
  .max(MAX_CONFIRMATIONS)
  .default(ASSET_POLICY.ETH.confirmations)

/** A node further behind than this is not behind, but on another chain or still syncing. */
const MAX_NODE_LAG = 1_000

const WATCHER = z.object({
  ...base,
  ...database,
  HOLDFAST_METRICS_PORT: port.default(9470),
  HOLDFAST_METRICS_BIND: bind.default('127.0.0.1'),
  HOLDFAST_API_ADDRESS: address.default('127.0.0.1:7070'),
  HOLDFAST_API_CA_FILE: file,
  HOLDFAST_API_CERT_FILE: file,
  HOLDFAST_API_KEY_FILE: file,
  HOLDFAST_SOURCE: z.string().regex(MACHINE_PATTERN, MACHINE_RULE).default('watcher-1'),
  HOLDFAST_SOURCE_SECRET_FILE: z.string().min(1),
  HOLDFAST_SOURCE_ALGORITHM: z.enum(['sha256', 'sha512']).default('sha256'),
  HOLDFAST_WATCHER_TOKEN_FILE: z.string().min(1),
  HOLDFAST_ETH_RPC_URL: nodeUrls,
  HOLDFAST_ETH_NETWORK: network.default('ethereum'),
  HOLDFAST_ETH_CHAIN_ID: chainId.optional(),
  HOLDFAST_ETH_START: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  HOLDFAST_ETH_CONFIRMATIONS: confirmations,
  HOLDFAST_POLL_MS: durationMs.default(1_000),
  HOLDFAST_MAX_TIP_AGE_MS: durationMs.default(120_000),
  HOLDFAST_MAX_BLOCK_AGE_MS: durationMs.optional(),
  HOLDFAST_ETH_MAX_NODE_LAG: z.coerce.number().int().min(1).max(MAX_NODE_LAG).default(5),
})

/** The unsealed window that docs/operations.md states. */
const MAX_SEAL_EVERY_MS = 5_000

const SEALER = z.object({
  ...base,
  ...databaseLogin,
  DATABASE_POOL: z.coerce.number().int().min(1).max(2).default(2),
  HOLDFAST_METRICS_PORT: port.default(9472),
  HOLDFAST_METRICS_BIND: bind.default('127.0.0.1'),
  HOLDFAST_SEAL_KEY_FILE: z.string().min(1),
  HOLDFAST_SEAL_PUBLIC_KEYS_FILE: z.string().min(1),
  HOLDFAST_AUDIT_FILE: z.string().min(1),
  HOLDFAST_SEAL_EVERY_MS: durationMs.max(MAX_SEAL_EVERY_MS).default(2_000),
})

/** A million coins at most. */
const gwei = z.coerce.number().int().min(1).max(1_000_000_000_000_000)

const PAYER = z.object({
  ...base,
  ...database,
  DATABASE_POOL: z.coerce.number().int().min(1).max(4).default(2),
  HOLDFAST_METRICS_PORT: port.default(9474),
  HOLDFAST_METRICS_BIND: bind.default('127.0.0.1'),
  HOLDFAST_ETH_RPC_URL: nodeUrls,
  HOLDFAST_ETH_NETWORK: network.default('ethereum'),
  HOLDFAST_ETH_CHAIN_ID: chainId.optional(),
  HOLDFAST_ETH_CONFIRMATIONS: confirmations,
  HOLDFAST_POLL_MS: durationMs.default(1_000),
  HOLDFAST_REFUND_PUBLIC_KEYS_FILE: z.string().min(1),
  HOLDFAST_PAYOUT_KEY_FILE: file,
  HOLDFAST_PAYOUT_DIR: file,
  HOLDFAST_PAYOUT_SENDER: z
    .string()
    .regex(/^0x[0-9a-f]{40}$/, 'must be an address in lower case, 0x and 40 hex digits')
    .optional(),
  HOLDFAST_PAYOUT_STUCK_MS: durationMs.default(600_000),
  HOLDFAST_PAYOUT_MAX_FEE_GWEI: z.coerce.number().int().min(1).max(1_000_000).default(300),
  HOLDFAST_PAYOUT_MAX_GWEI: gwei.default(10_000_000_000),
  HOLDFAST_PAYOUT_DAY_MAX_GWEI: gwei.default(50_000_000_000),
})

const MIGRATE = z.object({ ...base, ...databaseLogin })

/** For the starter of a development stack. tools/setup.mjs sets where the programs are. */
const STACK = z.object({
  HOLDFAST_MODE: z.literal('development', { error: 'this starts development stacks only' }).default('development'),
  DATABASE_URL: database.DATABASE_URL.optional(),
  TEMPORAL_ADDRESS: address.optional(),
  HOLDFAST_TEMPORAL_SERVER: z.string().min(1).optional(),
  HOLDFAST_TEMPORAL_SQL_TOOL: z.string().min(1).optional(),
  HOLDFAST_TEMPORAL_UI: z.string().min(1).optional(),
})

const CLI = z.object({
  HOLDFAST_MODE: mode,
  HOLDFAST_READY_FILE: z.string().min(1).optional(),
  HOLDFAST_API: address.optional(),
  HOLDFAST_ADMIN: address.optional(),
  HOLDFAST_API_CA_FILE: file,
  HOLDFAST_API_CERT_FILE: file,
  HOLDFAST_API_KEY_FILE: file,
  HOLDFAST_PRIVATE_HOSTS: z.string().default(''),
  HOLDFAST_TOKEN: file,
  HOLDFAST_TOKEN_FILE: file,
  DATABASE_URL: database.DATABASE_URL.optional(),
  DATABASE_PASSWORD_FILE: databaseLogin.DATABASE_PASSWORD_FILE,
  HOLDFAST_QUOTE_PUBLIC_KEYS_FILE: z.string().min(1).optional(),
  HOLDFAST_AUDIT_FILE: z.string().min(1).optional(),
  HOLDFAST_SEAL_PUBLIC_KEYS_FILE: z.string().min(1).optional(),
  TEMPORAL_ADDRESS: address.optional(),
  TEMPORAL_NAMESPACE: z.string().min(1).optional(),
  ...temporalTls,
})

export const CONFIG_SCHEMAS = {
  api: API,
  worker: WORKER,
  keys: KEYS,
  watcher: WATCHER,
  sealer: SEALER,
  payer: PAYER,
  migrate: MIGRATE,
  stack: STACK,
  cli: CLI,
} as const
/** An empty list names nothing; any other variable that is empty is most likely a substitution that failed. */
export const LIST_VARIABLES = new Set(
  ['ADMIN_CIDRS', 'TRUSTED_PROXIES', 'LIMITS', 'PRIVATE_HOSTS', 'RATE_SOURCES'].map((name) => `HOLDFAST_${name}`),
)
