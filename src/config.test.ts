import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from '@jest/globals'
import { adminCidrsOf, ConfigError, loadConfig, variablesOf } from './config.ts'
import { usesTls } from './domain/deployment.ts'

const folder = mkdtempSync(join(tmpdir(), 'holdfast-config-'))
afterAll(() => {
  rmSync(folder, { recursive: true })
})

const MIGRATE = { DATABASE_URL: 'postgresql://migrator@db:5432/holdfast', HOLDFAST_PRIVATE_HOSTS: 'db,node' }

/** What loading throws, as the operator reads it. */
function refusal(load: () => unknown): string {
  try {
    load()
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  throw new Error('it was accepted')
}

const loadsWith = (process: Parameters<typeof loadConfig>[0], env: NodeJS.ProcessEnv): boolean => {
  try {
    loadConfig(process, env)
    return true
  } catch {
    return false
  }
}

test('a process that lacks a variable says which, and starts nothing', () => {
  const message = refusal(() => loadConfig('watcher', { ...MIGRATE, HOLDFAST_ETH_RPC_URL: 'http://node:8545' }))
  expect(message).toContain('watcher cannot start')
  expect(message).toContain('HOLDFAST_SOURCE_SECRET_FILE')
  expect(message).toContain('HOLDFAST_WATCHER_TOKEN_FILE')
  expect(message).not.toContain('HOLDFAST_ETH_RPC_URL')
})

test.each([
  ['watcher', 'HOLDFAST_API_ADDRESS'],
  ['worker', 'TEMPORAL_ADDRESS'],
  ['api', 'TEMPORAL_ADDRESS'],
  ['cli', 'HOLDFAST_API'],
] as const)('the %s refuses %s without a port, and says what to write', (name, variable) => {
  const message = refusal(() => loadConfig(name, { ...MIGRATE, [variable]: 'shop.internal' }))
  expect(message).toContain(`${variable}: must be HOST:PORT, such as `)
  expect(message).not.toContain('shop.internal')
})

test('the password of the database is read from its file, and any character in it survives', () => {
  const file = join(folder, 'password')
  writeFileSync(file, 'p@ss/w:rd%41 ?#\n')
  const { DATABASE_URL } = loadConfig('migrate', { ...MIGRATE, DATABASE_PASSWORD_FILE: file })
  const url = new URL(DATABASE_URL)
  expect(decodeURIComponent(url.password)).toBe('p@ss/w:rd%41 ?#')
  expect(`${url.username} ${url.host}${url.pathname}`).toBe('migrator db:5432/holdfast')
})

test.each(['p%zz', 'p%ff', '100%'])(
  'the password %s, no escape of a URL, is refused with all other problems',
  (password) => {
    const env = { DATABASE_URL: `postgres://a:${password}@db/x`, GRPC_TRACE: 'all', HOLDFAST_PRIVATE_HOSTS: 'db' }
    const message = refusal(() => loadConfig('migrate', env))
    expect(message).toContain('  DATABASE_URL: has a % that is no escape: write each % of a password as %25\n')
    expect(message).toContain('  GRPC_TRACE: ')
    expect(message).not.toContain(password)
  },
)

test('a password file that cannot be read is named by its variable, never by its content', () => {
  const message = refusal(() => loadConfig('migrate', { ...MIGRATE, DATABASE_PASSWORD_FILE: '/nowhere/password' }))
  expect(message).toMatch(/^ {2}DATABASE_PASSWORD_FILE: cannot read the file it names$/m)
})

test('a refusal says of each variable what is wrong with it, and never its value', () => {
  const env = { DATABASE_URL: 'localhost', HOLDFAST_GRPC_PORT: 'abc', HOLDFAST_DRAIN_MS: '60001', HOLDFAST_BIND: '' }
  const lines = refusal(() => loadConfig('api', env)).split('\n')
  expect(lines).toEqual(
    expect.arrayContaining([
      'api cannot start; correct these variables (docs/configuration.md has all):',
      '  DATABASE_URL: must be a URL, such as postgres://ROLE@HOST/DATABASE or http://HOST:PORT',
      '  HOLDFAST_GRPC_PORT: must be a number',
      '  HOLDFAST_DRAIN_MS: must be at most 60000',
      '  HOLDFAST_BIND: must not be empty',
    ]),
  )
  expect(lines.join()).not.toContain('abc')
})

test('the configuration is frozen', () => {
  expect(Object.isFrozen(loadConfig('migrate', MIGRATE))).toBe(true)
})

test('fewer confirmations than the table demands are refused', () => {
  const message = refusal(() => loadConfig('watcher', { ...MIGRATE, HOLDFAST_ETH_CONFIRMATIONS: '11' }))
  expect(message).toContain('HOLDFAST_ETH_CONFIRMATIONS')
  // What remains is refused for its other variables.
  for (const taken of ['12', '13'])
    expect(refusal(() => loadConfig('watcher', { ...MIGRATE, HOLDFAST_ETH_CONFIRMATIONS: taken }))).not.toContain(
      'HOLDFAST_ETH_CONFIRMATIONS',
    )
})

test.each(['GRPC_TRACE', 'GRPC_NODE_TRACE', 'GRPC_NODE_DEBUG_SEND_ERROR_DETAILS'])(
  '%s, which prints tokens, keeps a process in production from starting',
  (name) => {
    expect(refusal(() => loadConfig('migrate', { ...MIGRATE, [name]: 'all' }))).toContain(name)
    expect(loadConfig('migrate', { ...MIGRATE, [name]: 'all', HOLDFAST_MODE: 'development' }).DATABASE_URL).toBe(
      MIGRATE.DATABASE_URL,
    )
  },
)

test('every number has a bound: what a timer or the database could not hold is refused', () => {
  for (const process of ['api', 'worker', 'keys', 'watcher', 'sealer', 'payer'] as const) {
    const variables = variablesOf(process)
    const required = Object.fromEntries(
      variables.flatMap(({ name, isRequired }) => (isRequired ? [[name, MIGRATE.DATABASE_URL]] : [])),
    )
    if ('HOLDFAST_ETH_RPC_URL' in required) required['HOLDFAST_ETH_RPC_URL'] = 'http://node:8545'
    const takes = (name: string, value: string) =>
      loadsWith(process, {
        ...{ ...required, HOLDFAST_JWT_SECRETS_FILE: 'secrets', HOLDFAST_MODE: 'development' },
        [name]: value,
      })
    const numbers = variables.filter(
      ({ name }) => !takes(name, 'no-number') && [1, 1_000, 210_000].some((value) => takes(name, String(value))),
    )
    expect(numbers.length).toBeGreaterThan(2)
    expect(numbers.filter(({ name }) => takes(name, '1e16'))).toEqual([])
  }
})

const filesOf = (process: 'api'): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(
    variablesOf(process).flatMap(({ name, isRequired }) => (isRequired ? [[name, MIGRATE.DATABASE_URL]] : [])),
  ),
  ...{ HOLDFAST_PRIVATE_HOSTS: 'db', HOLDFAST_TLS: 'terminated-by-proxy', HOLDFAST_JWT_SECRETS_FILE: 'secrets' },
})

