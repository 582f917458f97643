// What production refuses, and which connections use TLS: pure rules over the environment's variables. The default is
// TLS to every host; plain connections reach the same machine, and hosts that the operator lists by name.

import { parseNodeUrls } from './node_url.ts'
import { parseRateSources, RATE_DEFAULTS } from './rate.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Variables with which a library or Node prints tokens, accepts any certificate, or weakens the ciphers. */
const DEBUG_VARIABLES = [
  'GRPC_TRACE',
  'GRPC_NODE_TRACE',
  'GRPC_NODE_DEBUG_SEND_ERROR_DETAILS',
  'GRPC_SSL_CIPHER_SUITES',
  'NODE_DEBUG',
  'NODE_DEBUG_NATIVE',
] as const

/** Node's own switches that open a debugger, write memory or TLS keys to disk, or allow old protocols. */
const DEBUG_SWITCH =
  /(?:^|\s)(--(?:inspect|experimental-network-inspection|tls-keylog|trace-tls|tls-min-v1\.[01]|tls-cipher-list|insecure-http-parser|heapsnapshot-signal|heapsnapshot-near-heap-limit|report-on-signal)\S*)/g

/** Below this a password is guessed. `node ops/make-secrets.mjs` makes longer ones. */
const MIN_PASSWORD_LENGTH = 12

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?|\[?::ffff:127(\.\d{1,3}){3}\]?)$/i

const MAX_PORT = 65_535
const PLACE = /^(?:\[[\d.:a-f]+(?:%\w+)?\]|[\w.-]+):(\d{1,5})$/i
const SOCKET = /^unix(-abstract)?:/
const SCHEME = /^(ipv4|ipv6|dns):(\/\/[^/]*\/)?/

export const ADDRESS_RULE = 'must be HOST:PORT, such as 127.0.0.1:7070 or [::1]:7070'

/** Whether a gRPC address names the port of every host. Without one, grpc-js calls port 443. */
export const isAddress = (address: string): boolean =>
  SOCKET.test(address) ||
  address
    .replace(SCHEME, '')
    .split(',')
    .every((each) => {
      const port = Number(PLACE.exec(each)?.[1])
      return port >= 1 && port <= MAX_PORT
    })

/** The hosts of a gRPC address: `host:port`, `[v6]:port`, `ipv4:a:1,b:2`, `dns:///host:1`. A socket has none. */
export function hostsOf(address: string): readonly string[] {
  if (SOCKET.test(address)) return []
  return address
    .replace(SCHEME, '')
    .split(',')
    .map((each) => each.replace(/:\d*$/, ''))
}

/** Whether a plain connection to this address stays on this machine or in a network that the operator calls private. */
export const isReachedInPrivate = (address: string, privateHosts = ''): boolean =>
  hostsOf(address).every((host) => isPrivateHost(host, privateHosts))

const isPrivateHost = (host: string, privateHosts: string): boolean =>
  LOOPBACK.test(host) ||
  privateHosts.split(',').some((each) => each.trim() !== '' && plain(each.trim()) === plain(host))

/** A host in one spelling: names in lower case, IPv6 addresses without the brackets of a URL. */
const plain = (host: string): string => host.toLowerCase().replace(/^\[(.+)\]$/, '$1')

/**
 * What is wrong with a deployment, one line for each variable, without values.
 * @param variables the names that the process reads
 * @param nodeSwitches NODE_OPTIONS and the command line's switches
 */
export function findUnsafeSettings(env: Environment, variables: ReadonlySet<string>, nodeSwitches: string): string[] {
  const read = (name: string): string | undefined => (variables.has(name) ? env[name] : undefined)
  return [
    ...DEBUG_VARIABLES.filter((name) => Boolean(env[name])).map(
      (name) => `${name}: may print tokens or weaken encryption: unset it in production`,
    ),
    ...(env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0'
      ? ['NODE_TLS_REJECT_UNAUTHORIZED: accepts any certificate: unset it in production']
      : []),
    ...[...nodeSwitches.matchAll(DEBUG_SWITCH)].map(
      ([, option = '']) => `NODE_OPTIONS: ${nameOf(option)} is for debugging: remove it in production`,
    ),
    ...(variables.has('HOLDFAST_TLS') ? findPlainListener(env) : []),
    ...(read('HOLDFAST_REFLECTION') === 'on'
      ? ['HOLDFAST_REFLECTION: shows the whole API: leave it out, or set on-in-production']
      : []),
    ...findUnsafeDatabase(env, read('DATABASE_URL')),
    ...findPlainNode(env, read('HOLDFAST_ETH_RPC_URL')),
    ...['HOLDFAST_PAY_URL', 'HOLDFAST_PAY_REFUND_URL'].flatMap((name) => findPlainPage(name, read(name))),
    ...findPlainSources(env, read('HOLDFAST_RATE_SOURCES')),
    ...findPlainWebhook(read('HOLDFAST_WEBHOOK_URL')),
  ]
}

