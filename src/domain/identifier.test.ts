import { expect, test } from '@jest/globals'
import { loadConfig } from '../config.ts'
import { MACHINE_PATTERN, NETWORK_PATTERN } from './identifier.ts'
import { PAYMENT_REPORT } from '../grpc/report.ts'
import { findSources, readSource } from '../../test/support/source.ts'

const WATCHER = {
  DATABASE_URL: 'postgresql://watcher@db/holdfast',
  HOLDFAST_MODE: 'development',
  HOLDFAST_SOURCE_SECRET_FILE: 'secret',
  HOLDFAST_WATCHER_TOKEN_FILE: 'token',
  HOLDFAST_ETH_RPC_URL: 'http://node:8545',
}
const isTaken = (load: () => unknown): boolean => {
  try {
    load()
    return true
  } catch {
    return false
  }
}
const isReported = (field: 'network' | 'source', value: string): boolean => {
  const issues = PAYMENT_REPORT.safeParse({ source: 'w1', network: 'ethereum', observations: [], [field]: value }).error
    ?.issues
  return issues?.every(({ path }) => path[0] !== field) ?? true
}

test.each([
  ['ethereum', true],
  ['eth_mainnet', true],
  ['sepolia-2', true],
  ['n'.repeat(32), true],
  ['n'.repeat(33), false],
  ['Ethereum', false],
  ['eth mainnet', false],
  ['_eth', false],
  ['', false],
])('the network %j is taken everywhere or nowhere: %s', (network, isRight) => {
  expect(isTaken(() => loadConfig('watcher', { ...WATCHER, HOLDFAST_ETH_NETWORK: network }))).toBe(isRight)
  expect(isReported('network', network)).toBe(isRight)
  expect(NETWORK_PATTERN.test(network)).toBe(isRight)
})

test.each([
  ['watcher-1', true],
  ['watcher_1', false],
  ['w'.repeat(64), false],
])('the source %j is taken everywhere or nowhere: %s', (source, isRight) => {
  expect(isTaken(() => loadConfig('watcher', { ...WATCHER, HOLDFAST_SOURCE: source }))).toBe(isRight)
  expect(isReported('source', source)).toBe(isRight)
})

test.each([
  ['1.4.0-rc.1', true],
  ['v2_a', true],
  ['two words', false],
  ['-x', false],
  ['b'.repeat(64), false],
])('the build id %j may be one: %s', (HOLDFAST_BUILD_ID, isRight) => {
  const worker = { DATABASE_URL: 'postgresql://worker@db/holdfast', HOLDFAST_MODE: 'development', HOLDFAST_BUILD_ID }
  expect(isTaken(() => loadConfig('worker', worker))).toBe(isRight)
})

test('the database has the same rules, for every table that has such a name', () => {
  const migrations = findSources('migrations/*.do.*.sql').map(readSource).join('\n')
  // Asked where the name is written: a row that was there before the rule may still be changed.
  const triggers =
    /create trigger (\w+)_network_shape before insert or update of network on \1\n {2}for each row when \(new\.network !~ '([^']+)'\)/g
  const shapes = [
    ...migrations.matchAll(triggers),
    ...migrations.matchAll(/constraint (chain_operation)_network_shape check \(network ~ '([^']+)'\)/g),
  ]
  expect(new Set(shapes.map(([, table]) => table))).toEqual(
    new Set(['chain_operation', 'chain_status', 'invoice', 'payment', 'payment_key', 'payment_report']),
  )
  for (const [, , pattern] of shapes) expect(pattern).toBe(NETWORK_PATTERN.source)
  const [source] = [...migrations.matchAll(/payment_report_source_shape check \(source ~ '([^']+)'\)/g)]
  expect(source?.[1]).toBe(MACHINE_PATTERN.source)
})
