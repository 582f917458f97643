// Code rules of this repository that the linter cannot express. CONTRIBUTING.md gives their reasons.

import { describe, expect, test } from '@jest/globals'
import { EVENTS, ORDER_STATUSES, OUTCOMES, TRANSITIONS } from '../src/domain/order.ts'
import { METHODS } from '../src/grpc/method.ts'
import { PERMISSIONS } from '../src/grpc/permission.ts'
import { SCHEMAS } from '../src/grpc/schema.ts'
import { findCircle, findSources, importsOf, readSource } from './support/source.ts'

/** Production code of src: without tests, the suite that every chain adapter must pass, and generated code. */
const SOURCES = findSources('src/**/*.ts').filter((path) => !/\.test\.ts$|\/contract\.ts$|\/gen\//.test(path))
const roomOf = (path: string): string => path.split('/')[1] ?? ''

const ANY_NODE = 'node:'
/**
 * Who may import whom. A word allows that room, file or package and what is below it; `type` before it allows only
 * `import type`. Every room may also import itself. No room imports main; main and the tests import anything.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'config.ts': ['domain', 'config_schema', 'zod', ANY_NODE],
  'config_schema.ts': ['domain', 'zod', ANY_NODE],
  'variable.ts': ['type config', 'type domain'],
  'telemetry.ts': ['pino', 'prom-client'],
  // Relays, watcher, development servers and main repeat turns: one loop for all of them.
  'repeat.ts': [ANY_NODE],
  domain: [],
  workflows: ['domain', 'type activities', '@temporalio/workflow', '@temporalio/common'],
  activities: [
    'domain',
    'db',
    'keyvault',
    'type chain/client',
    'telemetry',
    '@temporalio/activity',
    '@temporalio/common',
    ANY_NODE,
  ],
  grpc: [
    ...['domain', 'db', 'keyvault', 'audit/proof', 'telemetry', 'workflows/message'],
    ...[
      '@grpc/grpc-js',
      '@bufbuild/protobuf',
      'grpc-health-check',
      'zod',
      '@temporalio/client',
      '@temporalio/common',
      ANY_NODE,
    ],
  ],
  relay: [
    ...['domain', 'db', 'telemetry', 'repeat', 'workflows/message'],
    ...['@temporalio/client', '@temporalio/common', ANY_NODE],
  ],
  db: ['domain', 'slonik', 'pg', 'postgrator', 'zod', ANY_NODE],
  chain: [
    'domain',
    ...['db/chain/cursor', 'db/chain/output', 'db/chain/outbox'],
    ...['db/chain/status', 'db/chain/suspension', 'db/chain/balance', 'db/chain/source', 'db/chain/sweep'],
    'db/payment',
    'type db/connection/pool',
    'telemetry',
    'repeat',
    'zod',
    ANY_NODE,
  ],
  rate: ['domain', 'telemetry', 'repeat', 'zod', ANY_NODE],
  payout: [
    'domain',
    ...['db/payout', 'db/payout_queue', 'db/payout_evidence', 'type db/payout_operation', 'type db/connection/pool'],
    ...['chain/client', 'chain/rpc', 'chain/node_choice', 'chain/ethereum_trace'],
    ...['type keyvault/refund_seal', 'telemetry'],
    ...['viem', 'zod', ANY_NODE],
  ],
  audit: ['domain', 'db/audit', 'keyvault/checkpoint', 'zod', ANY_NODE],
  http: [
    ...['domain', 'db', 'keyvault', 'telemetry', 'grpc/address_key', 'grpc/limit', 'grpc/peer'],
    ...['hono', '@hono/node-server', 'qr', 'zod', ANY_NODE],
  ],
  keyvault: ['domain', 'db/key', 'type db/connection/pool', 'jose', '@noble', '@scure/base', 'zod', ANY_NODE],
  servers: [
    ...['db/cluster', 'db/migrate', 'keyvault/token', 'type domain', 'repeat'],
    ...['@temporalio/client', '@temporalio/common', '@temporalio/proto', '@grpc/grpc-js', ANY_NODE],
  ],
}

function isAllowed(room: string, target: string, isTypeOnly: boolean): boolean {
  if (target === room || target.startsWith(`${room}/`)) return true
  return (MAY_IMPORT[room] ?? []).some((word) => {
    const name = word.replace(/^type /, '')
    const isCovered = name === ANY_NODE ? target.startsWith(name) : target === name || target.startsWith(`${name}/`)
    return isCovered && (isTypeOnly || name === word)
  })
}

describe('rooms', () => {
  test('each room is in the import table', () => {
    const rooms = new Set(SOURCES.map(roomOf))
    rooms.delete('main')
    expect([...rooms].filter((room) => !(room in MAY_IMPORT))).toEqual([])
  })

  test('no room imports what the table does not allow it', () => {
    const broken = SOURCES.filter((path) => roomOf(path) !== 'main').flatMap((path) =>
      importsOf(path)
        .filter(({ target, isTypeOnly }) => !isAllowed(roomOf(path), target, isTypeOnly))
        .map(({ target, isTypeOnly }) => `${path} imports ${isTypeOnly ? 'type ' : ''}${target}`),
    )
    expect(broken).toEqual([])
  })

  test('only the development stack of main/dev.ts can start servers', () => {
    const importers = SOURCES.filter((path) => importsOf(path).some(({ target }) => target.startsWith('servers/')))
    expect(importers.filter((path) => roomOf(path) !== 'servers' && !/^src\/main\/dev[./]/.test(path))).toEqual([])
  })

  test('no files of src import each other in a circle, be it for types alone', () => {
    expect(findCircle(SOURCES)).toEqual([])
  })

  test('generated code is imported only inside grpc', () => {
    const importers = SOURCES.filter((path) => importsOf(path).some(({ target }) => target.startsWith('grpc/gen/')))
    expect(importers.filter((path) => roomOf(path) !== 'grpc')).toEqual([])
  })
})

/** Lines of code that match, as `path: line`, without comments. */
const linesMatching = (paths: readonly string[], pattern: RegExp): string[] =>
  paths.flatMap((path) =>
    readSource(path)
      .replace(/\/\*[\s\S]*?\*\//g, '')
      .split('\n')
      .filter((line) => pattern.test(line.replace(/(^|\s)\/\/.*$/, '')))
      .map((line) => `${path}: ${line.trim()}`),
  )

describe('source', () => {
  test('the environment is read in config.ts alone', () => {
    expect(linesMatching(SOURCES, /process\.env/).filter((line) => !line.startsWith('src/config.ts:'))).toEqual([])
  })

  test('domain knows no clock and no randomness', () => {
    const domain = SOURCES.filter((path) => roomOf(path) === 'domain')
    // A given time, `x: Date`, is a value and no clock.
    expect(
      linesMatching(domain, /\bnew Date\b|\bDate[.(]|\bperformance\b|\bcrypto\b|Math\.random|setTimeout|process\./),
    ).toEqual([])
  })

  test('no amount of money is a number', () => {
    const money = /\b(amount|price|due|\w+(Amount|Price|Total|Units|Minor|Due))\??: number\b/
    expect(linesMatching(SOURCES, money)).toEqual([])
  })

  test('activities are called through policy.ts alone', () => {
    const calls = linesMatching(SOURCES, /\bproxy(Local)?Activities\b/)
    expect(calls.filter((line) => !line.startsWith('src/workflows/policy.ts:'))).toEqual([])
  })

  test('validators of updates are synchronous, since the SDK does not wait for them', () => {
    const workflows = SOURCES.filter((path) => roomOf(path) === 'workflows')
    expect(linesMatching(workflows, /validator: *async|async \w*[vV]alidat/)).toEqual([])
  })

  test('a lint rule is switched off only for a reason given beside it', () => {
    const paths = findSources('{src,test,bench,tools}/**/*.{ts,mjs}').filter((path) => !path.includes('/gen/'))
    const disabled = paths.flatMap((path) =>
      readSource(path)
        .split('\n')
        .filter((line) => /(ox|es)lint-disable[- ]/.test(line)),
    )
    expect(disabled.filter((line) => !/ -- \S/.test(line))).toEqual([])
  })
})

describe('calls', () => {
  test('every RPC of proto/ is served, says who may call it, and has a schema for its request', () => {
    const declared = findSources('proto/holdfast/v1/*.proto').flatMap((path) =>
      [...readSource(path).matchAll(/^service (\w+) \{([\s\S]*?)^\}/gm)].flatMap(([, service, body = '']) =>
        [...body.matchAll(/^ {2}rpc (\w+)\(/gm)].map(([, method]) => `/holdfast.v1.${service}/${method}`),
      ),
    )
    const served = METHODS.map(({ path }) => path).filter((path) => path.startsWith('/holdfast.'))
    expect(served.toSorted()).toEqual(declared.toSorted())
    expect(declared.filter((path) => !Object.hasOwn(PERMISSIONS, path) || !Object.hasOwn(SCHEMAS, path))).toEqual([])
  })
})

/** Bodies of functions that take a transaction, found by their braces. */
const functionsWithin = (text: string): string[] =>
  [...text.matchAll(/\(\s*(?:tx|part)(?:: \w+)?(?:,[^()]*)?\)[^{};]*\{/g)].map(({ 0: head, index }) => {
    let depth = 1
    let end = index + head.length
    for (; depth > 0 && end < text.length; end += 1) {
      if (text[end] === '{') depth += 1
      if (text[end] === '}') depth -= 1
    }
    return text.slice(index + head.length, end)
  })

describe('statements', () => {
  const files = SOURCES.filter((path) => path.startsWith('src/db/') && path !== 'src/db/connection/pool.ts')

  test('constant statements stand only in the files that decision 3 lists', () => {
    const page = readSource('docs/decisions/0003-two-doors-to-postgres.md')
    const listed = [...page.matchAll(/^\| (src\/db\/[\w/]+\.ts) \|/gm)].map(([, path]) => path)
    expect(files.filter((path) => readSource(path).includes('statement('))).toEqual(listed)
  })

  test('every constant statement is made when its module is loaded, before there is any input', () => {
    expect(
      linesMatching(files, /\bstatement\(/).filter((line) => !/: (export )?const [A-Z_]+ = statement\(/.test(line)),
    ).toEqual([])
  })

  test('no two constant statements share a name', () => {
    const names = files.flatMap((path) =>
      [...readSource(path).matchAll(/\bstatement\(\s*'(\w+)'/g)].map(([, name]) => name),
    )
    expect(names).toEqual([...new Set(names)])
  })

  /** What must be one transaction: an order's steps, its payments, answers stored with their effect. */
  const IN_TRANSACTIONS = ['src/db/order.ts', 'src/db/payment.ts']

  test('what must be one transaction asks nothing outside of it', () => {
    // A function uses the database once: in one transaction, or by one statement.
    const twice = IN_TRANSACTIONS.flatMap((path) =>
      readSource(path)
        .split(/^(?=(?:export )?(?:async )?(?:function|const) )/m)
        .filter((text) => (text.match(/\bdatabase\.(run|sql|transaction)\b|\binStep\(database\b/g) ?? []).length > 1)
        .map((text) => `${path}: ${text.slice(0, 80)}`),
    )
    expect(twice).toEqual([])
    const strays = files.flatMap((path) =>
      functionsWithin(readSource(path))
        .filter((body) => /\bdatabase\b/.test(body))
        .map((body) => `${path}: ${body.slice(0, 80)}`),
    )
    expect(strays).toEqual([])
  })

  test('no query of slonik is built from a string', () => {
    expect(linesMatching(SOURCES, /\bsql\.unsafe\b|\braw\(/)).toEqual([])
  })
})

/** A name as one literal, or as a file's prefix and a literal: `holdfast_chain_${name}` and 'lag_blocks'. */
const isMetric = (name: string): boolean =>
  SOURCES.map(readSource).some((text) => {
    const prefixes = [...text.matchAll(/name: `(holdfast_\w*)\$\{name\}`/g)].map(([, prefix]) => prefix ?? '')
    return [
      `'${name}'`,
      ...prefixes.filter((prefix) => name.startsWith(prefix)).map((prefix) => `'${name.slice(prefix.length)}'`),
    ].some((literal) => text.includes(literal))
  })

/** ARCHITECTURE.md writes `domain/` for `src/domain/`. */
const pathOf = (path: string): string => path.replace(/^domain\//, 'src/domain/')

/** Three minutes of reading. */
const MAX_PAGE_WORDS = 600

describe('documents', () => {
  test('docs/order-states.md shows the moves of TRANSITIONS', () => {
    const drawn = [...readSource('docs/order-states.md').matchAll(/^ *(\w+) --> (\w+): (.+)$/gm)].map(
      ([, from, to, roles]) => `${from} ${to} ${roles}`,
    )
    expect(drawn).toEqual(TRANSITIONS.map(({ from, to, roles }) => `${from} ${to} ${roles.join(', ')}`))
  })

  test('docs/order-states.md shows what every event does in every status', () => {
    const rows = readSource('docs/order-states.md')
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .map((line) =>
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      )
    const shown = rows.filter(([status]) => ORDER_STATUSES.some((known) => known === status))
    expect(rows[0]).toEqual(['status', ...EVENTS])
    expect(shown).toEqual(ORDER_STATUSES.map((status) => [status, ...EVENTS.map((event) => OUTCOMES[status][event])]))
  })

  test('ARCHITECTURE.md says of each rule only files that exist, and names that they have', () => {
    const [, table = ''] = /^## Where each rule is decided\n([\s\S]*?)^## /m.exec(readSource('ARCHITECTURE.md')) ?? []
    const files = new Set(
      [...table.matchAll(/`((?:src|test|domain)\/[\w/.]+\.ts)`/g)].map(([, path = '']) => pathOf(path)),
    )
    expect(files.size).toBeGreaterThan(20)
    expect([...files].filter((path) => findSources(path).length === 0)).toEqual([])
    const named = [...table.matchAll(/`(\w+)`(?:, `(\w+)`)?, `((?:src|test|domain)\/[\w/.]+\.ts)`/g)].flatMap(
      ([, one = '', other = one, path = '']) => [one, other].map((name) => ({ name, path: pathOf(path) })),
    )
    expect(
      named.filter(({ name, path }) => !new RegExp(`\\b${name} = |\\b${name}:|\\b${name}\\(`).test(readSource(path))),
    ).toEqual([])
  })

  test('every alarm has its paragraph in docs/operations.md, and the other way round', () => {
    const alarms = [...readSource('ops/prometheus/alerts.yaml').matchAll(/^ +- alert: (\w+)$/gm)].map(
      ([, name]) => name,
    )
    const chapter = /^## Alarms\n([\s\S]*?)^## /m.exec(readSource('docs/operations.md'))?.[1] ?? ''
    expect([...chapter.matchAll(/^### (\w+)$/gm)].map(([, name]) => name)).toEqual(alarms)
  })

  test('alarms and the runbook name only metrics that a process shows', () => {
    const texts = [readSource('ops/prometheus/alerts.yaml'), readSource('docs/operations.md')].join('\n')
    const named = new Set(texts.match(/\b(?<!set role )(holdfast|grpc_server)_[a-z_]+[a-z]\b/g))
    expect([...named].filter((name) => !isMetric(name.replace(/_bucket$/, '')))).toEqual([])
  })

  test('ARCHITECTURE.md has a line for every room and for every program of main', () => {
    const words = new Set([...readSource('ARCHITECTURE.md').matchAll(/^\| `?(\w+)`? \|/gm)].map(([, word]) => word))
    const started = ['package.json', 'tools/setup/main.mjs', 'tools/holdfast.mjs', 'docker-compose.yml']
      .flatMap((path) => [...readSource(path).matchAll(/\bmain\/(\w+)\.[jt]s\b|'(cli)'/g)])
      .map(([, file, cli]) => file ?? cli ?? '')
    const rooms = SOURCES.filter((path) => path.split('/').length > 2).map(roomOf)
    expect([...new Set([...rooms, ...started])].filter((name) => !words.has(name))).toEqual([])
  })

  test('the list of decisions has every page under its own title, in order', () => {
    const pages = findSources('docs/decisions/0*.md').map((path) => {
      const [, title] = /^# \d+\. (.+)$/m.exec(readSource(path)) ?? []
      return `[${title}](${path.replace('docs/decisions/', '')})`
    })
    const listed = [...readSource('docs/decisions/README.md').matchAll(/^\d+\. (.+)$/gm)].map(([, link]) => link)
    expect(listed).toEqual(pages)
  })

  test('a page of decisions is a page long', () => {
    const long = findSources('docs/decisions/*.md').filter(
      (path) => readSource(path).split(/\s+/).length > MAX_PAGE_WORDS,
    )
    expect(long).toEqual([])
  })

  test('what is visible and new is written in the changelog', () => {
    expect(readSource('CHANGELOG.md')).toMatch(/^## \[Unreleased\]\n\n### \w+\n\n- \S/m)
  })
})

type LockedPackage = {
  version: string
  integrity?: string
  optional?: boolean
  os?: string[]
  cpu?: string[]
  libc?: string[]
}

/** An optional package that npm never installs on Linux x64 with glibc. */
const isForeign = ({ optional, os, cpu, libc }: LockedPackage): boolean =>
  optional === true &&
  (os?.includes('linux') === false || cpu?.includes('x64') === false || libc?.includes('glibc') === false)

describe('repository', () => {
  const texts = findSources(
    '{src,test,bench,tools,proto,migrations,docs,ops}/**/*.{ts,mjs,mod,proto,sql,md,yaml,yml,json,sh}',
    '*.{md,js,json,yaml,yml}',
    '.ci/run',
    'Dockerfile',
  ).filter((path) => !/\/gen\/|\/google\/|histories\/|house\.test\.ts$/.test(path))

  test.each([
    ['work that was put off', /\b(TODO|FIXME|XXX|HACK)\b/],
    ['a path of one machine', /(^|[\s'"`(=:])\/(work|home|root|Users)\//],
    ['the host of a registry', /registry\.npmjs|proxy\.golang|pypi\.org|deb\.debian/],
    ['a focused or switched-off test', /\b(test|it|describe)\.(only|todo)\(/],
  ])('no file holds %s', (_what, pattern) => {
    expect(texts.filter((path) => pattern.test(readSource(path)))).toEqual([])
  })

  const lock = JSON.parse(readSource('package-lock.json')) as { packages: Record<string, LockedPackage> }
  const manifest = JSON.parse(readSource('package.json')) as Record<
    'dependencies' | 'devDependencies',
    Record<string, string>
  >

  test('every dependency is pinned to one version', () => {
    const ranges = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
    expect(ranges.filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([])
  })

  // npm ci insists on an entry for every platform, and a registry may carry only its own: a package that can never be
  // installed where CI and the image run may be locked by version alone.
  test('every locked package that can be installed on Linux x64 with glibc has an integrity hash', () => {
    const loose = Object.entries(lock.packages).filter(
      ([path, found]) => path !== '' && found.integrity === undefined && !isForeign(found),
    )
    expect(loose.map(([path]) => path)).toEqual([])
  })

  test('all packages of Temporal have the same version', () => {
    const versions = Object.entries(lock.packages).filter(([path]) => path.startsWith('node_modules/@temporalio/'))
    expect(new Set(versions.map(([, { version }]) => version)).size).toBe(1)
  })
})