const nameOf = (option: string): string => option.split('=')[0] ?? option

function findPlainListener(env: Environment): string[] {
  if (env['HOLDFAST_TLS'] === 'terminated-by-proxy' || env['HOLDFAST_TLS_CERT_FILE']) return []
  return [
    'HOLDFAST_TLS_CERT_FILE: is not set, so callers would send their tokens in clear: set it and ' +
      'HOLDFAST_TLS_KEY_FILE, or HOLDFAST_TLS=terminated-by-proxy where a proxy in a private network ends TLS',
  ]
}

/** The variable with the address that a port is opened on. */
export const bindOf = (port: string): string => BINDS[port] ?? 'HOLDFAST_METRICS_BIND'

const BINDS: Readonly<Record<string, string>> = {
  HOLDFAST_GRPC_PORT: 'HOLDFAST_BIND',
  HOLDFAST_ADMIN_PORT: 'HOLDFAST_ADMIN_BIND',
  HOLDFAST_PAY_PORT: 'HOLDFAST_PAY_BIND',
}

const PAIRS = [
  ['HOLDFAST_TLS_CERT_FILE', 'HOLDFAST_TLS_KEY_FILE', 'a certificate and its key'],
  ['HOLDFAST_API_CERT_FILE', 'HOLDFAST_API_KEY_FILE', 'a certificate and its key'],
  ['TEMPORAL_TLS_CERT_FILE', 'TEMPORAL_TLS_KEY_FILE', 'a certificate and its key'],
  ['HOLDFAST_WEBHOOK_URL', 'HOLDFAST_WEBHOOK_SECRET_FILE', 'a webhook and its secrets'],
  ['HOLDFAST_PAY_URL', 'HOLDFAST_PAY_SECRETS_FILE', 'the payment page and its secrets'],
] as const

/** Settings that contradict each other, in any mode. `env` has the defaults of ports and addresses too. */
export function findContradictions(env: Environment, variables: ReadonlySet<string>): string[] {
  const has = (name: string): boolean => variables.has(name) && Boolean(env[name])
  const pairs = PAIRS.flatMap(([one, other, what]) => {
    if (has(one) === has(other)) return []
    return [`${has(one) ? other : one}: is not set: ${what} are set together, or neither`]
  })
  const isProxied = has('HOLDFAST_TLS') && env['HOLDFAST_TLS'] === 'terminated-by-proxy'
  const isTokenless =
    variables.has('HOLDFAST_JWKS_URL') && !has('HOLDFAST_JWKS_URL') && !has('HOLDFAST_JWT_SECRETS_FILE')
  return [
    ...pairs,
    ...(isTokenless
      ? ['HOLDFAST_JWT_SECRETS_FILE: is not set: set it, or HOLDFAST_JWKS_URL for keys of an issuer']
      : []),
    ...(has('HOLDFAST_JWKS_URL') && has('HOLDFAST_JWT_SECRETS_FILE')
      ? ['HOLDFAST_JWKS_URL: excludes HOLDFAST_JWT_SECRETS_FILE: remove one']
      : []),
    ...findPortClashes(env, variables),
    ...(has('HOLDFAST_RATE_SOURCES') ? findRateContradictions(env) : []),
    ...(isProxied && has('HOLDFAST_TLS_CERT_FILE')
      ? ['HOLDFAST_TLS: terminated-by-proxy and HOLDFAST_TLS_CERT_FILE exclude each other: remove one']
      : []),
    ...(has('HOLDFAST_TLS_CLIENT_CA_FILE') && !has('HOLDFAST_TLS_CERT_FILE')
      ? ['HOLDFAST_TLS_CLIENT_CA_FILE: client certificates need HOLDFAST_TLS_CERT_FILE']
      : []),
    ...(env['HOLDFAST_TLS_CLIENT_CERT'] === 'required' &&
    !has('HOLDFAST_TLS_CLIENT_CA_FILE') &&
    variables.has('HOLDFAST_TLS')
      ? ['HOLDFAST_TLS_CLIENT_CERT: required needs HOLDFAST_TLS_CLIENT_CA_FILE']
      : []),
  ]
}

/** Listeners of one port whose addresses are the same, or where one of them is every address. */
function findPortClashes(env: Environment, variables: ReadonlySet<string>): string[] {
  const listeners = [...variables]
    .filter((name) => name.startsWith('HOLDFAST_') && name.endsWith('_PORT') && (env[name] ?? '0') !== '0')
    .map((name) => ({ name, port: env[name], bind: env[bindOf(name)] ?? '' }))
  return listeners.flatMap(({ name, port, bind }, at) => {
    const other = listeners
      .slice(0, at)
      .find((each) => each.port === port && (each.bind === bind || isEvery(each.bind) || isEvery(bind)))
    return other === undefined ? [] : [`${name}: is the port ${port} of ${other.name} too: set another one`]
  })
}

const isEvery = (address: string): boolean => address === '0.0.0.0' || address === '::'

