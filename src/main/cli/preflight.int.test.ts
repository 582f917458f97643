// holdfast preflight: what is wrong with the configuration or the dependencies of a process, before it is started.

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { REFUND_PUBLIC_KEY } from '../../../test/support/refund_seal.ts'
import { testServers } from '../../../test/support/servers.ts'
import { loadConfig } from '../../config.ts'
import { FoundError, UsageError } from './exit.ts'
import { createProgram } from './program.ts'

/** The discard port: nothing listens there. */
const NOWHERE = '127.0.0.1:9'

let database: TestDatabase
let folder: string
beforeAll(async () => {
  database = await createTestDatabase()
  folder = await mkdtemp(join(tmpdir(), 'holdfast-preflight-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true })
  await database.drop()
})

type Finding = { check: string; result: string }

/** The findings of a command that must end without another failure. */
async function preflight(
  env: NodeJS.ProcessEnv,
  ...args: string[]
): Promise<{ findings: readonly Finding[]; said: string; hasFailed: boolean }> {
  const said: string[] = []
  const write = (text: string): void => void said.push(text)
  const untilInterrupted = () => AbortSignal.timeout(1)
  const program = createProgram({ config: loadConfig('cli', {}), env, write, complain: write, untilInterrupted })
  const hasFailed = await program.parseAsync(['preflight', '--json', ...args], { from: 'user' }).then(
    () => false,
    (error: unknown) => {
      if (error instanceof FoundError) return true
      throw error
    },
  )
  const { findings } = JSON.parse(said.join('')) as { findings: Finding[] }
  return { findings, said: said.join(''), hasFailed }
}

const failedOf = (findings: readonly Finding[]): Finding[] => findings.filter(({ result }) => result !== 'ok')

async function keysEnv(changes: NodeJS.ProcessEnv = {}): Promise<NodeJS.ProcessEnv> {
  const ring = join(folder, 'ring')
  const versions = [1, 2].map((version) => ({ version, secret: randomBytes(32).toString('base64') }))
  await writeFile(ring, JSON.stringify({ primary: 1, versions }), { mode: 0o600 })
  return { DATABASE_URL: database.urlOf('app_keys'), HOLDFAST_KEY_KEYRING_FILE: ring, ...changes }
}
const workerEnv = (changes: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  DATABASE_URL: database.urlOf('app_worker'),
  HOLDFAST_BUILD_ID: 'b1',
  TEMPORAL_ADDRESS: testServers().temporalAddress,
  ...changes,
})

test('a process with all that it needs passes, and nothing was started', async () => {
  const { findings, hasFailed } = await preflight(await keysEnv(), 'keys')
  expect(failedOf(findings)).toEqual([])
  expect(findings.length).toBeGreaterThan(1)
  expect(hasFailed).toBe(false)
})

test('all that is wrong with a configuration is listed, without a value', async () => {
  const env = await keysEnv({ HOLDFAST_POOL_TARGET: 'canary', HOLDFAST_KEY_KEYRING_FILE: join(folder, 'missing') })
  const { findings, hasFailed, said } = await preflight(env, 'keys')
  expect(hasFailed).toBe(true)
  expect(failedOf(findings).map(({ result }) => result.split(':')[0])).toEqual([
    'HOLDFAST_POOL_TARGET',
    'HOLDFAST_KEY_KEYRING_FILE',
  ])
  expect(said).not.toContain('canary')
})

test('a database that cannot be reached is found, without its password', async () => {
  const env = await keysEnv({ DATABASE_URL: `postgres://app_keys:canary-canary-canary@${NOWHERE}/holdfast` })
  const { findings, hasFailed, said } = await preflight(env, 'keys')
  expect(hasFailed).toBe(true)
  expect(failedOf(findings)).toMatchObject([{ check: expect.stringMatching(/^DATABASE_URL/) as unknown }])
  expect(said).not.toContain('canary')
})

test('a login that may change the schema is found', async () => {
  const url = new URL(database.url)
  url.searchParams.set('options', '-c search_path=holdfast')
  const { findings } = await preflight(await keysEnv({ DATABASE_URL: url.href }), 'keys')
  expect(failedOf(findings)).toMatchObject([{ result: expect.stringMatching(/may change the schema/) as unknown }])
})

test('a schema of an earlier build is found', async () => {
  const [row] = await database.query<{ version: bigint }>(
    'delete from schema_version where version = (select max(version) from schema_version) returning *',
  )
  try {
    const { findings } = await preflight(await keysEnv(), 'keys')
    expect(failedOf(findings)).toMatchObject([{ result: expect.stringMatching(/migrate first/) as unknown }])
  } finally {
    const columns = Object.keys(row ?? {})
    await database.query(
      `insert into schema_version (${columns.join(', ')}) values (${columns.map((_, at) => `$${at + 1}`).join(', ')})`,
      Object.values(row ?? {}),
    )
  }
})

test.each([
  ['is reached with both namespaces passes', {}, []],
  ['is away is found', { TEMPORAL_ADDRESS: NOWHERE }, ['TEMPORAL_ADDRESS']],
  ['lacks a namespace is found', { TEMPORAL_NAMESPACE: 'no-such-namespace' }, ['TEMPORAL_ADDRESS']],
])(
  'a Temporal that %s',
  async (_what, changes, expected) => {
    const { findings } = await preflight(workerEnv(changes), 'worker')
    expect(failedOf(findings).map(({ check }) => check.split(':')[0])).toEqual(expected)
  },
  60_000,
)

const SENDER = `0x${'5a'.repeat(20)}`
const payerEnv = (dir: string): NodeJS.ProcessEnv => ({
  HOLDFAST_REFUND_PUBLIC_KEYS_FILE: join(folder, 'refund-keys'),
  ...{ DATABASE_URL: database.urlOf('app_worker'), HOLDFAST_ETH_RPC_URL: `http://${NOWHERE}` },
  ...{ HOLDFAST_PAYOUT_DIR: dir, HOLDFAST_PAYOUT_SENDER: SENDER },
})

test.each([
  ['that is missing is found, with what to create', () => join(folder, 'no-such-folder'), /missing: create it/],
  ['that is a file is found', () => join(folder, 'ring'), /it is a file/],
  ['below a file is found', () => join(folder, 'ring', 'payout'), /part of its path is a file/],
  ['that is there passes', () => folder, undefined],
])('a folder for payouts %s', async (_what, dirOf, expected) => {
  await keysEnv()
  await writeFile(join(folder, 'refund-keys'), REFUND_PUBLIC_KEY)
  const { findings, said } = await preflight(payerEnv(dirOf()), 'payer')
  const found = findings.find(({ check }) => check.startsWith('HOLDFAST_PAYOUT_DIR'))
  expect(found?.result).toMatch(expected ?? /^ok$/)
  expect(said).not.toContain(folder)
})

test('--deployed is for the api alone', async () => {
  await expect(preflight(await keysEnv(), 'keys', '--deployed')).rejects.toThrow(UsageError)
})
