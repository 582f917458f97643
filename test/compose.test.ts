// Static checks of docker-compose.yml and the Dockerfile, without a container engine: everything they name must exist.
// `npm run check` also loads the file with the Compose specification's own library (tools/compose-check).

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { adminCidrsOf, loadConfig, variablesOf, type ProcessName } from '../src/config.ts'
import { createAddressSet } from '../src/grpc/peer.ts'
import { loadSealer, loadSealerKeys } from '../src/keyvault/checkpoint.ts'
import { loadPublicKeys, loadTextSigner } from '../src/keyvault/ed25519.ts'
import { loadRing } from '../src/keyvault/ring.ts'
import { parseSecret } from '../src/keyvault/secret.ts'
import { loadSources } from '../src/keyvault/signature.ts'
import { loadTokenSecrets } from '../src/keyvault/token.ts'
import { NODE_SWITCHES } from '../src/servers/process.ts'
import { NAMESPACE_RETENTION_HOURS, SEARCH_ATTRIBUTES } from '../src/servers/namespace.ts'
import { findSources, readSource, ROOT } from './support/source.ts'

type Service = {
  image: string
  command: string[]
  environment?: Record<string, string>
  secrets?: string[]
  volumes?: string[]
  ports?: string[]
  networks?: string[]
  restart?: string
  depends_on?: Record<string, { condition: string }>
  ulimits?: { core?: number }
}
type Network = { ipam?: { config: { subnet: string; gateway: string }[] } }
type Compose = {
  services: Record<string, Service>
  secrets: Record<string, { file: string }>
  networks: Record<string, Network>
}

const { services, secrets, networks: allNetworks } = parse(readSource('docker-compose.yml'), { merge: true }) as Compose
const ours = Object.entries(services).filter(([, { image }]) => image.startsWith('holdfast:'))
const processOf = ({ command }: Service): string => command[0]?.replace(/^dist\/main\/(\w+)\.js$/, '$1') ?? ''
const portIn = (processName: ProcessName, name: string): string | undefined =>
  variablesOf(processName).find((variable) => variable.name === name)?.default

let secretsDir: string
beforeAll(() => {
  secretsDir = mkdtempSync(join(tmpdir(), 'holdfast-secrets-'))
  execFileSync(process.execPath, [join(ROOT, 'ops/make-secrets.mjs'), secretsDir])
})

afterAll(() => {
  rmSync(secretsDir, { recursive: true })
})

test('the processes of production each have a service', () => {
  expect(ours.map(([, service]) => processOf(service))).toEqual([
    'migrate',
    'api',
    'worker',
    'keys',
    'watcher',
    'sealer',
    'payer',
  ])
})

const [ONCE, ALWAYS] = ['on-failure:5', 'unless-stopped']