describe('the networks of the admin port', () => {
  const cidrsIn = (env: NodeJS.ProcessEnv) => adminCidrsOf(loadConfig('api', { ...filesOf('api'), ...env }))

  test('are none in production unless they are given, and this machine in development', () => {
    expect(cidrsIn({})).toEqual([])
    expect(cidrsIn({ HOLDFAST_ADMIN_CIDRS: '' })).toEqual([])
    expect(cidrsIn({ HOLDFAST_MODE: 'development' })).toEqual(['127.0.0.0/8', '::1/128'])
  })

  test('are read from a list, in development too', () => {
    const list = { HOLDFAST_ADMIN_CIDRS: ' 10.0.0.0/8, fd00::/8' }
    expect(cidrsIn(list)).toEqual(['10.0.0.0/8', 'fd00::/8'])
    expect(cidrsIn({ ...list, HOLDFAST_MODE: 'development' })).toEqual(['10.0.0.0/8', 'fd00::/8'])
  })

  test.each(['10.0.0.1', '10.0.0.0/33', '010.0.0.0/8', '::ffff:10.0.0.0/104', 'fe80::1%eth0/64', 'office', '1.2.3.4/'])(
    'are refused where one of them is «%s»',
    (word) => {
      for (const name of ['HOLDFAST_ADMIN_CIDRS', 'HOLDFAST_TRUSTED_PROXIES'])
        expect(refusal(() => loadConfig('api', { ...filesOf('api'), [name]: `10.0.0.0/8,${word}` }))).toContain(
          `${name}: must be networks in CIDR notation`,
        )
    },
  )
})

test.each(['0.0.0.0/0', '::/0'])('no configuration trusts every address as a proxy: %s', (cidr) => {
  const message = refusal(() => loadConfig('api', { ...filesOf('api'), HOLDFAST_TRUSTED_PROXIES: cidr }))
  expect(message).toContain('HOLDFAST_TRUSTED_PROXIES: must not trust every address')
  expect(loadConfig('api', filesOf('api')).HOLDFAST_TRUSTED_PROXIES).toBe('')
})

test('production is the mode of a process that is told nothing', () => {
  expect(variablesOf('api').find(({ name }) => name === 'HOLDFAST_MODE')?.default).toBe('production')
})