function findUnsafeDatabase(env: Environment, text: string | undefined): string[] {
  if (text === undefined || !URL.canParse(text)) return []
  const url = new URL(text)
  const query = url.searchParams
  // The driver takes the host of the query first, then that of the URL, then PGHOST.
  const hosts = [...query.getAll('host'), url.hostname || (env['PGHOST'] ?? '')].filter((host) => host !== '')
  const isOnThisMachine = hosts.every((host) => host.startsWith('/') || host.startsWith('%2F'))
  const isPrivate = hosts.every((host) => isPrivateHost(host, env['HOLDFAST_PRIVATE_HOSTS'] ?? ''))
  const modes = query.getAll('sslmode')
  const isVerified = modes.length > 0 && modes.every((mode) => mode === 'verify-full')
  // One that cannot be decoded is refused where the variable is read.
  const password = decoded(url.password) ?? ''
  return [
    ...(isOnThisMachine || isPrivate || isVerified
      ? []
      : [
          'DATABASE_URL: the connection is not protected: add ?sslmode=verify-full (and sslrootcert=FILE), ' +
            'or name the host in HOLDFAST_PRIVATE_HOSTS',
        ]),
    ...(password !== '' && (password.length < MIN_PASSWORD_LENGTH || password === url.username)
      ? [`DATABASE_URL: the password is a default or shorter than ${MIN_PASSWORD_LENGTH} characters: set another one`]
      : []),
  ]
}

/** A text without its percent escapes; undefined where they are none of UTF-8, at which the driver would throw. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

export const PERCENT_RULE = 'has a % that is no escape: write each % of a password as %25'
export const isDecodable = (text: string): boolean => decoded(text) !== undefined

/** Numbers that cannot be read are refused where the variable is. */
function findRateContradictions(env: Environment): string[] {
  const numberOf = (name: string, unset: number): number => (env[name] === undefined ? unset : Number(env[name]))
  const sources = parseRateSources(env['HOLDFAST_RATE_SOURCES'] ?? '') ?? []
  const least = numberOf('HOLDFAST_RATE_LEAST_SOURCES', RATE_DEFAULTS.leastSources)
  const everyMs = numberOf('HOLDFAST_RATE_EVERY_MS', RATE_DEFAULTS.everyMs)
  return [
    ...(sources.length > 0 && sources.length < least
      ? [`HOLDFAST_RATE_SOURCES: fewer sources than the ${least} that must agree: name more`]
      : []),
    ...(numberOf('HOLDFAST_RATE_MAX_AGE_MS', RATE_DEFAULTS.maxAgeMs) <= everyMs
      ? ['HOLDFAST_RATE_MAX_AGE_MS: must be above HOLDFAST_RATE_EVERY_MS, or each price ends before the next one comes']
      : []),
  ]
}

/** Over a plain connection anyone on the way can set the prices. */
const findPlainSources = (env: Environment, list: string | undefined): string[] =>
  (parseRateSources(list ?? '') ?? [])
    .filter(({ base }) => {
      if (base === undefined) return false
      const { protocol, hostname } = new URL(base)
      return protocol !== 'https:' && !isPrivateHost(hostname, env['HOLDFAST_PRIVATE_HOSTS'] ?? '')
    })
    .map(({ name }) => `HOLDFAST_RATE_SOURCES: ${name} must be https, unless HOLDFAST_PRIVATE_HOSTS names its host`)

/** Over a plain connection anyone on the way can invent payments. */
function findPlainNode(env: Environment, text: string | undefined): string[] {
  const isPlain = (parseNodeUrls(text ?? '') ?? []).some((url) => {
    const { protocol, hostname } = new URL(url)
    return protocol === 'http:' && !isPrivateHost(hostname, env['HOLDFAST_PRIVATE_HOSTS'] ?? '')
  })
  return isPlain ? ['HOLDFAST_ETH_RPC_URL: must be https, unless HOLDFAST_PRIVATE_HOSTS names its host'] : []
}

/** Over a plain connection anyone on the way can show another address to pay to. */
function findPlainPage(name: string, text: string | undefined): string[] {
  if (text === undefined || !URL.canParse(text) || new URL(text).protocol === 'https:') return []
  return [`${name}: must be https`]
}

/** The messages of a webhook are signed and not encrypted: over a plain connection anyone reads the shop's orders. */
const findPlainWebhook = (text: string | undefined): string[] =>
  text !== undefined && URL.canParse(text) && new URL(text).protocol !== 'https:'
    ? ['HOLDFAST_WEBHOOK_URL: must be https']
    : []

/** Whether a connection to this address uses TLS: to every host, except this machine and those named as private. */
export const usesTls = (config: { HOLDFAST_MODE: string; HOLDFAST_PRIVATE_HOSTS: string }, address: string): boolean =>
  config.HOLDFAST_MODE === 'production' && !isReachedInPrivate(address, config.HOLDFAST_PRIVATE_HOSTS)