describe.each(ours)('the service %s', (_name, service) => {
  const processName = processOf(service) as ProcessName
  const environment = service.environment ?? {}

  test('is scraped by Prometheus, if it goes on running', () => {
    const scraped = readSource('ops/prometheus/prometheus.yaml').includes(
      `'${processName}:${environment['HOLDFAST_METRICS_PORT']}'`,
    )
    expect(scraped).toBe(service.restart === ALWAYS)
  })

  test('writes only to volumes whose folder the image gives to its user', () => {
    const folders = (service.volumes ?? [])
      .filter((volume) => !volume.startsWith('.'))
      .map((volume) => volume.split(':')[1]?.replace('/app/', '') ?? '')
    const [, owned = ''] = /^RUN mkdir .*&& chown node:node (.+)$/m.exec(readSource('Dockerfile')) ?? []
    expect(folders.filter((folder) => !owned.split(' ').includes(folder))).toEqual([])
  })

  test('runs a file that the image has', () => {
    expect(findSources(`src/main/${processName}.ts`)).toHaveLength(1)
  })

  test('sets only variables that its process reads, and all that it needs', () => {
    const variables = variablesOf(processName)
    expect(Object.keys(environment).filter((name) => !variables.some((known) => known.name === name))).toEqual([])
    expect(variables.filter(({ name, isRequired }) => isRequired && !(name in environment))).toEqual([])
  })

  test('has the secrets that its variables name, and no others', () => {
    const named = Object.values(environment).flatMap((value) => /^\/run\/secrets\/(.+)$/.exec(value)?.[1] ?? [])
    expect(named.toSorted()).toEqual((service.secrets ?? []).toSorted())
  })

  test('logs in by a role that gets its password from the file it is given', () => {
    const { username, password } = new URL(environment['DATABASE_URL'] ?? '')
    const sql = readSource(username === 'holdfast_migrator' ? 'ops/postgres/init.sql' : 'ops/postgres/login.sql')
    const secret = environment['DATABASE_PASSWORD_FILE']
    expect(password).toBe('')
    expect(sql).toContain(`cat ${secret}`)
    expect(sql).toMatch(
      new RegExp(`role ${username} login[^;]* password :'${username.replace(/^holdfast_/, '')}_password'`),
    )
  })

  test('writes no core dump, which would hold its keys', () => {
    expect(service.ulimits).toEqual({ core: 0 })
  })

  test.each(['', 'node'])('reaches without TLS only services of this file, and «%s» that is named', (named) => {
    const list = environment['HOLDFAST_PRIVATE_HOSTS']?.replace(
      /\$\{\w+:-(.*)\}/,
      (_all, unset: string) => named || unset,
    )
    const hosts = (list ?? '').split(',').filter((host) => host !== '')
    expect(hosts.filter((host) => !(host in services) && host !== named)).toEqual([])
    const addresses = ['TEMPORAL_ADDRESS', 'HOLDFAST_API_ADDRESS'].map((name) => environment[name]?.split(':')[0])
    const needed = ['postgres', ...addresses.filter((host) => host !== undefined)]
    expect(hosts).toEqual(expect.arrayContaining(needed))
  })

  test('listens where others look for it', () => {
    for (const port of service.ports ?? []) {
      const [address, outer, inner] = port.split(':')
      expect(address).toBe('127.0.0.1')
      expect(outer).toBe(inner)
      expect(['GRPC', 'ADMIN', 'PAY'].map((name) => portIn('api', `HOLDFAST_${name}_PORT`))).toContain(inner)
    }
    expect(environment['HOLDFAST_METRICS_PORT']).toBe(portIn(processName, 'HOLDFAST_METRICS_PORT'))
  })
})

const [DONE, HEALTHY] = ['service_completed_successfully', 'service_healthy']
const PREPARED = { logins: DONE, 'temporal-namespaces': DONE }

/** Each service after merging: restart policy, dependencies, networks, volumes. */
const MERGED: Readonly<Record<string, [string, Record<string, string>, string[], string[]]>> = {
  postgres: [
    ALWAYS,
    {},
    ['database'],
    ['postgres:/var/lib/postgresql', './ops/postgres/init.sql:/docker-entrypoint-initdb.d/init.sql:ro'],
  ],
  'temporal-schema': [ONCE, { postgres: HEALTHY }, ['database'], ['./ops/temporal:/ops:ro']],
  temporal: [ALWAYS, { 'temporal-schema': DONE }, ['database', 'engine'], ['./ops/temporal:/ops:ro']],
  'temporal-namespaces': [ONCE, { temporal: HEALTHY }, ['engine'], ['./ops/temporal:/ops:ro']],
  'temporal-ui': [ALWAYS, { temporal: HEALTHY }, ['engine', 'outside'], []],
  migrate: [ONCE, { postgres: HEALTHY }, ['database'], []],
  logins: [ONCE, { migrate: DONE }, ['database'], ['./ops/postgres:/ops:ro']],
  api: [ALWAYS, PREPARED, ['database', 'engine', 'outside'], []],
  worker: [ALWAYS, PREPARED, ['database', 'engine'], []],
  keys: [ALWAYS, { logins: DONE }, ['database'], []],
  watcher: [ALWAYS, { logins: DONE, api: HEALTHY }, ['database', 'outside'], ['./secrets/watcher_token:/run/token:ro']],
  sealer: [ALWAYS, { logins: DONE }, ['database'], ['audit:/app/audit']],
  payer: [ALWAYS, { logins: DONE }, ['database', 'outside'], ['payout:/app/payout']],
}

test('after merging, each service is started again, waits, reaches and mounts as the table says', () => {
  const merged = Object.entries(services).map(([name, { restart, depends_on = {}, networks, volumes = [] }]) => {
    const waitsFor = Object.fromEntries(Object.entries(depends_on).map(([other, { condition }]) => [other, condition]))
    return [name, [restart, waitsFor, networks, volumes]]
  })
  expect(Object.fromEntries(merged)).toEqual(MERGED)
})