test('a list of limits that is none is refused, with an example of one', () => {
  const API = { DATABASE_URL: 'postgresql://app_api@db:5432/holdfast', HOLDFAST_LIMITS: 'order=5' }
  expect(refusal(() => loadConfig('api', API))).toContain('such as order=60/600/32')
})

/** An empty one is a list of nothing. */
const LISTS = [
  'HOLDFAST_ADMIN_CIDRS',
  'HOLDFAST_TRUSTED_PROXIES',
  'HOLDFAST_LIMITS',
  'HOLDFAST_PRIVATE_HOSTS',
  'HOLDFAST_RATE_SOURCES',
]

test('an empty variable is not 0 and not unset: the refusal names it', () => {
  const empties = [
    ...['HOLDFAST_GRPC_PORT', 'HOLDFAST_ADMIN_PORT', 'HOLDFAST_METRICS_PORT', 'HOLDFAST_DRAIN_MS', 'HOLDFAST_BIND'],
    ...['HOLDFAST_TLS_CERT_FILE', 'HOLDFAST_ENABLED_ASSETS', 'HOLDFAST_ETH_RATE'],
  ]
  for (const process of ['api', 'worker', 'keys', 'watcher', 'sealer', 'payer', 'migrate'] as const) {
    for (const { name } of variablesOf(process).filter(({ name: each }) => !LISTS.includes(each)))
      for (const value of ['', ' '])
        expect(refusal(() => loadConfig(process, { ...MIGRATE, [name]: value }))).toContain(
          `  ${name}: must not be empty`,
        )
  }
  expect(variablesOf('api').map(({ name }) => name)).toEqual(expect.arrayContaining(empties))
})

test.each([
  ['::', true],
  ['0.0.0.0', true],
  ['::1', true],
  ['localhost', false],
  ['[::]', false],
  ['127.0.0.1:80', false],
])('the address %s to listen on is taken: %s', (address, isTaken) => {
  const message = refusal(() => loadConfig('api', { HOLDFAST_BIND: address, HOLDFAST_METRICS_BIND: address }))
  for (const name of ['HOLDFAST_BIND', 'HOLDFAST_METRICS_BIND'])
    expect(message.includes(`${name}: must be an IP address, such as 127.0.0.1, 0.0.0.0 or ::`)).toBe(!isTaken)
})

test.each([
  ['the default of another', { HOLDFAST_GRPC_PORT: '7071' }, true],
  ['the same on every address', { HOLDFAST_GRPC_PORT: '443', HOLDFAST_METRICS_PORT: '443', HOLDFAST_BIND: '::' }, true],
  [
    'the same on an address of its own',
    {
      HOLDFAST_GRPC_PORT: '443',
      HOLDFAST_ADMIN_PORT: '443',
      HOLDFAST_BIND: '10.0.0.1',
      HOLDFAST_ADMIN_BIND: '10.0.0.2',
    },
    false,
  ],
  ['free for both', { HOLDFAST_GRPC_PORT: '0', HOLDFAST_ADMIN_PORT: '0' }, false],
])('a port that is %s is taken: %j, %s', (_what, env, isTaken) => {
  expect(/_PORT: .*\bport\b/.test(refusal(() => loadConfig('api', env)))).toBe(isTaken)
})

test('one refusal lists what is missing, what is unsafe, and what the caller finds in the files', () => {
  const env = {
    ...{ DATABASE_URL: 'postgres://a@db/x', GRPC_TRACE: 'all', HOLDFAST_DRAIN_MS: '-1' },
    ...{ HOLDFAST_ETH_RATE: '0', HOLDFAST_ENABLED_ASSETS: 'ETH,DOGE' },
  }
  const message = refusal(() => loadConfig('api', env, (_env, mode) => [`the secret is bad in ${mode}`]))
  for (const part of [
    'DATABASE_URL',
    'GRPC_TRACE',
    'HOLDFAST_DRAIN_MS',
    'HOLDFAST_TLS_CERT_FILE',
    'HOLDFAST_SOURCES_FILE',
    'HOLDFAST_ETH_RATE',
    'HOLDFAST_ENABLED_ASSETS',
    'HOLDFAST_JWT_SECRETS_FILE',
  ])
    expect(message).toContain(`  ${part}: `)
  expect(message).toContain('  the secret is bad in production')
})

test('TLS goes to every host in production, except this machine and those named as private', () => {
  const config = { HOLDFAST_MODE: 'production', HOLDFAST_PRIVATE_HOSTS: 'api' }
  expect(['api.example:1', 'api:1', '127.0.0.1:1'].map((address) => usesTls(config, address))).toEqual([
    ...[true, false, false],
  ])
  expect(usesTls({ ...config, HOLDFAST_MODE: 'development' }, 'api.example:1')).toBe(false)
})
