import { expect, test } from '@jest/globals'
import { findContradictions, findUnsafeSettings, hostsOf, isReachedInPrivate, isAddress } from './deployment.ts'

const API = new Set(['HOLDFAST_TLS', 'HOLDFAST_TLS_CERT_FILE', 'HOLDFAST_TLS_KEY_FILE', 'HOLDFAST_TLS_CLIENT_CA_FILE'])
const ALL = new Set([
  ...API,
  'HOLDFAST_REFLECTION',
  'DATABASE_URL',
  'HOLDFAST_ETH_RPC_URL',
  'HOLDFAST_RATE_SOURCES',
  'TEMPORAL_TLS_CERT_FILE',
  'HOLDFAST_GRPC_PORT',
  'HOLDFAST_ADMIN_PORT',
  'HOLDFAST_JWT_SECRETS_FILE',
  'HOLDFAST_JWKS_URL',
  'HOLDFAST_WEBHOOK_URL',
  'HOLDFAST_WEBHOOK_SECRET_FILE',
  'HOLDFAST_PAY_URL',
  'HOLDFAST_PAY_SECRETS_FILE',
  'HOLDFAST_PAY_REFUND_URL',
  'HOLDFAST_PAY_PORT',
])
const SAFE = { HOLDFAST_TLS_CERT_FILE: 'cert', HOLDFAST_TLS_KEY_FILE: 'key' }
const namesOf = (problems: readonly string[]): string[] => problems.map((line) => line.split(':')[0] ?? '')

test.each([
  ['db:7233', ['db']],
  ['[::1]:7070', ['[::1]']],
  ['ipv4:127.0.0.1:1,127.0.0.2:2', ['127.0.0.1', '127.0.0.2']],
  ['dns:///api.example:7070', ['api.example']],
  ['dns:api.example:7070', ['api.example']],
  ['unix:/run/api', []],
])('the address %s names the hosts %j', (address, hosts) => {
  expect(hostsOf(address)).toEqual(hosts)
})

test.each([
  ['127.0.0.1:1', '', true],
  ['localhost:1', '', true],
  ['[::1]:1', '', true],
  ['ipv4:127.0.0.1:1,10.0.0.1:1', '', false],
  ['localhost.example:1', '', false],
  ['127.0.0.1.example:1', '', false],
  ['temporal:7233', '', false],
  ['temporal:7233', 'postgres,temporal', true],
  ['temporal.example:7233', 'temporal', false],
  [':7233', '', false],
  ['temporal:7233', 'postgres, temporal', true],
  ['Temporal:7233', 'temporal', true],
  ['[fd00::7]:7233', 'fd00::7', true],
  ['[fd00::7]:7233', '[fd00::7]', true],
  ['temporal:7233', ' ,', false],
])('%s, with the private hosts «%s», is reached in private: %s', (address, privateHosts, isPrivate) => {
  expect(isReachedInPrivate(address, privateHosts)).toBe(isPrivate)
})