describe('the api behind the proxy that ends TLS', () => {
  const environment = services['api']?.environment ?? {}
  /** The value with no variable of the caller set. */
  const unset = (name: string): string => /^\$\{\w+:-(.*)\}$/.exec(environment[name] ?? '')?.[1] ?? 'not a default'
  const [outside] = allNetworks['outside']?.ipam?.config ?? []

  test('trusts the gateway that published ports are reached through, and no other address', () => {
    expect(unset('HOLDFAST_TRUSTED_PROXIES')).toBe(`${outside?.gateway}/32`)
    const inside = createAddressSet([outside?.subnet ?? ''])
    expect(inside.has(outside?.gateway ?? '')).toBe(true)
  })

  test('admits no caller to the admin port, until networks are named', () => {
    expect(unset('HOLDFAST_ADMIN_CIDRS')).toBe('')
    const env = {
      ...environment,
      HOLDFAST_TRUSTED_PROXIES: unset('HOLDFAST_TRUSTED_PROXIES'),
      HOLDFAST_LIMITS: unset('HOLDFAST_LIMITS'),
      HOLDFAST_STEP_UP_TOTAL: unset('HOLDFAST_STEP_UP_TOTAL'),
      HOLDFAST_PAY_URL: unset('HOLDFAST_PAY_URL'),
      HOLDFAST_ADMIN_CIDRS: '',
      HOLDFAST_RATE_SOURCES: unset('HOLDFAST_RATE_SOURCES'),
    }
    const password = join(secretsDir, 'app_api_password')
    const config = loadConfig('api', { ...env, DATABASE_PASSWORD_FILE: password })
    expect(adminCidrsOf(config)).toEqual([])
    expect(config.HOLDFAST_MODE).toBe('production')
  })
})

test('what others wait for to end is not started again once it has', () => {
  const awaited = Object.values(services).flatMap(({ depends_on = {} }) =>
    Object.entries(depends_on).flatMap(([name, { condition }]) => (condition === DONE ? [name] : [])),
  )
  expect([...new Set(awaited)].filter((name) => services[name]?.restart !== ONCE)).toEqual([])
  expect(awaited).toContain('migrate')
})

test('every secret is defined, made by ops/make-secrets.mjs, and given to someone', () => {
  const used = new Set(Object.values(services).flatMap((service) => service.secrets ?? []))
  // The token is its issuer's, and the public keys are for clients.
  const others = new Set(['watcher_token', 'quote_public_keys.pem'])
  const made = readdirSync(secretsDir).filter((name) => !others.has(name))
  expect(Object.keys(secrets).toSorted()).toEqual([...used].toSorted())
  expect(
    Object.values(secrets)
      .map(({ file }) => file.replace('./secrets/', ''))
      .toSorted(),
  ).toEqual(made.toSorted())
})

test('production accepts the secrets that ops/make-secrets.mjs makes', () => {
  const read = (name: string): string => readFileSync(join(secretsDir, name), 'utf8').trim()
  expect(loadTokenSecrets(read('jwt_secrets.json'), 'production').keys).toHaveLength(1)
  for (const name of ['pii_keyring.json', 'key_keyring.json']) loadRing(name, read(name), 'production')
  // The default of ten is too few for a shop: a payment takes about one report.
  expect(loadSources(read('sources.json'), 'production').get('watcher-1')?.reportsPerMinute).toBe(120)
  for (const name of ['order_id_secret', 'source_secret']) parseSecret(name, read(name), 'production')
  const { keyId } = loadSealer('seal key', read('seal_key.pem'), 'production')
  expect(loadSealerKeys('seal keys', read('seal_public_keys.pem')).has(keyId)).toBe(true)
  const quoteKey = loadTextSigner('quote key', read('quote_key.pem'), 'production')
  expect(loadPublicKeys('quote keys', read('quote_public_keys.pem')).has(quoteKey.keyId)).toBe(true)
  const refundKey = loadTextSigner('refund key', read('refund_key.pem'), 'production')
  expect(loadPublicKeys('refund keys', read('refund_public_keys.pem')).has(refundKey.keyId)).toBe(true)
})

