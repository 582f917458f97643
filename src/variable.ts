// What each environment variable sets, in words. config.ts holds its name, type and default; `npm run docs` joins both
// in docs/configuration.md. A variable without its line here does not compile.

import type { Config, ProcessName } from './config.ts'
import type { Asset } from './domain/payment.ts'

/** The variables that exist once per asset share one line: HOLDFAST_<ASSET>_RATE. */
type PatternOf<Name> = Name extends 'HOLDFAST_ETH_CHAIN_ID'
  ? Name
  : Name extends `HOLDFAST_${Asset}_${infer Suffix}`
    ? `HOLDFAST_<ASSET>_${Suffix}`
    : Name
/** Watcher and payer work on one chain: their variables name Ethereum, and stand for themselves. */
type VariableOf<P extends ProcessName> = P extends 'watcher' | 'payer' ? keyof Config<P> : PatternOf<keyof Config<P>>
type VariableName = { [P in ProcessName]: VariableOf<P> }[ProcessName]

export const DESCRIPTIONS: Readonly<Record<VariableName, string>> = {
  HOLDFAST_MODE: '`production`, or `development`, which accepts development secrets',
  HOLDFAST_PRIVATE_HOSTS:
    'hosts in a private network, separated by commas, that this process may reach without TLS; all others but this machine need it in production',
  HOLDFAST_LOG_LEVEL: '`fatal`, `error`, `warn`, `info`, `debug`, `trace` or `silent`',
  DATABASE_URL: 'Postgres, as the process’s own role',
  DATABASE_PASSWORD_FILE: 'file with the password, for a URL without one',
  DATABASE_POOL: 'upper limit of connections of this process',
  TEMPORAL_ADDRESS: 'Temporal’s frontend, host:port',
  TEMPORAL_NAMESPACE: 'namespace of the order workflows',
  TEMPORAL_TLS_CA_FILE:
    'CA of Temporal’s certificate, PEM; with it, TLS also on this machine and to private hosts; without it, the system’s CAs',
  TEMPORAL_TLS_CERT_FILE: 'client certificate for Temporal, PEM',
  TEMPORAL_TLS_KEY_FILE: 'key of that certificate, PEM',
  'HOLDFAST_<ASSET>_GRACE_MS':
    'slack after a quote’s end within which a payment is in time; the default depends on the asset',
  'HOLDFAST_<ASSET>_CONFIRM_WITHIN_MS':
    'how long a payment that was seen in time may take to become final; the default depends on the asset',
  'HOLDFAST_<ASSET>_MAX_LAG_MS':
    'how far the watcher may be behind its chain before the api stops quoting in that asset; the default depends on the asset, and there is no limit in development',
  'HOLDFAST_<ASSET>_RATE':
    'fixed price of one coin in the shop’s currency, such as `2000.00`; without it, the price is that of `HOLDFAST_RATE_SOURCES`',
  HOLDFAST_RATE_SOURCES:
    'where the prices of all other assets come from: of `kraken`, `coinbase`, `bitstamp`, separated by commas, each as `NAME` or `NAME=URL`; without it, no quotes in these assets',
  HOLDFAST_RATE_LEAST_SOURCES: 'how many sources must agree on a price',
  HOLDFAST_RATE_EVERY_MS: 'pause between two reads of the sources',
  HOLDFAST_RATE_MAX_AGE_MS: 'age from which a price is not used any more',
  HOLDFAST_RATE_MAX_SPREAD_BPS: 'how far a source may be from the median of all, in 1/10,000; others are left out',
  HOLDFAST_RATE_MAX_JUMP_BPS:
    'how far a price may be from the last accepted one, in 1/10,000; beyond it there are no quotes in this asset',
  HOLDFAST_RATE_JUMP_HOLD_MS: 'how long such a price must last until it is accepted',
  'HOLDFAST_<ASSET>_NETWORK': 'name of the network the asset is paid on, the same in all processes',
  HOLDFAST_BIND: 'IP address that the public gRPC port listens on, such as `0.0.0.0` or `::`',
  HOLDFAST_GRPC_PORT: 'port of the public gRPC API',
  HOLDFAST_ADMIN_BIND: 'IP address that the admin gRPC port listens on',
  HOLDFAST_ADMIN_PORT: 'port of the admin gRPC API',
  HOLDFAST_TLS:
    '`here`: the two gRPC ports use TLS; `terminated-by-proxy`: a proxy in a private network ends TLS in front of them',
  HOLDFAST_TLS_CERT_FILE:
    'certificate chain of the two gRPC ports, PEM, read again every ten seconds; required in production',
  HOLDFAST_TLS_KEY_FILE: 'key of that certificate, PEM, unencrypted',
  HOLDFAST_TLS_CLIENT_CA_FILE: 'CA whose client certificates are accepted, PEM; without it, none are asked for',
  HOLDFAST_TLS_CLIENT_CERT: '`requested` or `required`: whether a connection needs a client certificate',
  HOLDFAST_REFLECTION:
    'gRPC reflection for admins on the admin port: `off`, `on`, or `on-in-production`; without it, on in development only',
  HOLDFAST_DRAIN_MS: 'how long a stopping api still answers, so that load balancers notice',
  HOLDFAST_METRICS_PORT: 'port of `/metrics`, `/healthz` and `/readyz`',
  HOLDFAST_METRICS_BIND: 'IP address of that listener',
  HOLDFAST_PAY_BIND: 'IP address that the payment page listens on',
  HOLDFAST_PAY_PORT: 'port of the payment page, the only HTTP that customers reach',
  HOLDFAST_PAY_URL:
    'where customers reach that port, such as `https://pay.example.com`; https in production; without it, there is no payment page; needs `HOLDFAST_PAY_SECRETS_FILE`',
  HOLDFAST_PAY_SECRETS_FILE:
    'secrets that links to the payment page are made with, base64, one per line, the newest first',
  HOLDFAST_PAY_REFUND_URL:
    'page of the shop on which a signed-in customer gives the address of a refund; `{order}` in it becomes the order’s id',
  HOLDFAST_ADMIN_CIDRS:
    'networks whose callers the admin port admits, in CIDR notation, separated by commas; without it, no caller in production and this machine in development',
  HOLDFAST_TRUSTED_PROXIES:
    'networks of the proxies in front, in CIDR notation, separated by commas; `x-forwarded-for` counts only from these',
  HOLDFAST_JWT_SECRETS_FILE: 'secrets that access tokens are verified with, one to three; this or `HOLDFAST_JWKS_URL`',
  HOLDFAST_JWKS_URL:
    'key set of the issuer of access tokens, `https:` or `file:`, read again every five minutes while there are calls; this or `HOLDFAST_JWT_SECRETS_FILE`',
  HOLDFAST_JWT_ALGORITHM: '`EdDSA` or `RS256`: how that issuer signs',
  HOLDFAST_JWT_ISSUER: '`iss` that tokens must have',
  HOLDFAST_JWT_AUDIENCE: '`aud` that tokens must have',
  HOLDFAST_STEP_UP_TOTAL:
    'total from which an order needs a sign-in with a second factor, at most five minutes old; in the shop’s currency',
  HOLDFAST_REFUND_FEE_BEARER: 'who bears the network’s fee of a refund that does not say: `shop` or `customer`',
  HOLDFAST_CLIENT_SANS_FILE:
    'URIs that the client certificates of watchers and services must have; without it, their tokens suffice',
  HOLDFAST_PII_KEYRING_FILE: 'keyring that delivery addresses are sealed with',
  HOLDFAST_ORDER_ID_SECRET_FILE:
    'secret that order ids, page cursors, and hashes of peers and requests are derived with',
  HOLDFAST_SOURCES_FILE: 'watchers whose signed reports are accepted',
  HOLDFAST_QUOTE_KEY_FILE: 'Ed25519 key that payment requests are signed with, PEM',
  HOLDFAST_REFUND_KEY_FILE:
    'Ed25519 key that confirmed addresses and approvals of refunds are signed with, PEM; not the quote key',
  HOLDFAST_QUOTE_PUBLIC_KEYS_FILE:
    'the shop’s public quote keys, PEM; with it, payment requests that none of them signed are refused',
  HOLDFAST_CURRENCY: 'the shop’s currency: `EUR` or `USD`',
  HOLDFAST_PAYMENT_WINDOW_MS: 'how long a quote is valid',
  HOLDFAST_ADDRESS_BLOCK: 'addresses leased from the pool at a time',
  HOLDFAST_START_BACKLOG_LIMIT:
    'orders waiting for their workflow, above which new orders are refused with a retry hint',
  HOLDFAST_ENABLED_ASSETS: 'assets the shop takes, separated by commas',
  HOLDFAST_LIMITS:
    'rate limits that differ from the defaults, as `CLASS=USER/ADDRESS/AT_ONCE`, separated by commas; `*` means every class; see docs/operations.md',
  TEMPORAL_BACKGROUND_NAMESPACE: 'namespace of the scheduled duties',
  HOLDFAST_SDK_METRICS_PORT: 'port of the Temporal SDK’s own metrics',
  HOLDFAST_BUILD_ID: 'version of this build, by which Temporal routes workflow tasks',
  HOLDFAST_WORKFLOW_BUNDLE: 'workflow code bundled by `npm run build`; without it, the worker bundles at start',
  HOLDFAST_MAX_CACHED_WORKFLOWS: 'workflows kept in memory; without it, the SDK’s own default',
  HOLDFAST_WEBHOOK_URL:
    'where changes of status are posted; https in production; the same for all workers; needs `HOLDFAST_WEBHOOK_SECRET_FILE`',
  HOLDFAST_WEBHOOK_SECRET_FILE: 'secrets that webhooks are signed with, `whsec_…`, one per line, the newest first',
  HOLDFAST_WEBHOOK_PRIVATE: '`allow` for a receiver in a private network, else `refuse`',
  HOLDFAST_CONSISTENCY_EVERY_MS:
    'how often all orders, stock and workflows are compared; for more than an hour, raise the alarm `ConsistencyUnchecked` too',
  HOLDFAST_LATE_POLICY:
    '`accept`: money that comes too late buys its expired order again, as a linked order, where stock and price allow it; `refund`: it is owed back',
  HOLDFAST_LATE_WITHIN_MS: 'how long after the quote and its grace such money may come',
  HOLDFAST_LATE_DRIFT_BPS:
    'how far the present cost of the same lines may be from the amount due, in hundredths of a percent',
  HOLDFAST_KEY_KEYRING_FILE: 'keyring that payment keys are sealed with',
  HOLDFAST_KEYS_PER_DERIVATION: 'keys made under one run of PBKDF2',
  HOLDFAST_PBKDF2_ITERATIONS: 'iterations of PBKDF2',
  HOLDFAST_POOL_TARGET: 'unused addresses kept ready per asset',
  HOLDFAST_API_ADDRESS: 'the api, host:port',
  HOLDFAST_API_CA_FILE:
    'CA of the api’s certificate, PEM; with it, TLS also on this machine and to private hosts; without it, the system’s CAs',
  HOLDFAST_API_CERT_FILE: 'client certificate for the api, PEM',
  HOLDFAST_API_KEY_FILE: 'key of that certificate, PEM',
  HOLDFAST_SOURCE: 'name under which this watcher reports',
  HOLDFAST_SOURCE_SECRET_FILE: 'secret that reports are signed with',
  HOLDFAST_SOURCE_ALGORITHM: '`sha256` or `sha512`',
  HOLDFAST_WATCHER_TOKEN_FILE: 'access token of the watcher, read again for each call',
  HOLDFAST_ETH_RPC_URL:
    'JSON-RPC of one to eight Ethereum nodes, separated by commas; the first that is well is used, and the watcher compares them all',
  HOLDFAST_ETH_NETWORK: 'network name in its reports; the api must use the same name for ETH',
  HOLDFAST_ETH_CHAIN_ID:
    'chain that ETH is paid on, in payment requests and at the node; the same in api and watcher; without it, 1 in production and 31337 in development',
  HOLDFAST_ETH_START:
    'first block to read on an empty database; without it, the block three hours before the oldest order that waits for payment, else the tip',
  HOLDFAST_ETH_CONFIRMATIONS: 'depth at which a transfer is final; not below the default',
  HOLDFAST_POLL_MS: 'pause between two reads of the chain’s tip',
  HOLDFAST_ETH_MAX_NODE_LAG: 'a node whose tip is more blocks behind the others is not used',
  HOLDFAST_MAX_TIP_AGE_MS: '`/readyz` fails if the tip was not read for longer than this',
  HOLDFAST_MAX_BLOCK_AGE_MS:
    'a newest block older than this means that the node stands still; without it, 120000 in production and no limit in development',
  HOLDFAST_REFUND_PUBLIC_KEYS_FILE:
    'public halves of `HOLDFAST_REFUND_KEY_FILE`, PEM, old ones too: the payer pays what one of them signed',
  HOLDFAST_PAYOUT_KEY_FILE:
    'private key that refunds are sent with, in development only, 0x and hex; this or `HOLDFAST_PAYOUT_DIR`',
  HOLDFAST_PAYOUT_DIR:
    'folder where transactions to be signed are written (`unsigned`) and signed ones are taken from (`signed`)',
  HOLDFAST_PAYOUT_SENDER: 'account that refunds are sent from, whose key signs the files of `HOLDFAST_PAYOUT_DIR`',
  HOLDFAST_PAYOUT_STUCK_MS: 'a payout that no block has after this gets a higher fee',
  HOLDFAST_PAYOUT_MAX_FEE_GWEI: 'above this fee per gas no payout is made or raised',
  HOLDFAST_PAYOUT_MAX_GWEI: 'the most that one refund may send; a larger one waits for a person',
  HOLDFAST_PAYOUT_DAY_MAX_GWEI: 'the most that the refunds of 24 hours may send; others wait',
  HOLDFAST_SEAL_KEY_FILE: 'Ed25519 key that checkpoints of the audit are signed with, PEM',
  HOLDFAST_SEAL_PUBLIC_KEYS_FILE: 'public keys whose checkpoints are accepted, PEM, its own and older ones',
  HOLDFAST_AUDIT_FILE: 'file that checkpoints are appended to, out of the database’s reach',
  HOLDFAST_SEAL_EVERY_MS: 'pause between two turns of the sealer',
  HOLDFAST_READY_FILE: 'ready file of a running stack, with its addresses; without it, that of `npm start`',
  HOLDFAST_API: 'the api’s public port, host:port; without it, from the ready file',
  HOLDFAST_ADMIN: 'the api’s admin port, host:port; without it, from the ready file',
  HOLDFAST_TOKEN_FILE: 'file with an access token',
  HOLDFAST_TOKEN: 'access token; without it, one signed on the spot, in development only',
  HOLDFAST_TEMPORAL_SERVER: 'path of the Temporal server’s program; `tools/setup.mjs` sets it',
  HOLDFAST_TEMPORAL_SQL_TOOL: 'path of Temporal’s schema tool; `tools/setup.mjs` sets it',
  HOLDFAST_TEMPORAL_UI: 'path of Temporal’s UI server; `tools/setup.mjs` sets it',
}