test.each([
  ['postgres://a@db/x', false],
  ['postgres://a@db/x?sslmode=require', false],
  ['postgres://a@db/x?sslmode=no-verify', false],
  ['postgres://a@db/x?sslmode=disable', false],
  ['postgres://a@db/x?sslmode=verify-full&sslmode=disable', false],
  ['postgres://a@127.0.0.1/x?host=db', false],
  ['postgres://a@db/x?sslmode=verify-full', true],
  ['postgres://a@127.0.0.1:5432/x', true],
  ['postgres://a@[::1]/x', true],
  ['postgres:///x?host=/run/postgresql', true],
  ['postgres://a@%2Frun%2Fpostgresql/x', true],
  ['postgres://a:a-long-password@db/x?sslmode=verify-full', true],
  ['postgres://a:short@127.0.0.1/x', false],
  ['postgres://app_api_of_shop:app_api_of_shop@127.0.0.1/x', false],
])('the database URL %s is safe: %s', (DATABASE_URL, isSafe) => {
  const problems = findUnsafeSettings({ ...SAFE, DATABASE_URL }, ALL, '')
  expect(problems.length === 0).toBe(isSafe)
  expect(problems.join()).not.toMatch(/short@|postgres:\/\//)
})

test('PGHOST counts where the URL names no host, and a private host is named, not guessed', () => {
  const url = { ...SAFE, DATABASE_URL: 'postgres:///x' }
  expect(findUnsafeSettings(url, ALL, '')).toEqual([])
  expect(namesOf(findUnsafeSettings({ ...url, PGHOST: 'db' }, ALL, ''))).toEqual(['DATABASE_URL'])
  expect(findUnsafeSettings({ ...url, PGHOST: 'db', HOLDFAST_PRIVATE_HOSTS: 'db' }, ALL, '')).toEqual([])
})

test.each([
  ['plaintext', { HOLDFAST_TLS_CERT_FILE: undefined, HOLDFAST_TLS_KEY_FILE: undefined }, '', 'HOLDFAST_TLS_CERT_FILE'],
  ['reflection', { HOLDFAST_REFLECTION: 'on' }, '', 'HOLDFAST_REFLECTION'],
  ['a tracer', { GRPC_TRACE: 'all' }, '', 'GRPC_TRACE'],
  [
    'the library’s own error texts',
    { GRPC_NODE_DEBUG_SEND_ERROR_DETAILS: '1' },
    '',
    'GRPC_NODE_DEBUG_SEND_ERROR_DETAILS',
  ],
  ['weak ciphers', { GRPC_SSL_CIPHER_SUITES: 'NULL' }, '', 'GRPC_SSL_CIPHER_SUITES'],
  ['any certificate', { NODE_TLS_REJECT_UNAUTHORIZED: '0' }, '', 'NODE_TLS_REJECT_UNAUTHORIZED'],
  ['a debugger', {}, '--inspect=0.0.0.0:9229', 'NODE_OPTIONS'],
  ['a debugger that waits', {}, '--max-old-space-size=512 --inspect-brk', 'NODE_OPTIONS'],
  ['TLS 1.0', {}, '--tls-min-v1.0', 'NODE_OPTIONS'],
  ['a log of TLS keys', {}, '--tls-keylog=/tmp/keys', 'NODE_OPTIONS'],
  ['a dump of memory', {}, '--heapsnapshot-signal=SIGUSR2', 'NODE_OPTIONS'],
  [
    'a node in clear beside one with TLS',
    { HOLDFAST_ETH_RPC_URL: 'https://node.example,http://node-2.example:8545' },
    '',
    'HOLDFAST_ETH_RPC_URL',
  ],
  ['a node in clear', { HOLDFAST_ETH_RPC_URL: 'http://node.example:8545' }, '', 'HOLDFAST_ETH_RPC_URL'],
  [
    'a webhook in clear',
    { HOLDFAST_WEBHOOK_URL: 'http://127.0.0.1/hook', HOLDFAST_WEBHOOK_SECRET_FILE: 'file' },
    '',
    'HOLDFAST_WEBHOOK_URL',
  ],
])('production refuses %s', (_what, env, nodeSwitches, name) => {
  expect(namesOf(findUnsafeSettings({ ...SAFE, ...env }, ALL, nodeSwitches))).toEqual([name])
})

test('production takes TLS of its own, and TLS that a proxy ends where the operator says so', () => {
  expect(findUnsafeSettings(SAFE, ALL, '--enable-source-maps --disable-proto=throw')).toEqual([])
  expect(findUnsafeSettings({ HOLDFAST_TLS: 'terminated-by-proxy' }, ALL, '')).toEqual([])
  expect(findUnsafeSettings({ HOLDFAST_REFLECTION: 'on-in-production', ...SAFE }, ALL, '')).toEqual([])
})

test('all problems are listed at once', () => {
  const env = { GRPC_TRACE: 'all', HOLDFAST_REFLECTION: 'on', DATABASE_URL: 'postgres://a:b@db/x' }
  expect(namesOf(findUnsafeSettings(env, ALL, '--inspect'))).toEqual([
    ...['GRPC_TRACE', 'NODE_OPTIONS', 'HOLDFAST_TLS_CERT_FILE', 'HOLDFAST_REFLECTION', 'DATABASE_URL', 'DATABASE_URL'],
  ])
})

test.each([
  ['a certificate without its key', { HOLDFAST_TLS_CERT_FILE: 'cert' }, 'HOLDFAST_TLS_KEY_FILE'],
  ['a key without its certificate', { HOLDFAST_TLS_KEY_FILE: 'key' }, 'HOLDFAST_TLS_CERT_FILE'],
  ['a client certificate without its key', { TEMPORAL_TLS_CERT_FILE: 'cert' }, 'TEMPORAL_TLS_KEY_FILE'],
  ['one port twice', { HOLDFAST_GRPC_PORT: '7070', HOLDFAST_ADMIN_PORT: '7070' }, 'HOLDFAST_ADMIN_PORT'],
  ['TLS here and at a proxy', { ...SAFE, HOLDFAST_TLS: 'terminated-by-proxy' }, 'HOLDFAST_TLS'],
  ['a client CA without TLS', { HOLDFAST_TLS_CLIENT_CA_FILE: 'ca' }, 'HOLDFAST_TLS_CLIENT_CA_FILE'],
  ['no keys for tokens', { HOLDFAST_JWT_SECRETS_FILE: undefined }, 'HOLDFAST_JWT_SECRETS_FILE'],
  ['two families of keys for tokens', { HOLDFAST_JWKS_URL: 'https://issuer.example/keys' }, 'HOLDFAST_JWKS_URL'],
  ['a webhook without secrets', { HOLDFAST_WEBHOOK_URL: 'https://shop.example' }, 'HOLDFAST_WEBHOOK_SECRET_FILE'],
  ['secrets without a webhook', { HOLDFAST_WEBHOOK_SECRET_FILE: 'secrets' }, 'HOLDFAST_WEBHOOK_URL'],
  ['fewer sources of rates than must agree', { HOLDFAST_RATE_SOURCES: 'kraken' }, 'HOLDFAST_RATE_SOURCES'],
  [
    'rates that end before the next ones come',
    { HOLDFAST_RATE_SOURCES: 'kraken,coinbase', HOLDFAST_RATE_MAX_AGE_MS: '20000' },
    'HOLDFAST_RATE_MAX_AGE_MS',
  ],
  ['required certificates of no CA', { ...SAFE, HOLDFAST_TLS_CLIENT_CERT: 'required' }, 'HOLDFAST_TLS_CLIENT_CERT'],
])('%s is a contradiction in any mode', (_what, env, name) => {
  expect(namesOf(findContradictions({ HOLDFAST_JWT_SECRETS_FILE: 'secrets', ...env }, ALL))).toEqual([name])
})

test('one source of rates is enough where the configuration says so', () => {
  const env = {
    HOLDFAST_JWT_SECRETS_FILE: 'secrets',
    HOLDFAST_RATE_SOURCES: 'kraken',
    HOLDFAST_RATE_LEAST_SOURCES: '1',
  }
  expect(findContradictions(env, ALL)).toEqual([])
})

test.each([
  ['kraken,coinbase=https://mirror.example', '', []],
  ['kraken,coinbase=http://mirror.example', '', ['HOLDFAST_RATE_SOURCES']],
  ['kraken,coinbase=http://mirror.example', 'mirror.example', []],
  ['kraken=http://127.0.0.1:8080', '', []],
])('in production, the sources of rates %s are reached over TLS (private: «%s»)', (list, hosts, names) => {
  const env = { ...SAFE, HOLDFAST_RATE_SOURCES: list, HOLDFAST_PRIVATE_HOSTS: hosts }
  expect(namesOf(findUnsafeSettings(env, ALL, ''))).toEqual(names)
})

test('a process is asked only about what it reads', () => {
  const env = { HOLDFAST_TLS_CERT_FILE: 'cert', HOLDFAST_TLS: 'terminated-by-proxy', HOLDFAST_REFLECTION: 'on' }
  expect(findContradictions(env, new Set(['DATABASE_URL']))).toEqual([])
  expect(findUnsafeSettings(env, new Set(['DATABASE_URL']), '')).toEqual([])
})

test.each([
  ['http://pay.example.com', 'http://shop.example.com/refund', ['HOLDFAST_PAY_URL', 'HOLDFAST_PAY_REFUND_URL']],
  ['http://127.0.0.1:7072', undefined, ['HOLDFAST_PAY_URL']],
  ['https://pay.example.com', 'https://shop.example.com/refund', []],
  [undefined, undefined, []],
])('the payment page at %s with refunds at %s is refused in production for %j', (page, refund, names) => {
  const env = { ...SAFE, HOLDFAST_PAY_URL: page, HOLDFAST_PAY_REFUND_URL: refund }
  expect(namesOf(findUnsafeSettings(env, ALL, ''))).toEqual(names)
})

test('a payment page without secrets, or on the port of the admins, is a contradiction', () => {
  const env = { HOLDFAST_JWT_SECRETS_FILE: 'file', HOLDFAST_PAY_URL: 'https://pay.example.com' }
  expect(namesOf(findContradictions(env, ALL))).toEqual(['HOLDFAST_PAY_SECRETS_FILE'])
  const ports = { HOLDFAST_ADMIN_PORT: '7071', HOLDFAST_PAY_PORT: '7071' }
  const listeners = { ...ports, HOLDFAST_ADMIN_BIND: '127.0.0.1', HOLDFAST_PAY_BIND: '0.0.0.0' }
  expect(namesOf(findContradictions({ HOLDFAST_JWT_SECRETS_FILE: 'file', ...listeners }, ALL))).toEqual([
    'HOLDFAST_PAY_PORT',
  ])
  const apart = { ...listeners, HOLDFAST_ADMIN_BIND: '127.0.0.1', HOLDFAST_PAY_BIND: '127.0.0.2' }
  expect(findContradictions({ HOLDFAST_JWT_SECRETS_FILE: 'file', ...apart }, ALL)).toEqual([])
})

test.each([
  ['127.0.0.1:7233', true],
  ['temporal.internal:7233', true],
  ['[2001:db8::1]:7233', true],
  ['dns:///api:7070', true],
  ['ipv4:192.0.2.1:7070,192.0.2.2:7070', true],
  ['unix:/run/api.sock', true],
  ['temporal.internal', false],
  ['127.0.0.1', false],
  ['[::1]', false],
  ['2001:db8::1', false],
  ['api:0', false],
  ['api:65536', false],
  ['api:', false],
  ['http://api:7070', false],
  ['192.0.2.1:7070,192.0.2.2', false],
  ['', false],
])('the address %j names its ports: %s', (address, expected) => {
  expect(isAddress(address)).toBe(expected)
})