test('making secrets again changes none of them', () => {
  const contents = (): string[] =>
    readdirSync(secretsDir)
      .filter((name) => name !== 'watcher_token')
      .map((name) => readFileSync(join(secretsDir, name), 'utf8'))
  const before = contents()
  execFileSync(process.execPath, [join(ROOT, 'ops/make-secrets.mjs'), secretsDir])
  expect(contents()).toEqual(before)
})

test('every file that is mounted exists', () => {
  const mounted = Object.values(services)
    .flatMap((service) => service.volumes ?? [])
    .flatMap((volume) => /^\.\/([^:]+):/.exec(volume)?.[1] ?? [])
    .filter((path) => !path.startsWith('secrets/'))
  expect(mounted.filter((path) => findSources(path).length === 0)).toEqual([])
  const commands = Object.values(services).map(({ command }) => command?.join(' ') ?? '')
  const named = commands.flatMap((command) => [...command.matchAll(/\/ops\/([\w.-]+)/g)].map(([, name]) => name))
  expect(named.filter((name) => findSources(`ops/*/${name}`).length !== 1)).toEqual([])
})

test('the images of Temporal are those of the servers that tests run on', () => {
  const goMod = readSource('tools/temporal/go.mod')
  const versionOf = (path: string): string | undefined => new RegExp(`${path} v(\\S+)`).exec(goMod)?.[1]
  const server = versionOf('go.temporal.io/server')
  expect(services['temporal']?.image).toBe(`temporalio/server:${server}`)
  expect(services['temporal-schema']?.image).toBe(`temporalio/admin-tools:${server}`)
  expect(services['temporal-namespaces']?.image).toBe(`temporalio/admin-tools:${server}`)
  expect(services['temporal-ui']?.image).toBe(`temporalio/ui:${versionOf('github.com/temporalio/ui-server/v2')}`)
})

test('the namespaces and search attributes are those that the servers of our own get', () => {
  const script = readSource('ops/temporal/namespaces.sh')
  const namespaces = [...script.matchAll(/^ensure_namespace (\S+) (\d+)h$/gm)].map(([, name, hours]) => [
    name,
    Number(hours),
  ])
  expect(Object.fromEntries(namespaces)).toEqual(NAMESPACE_RETENTION_HOURS)
  const attributes = /for attribute in (.+); do/
    .exec(script)?.[1]
    ?.split(' ')
    .map((word) => word.split(':')[0])
  expect(attributes).toEqual(Object.keys(SEARCH_ATTRIBUTES))
})

describe('the Dockerfile', () => {
  const dockerfile = readSource('Dockerfile')

  test('copies only what exists, and what .dockerignore lets through', () => {
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(
      ([, paths]) => paths?.split(' ') ?? [],
    )
    expect(copied.filter((path) => findSources(path).length === 0)).toEqual([])
    const allowed = readSource('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
    expect(copied.toSorted()).toEqual(allowed.map((line) => line.slice(1)).toSorted())
  })

  test('runs only scripts that package.json has', () => {
    const { scripts } = JSON.parse(readSource('package.json')) as { scripts: Record<string, string> }
    const run = [...dockerfile.matchAll(/npm run (\S+)/g)].map(([, name]) => name ?? '')
    expect(run.filter((name) => !(name in scripts))).toEqual([])
  })

  test('starts Node with the switches of every process', () => {
    const [, entry] = /^ENTRYPOINT (.+)$/m.exec(dockerfile) ?? []
    expect(JSON.parse(entry ?? '')).toEqual(['node', '--enable-source-maps', ...NODE_SWITCHES])
    // An entrypoint of a service's own would start Node without them.
    expect(ours.filter(([, service]) => 'entrypoint' in service)).toEqual([])
  })

  test('ends as a user without rights, on the Node and version of this repository', () => {
    const { version, devDependencies } = JSON.parse(readSource('package.json')) as {
      version: string
      devDependencies: Record<string, string>
    }
    expect(dockerfile).toMatch(/^USER node$/m)
    const major = devDependencies['node']?.split('.')[0]
    expect(dockerfile.match(/^FROM (\S+)/gm)).toEqual(Array(2).fill(`FROM node:${major}-bookworm-slim`))
    expect(ours.map(([, { image }]) => image)).toEqual(
      Array(ours.length).fill(`holdfast:\${HOLDFAST_VERSION:-${version}}`),
    )
  })
})
