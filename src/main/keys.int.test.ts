// The keys process as it is deployed: a child on a real Postgres, under its own role.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { buildLine, putOrder, putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { killAll, startProcess, type RunningProcess } from '../../test/support/process.ts'
import { until } from '../../test/support/until.ts'
import { freePorts } from '../servers/port.ts'

const ENTRY = fileURLToPath(new URL('./keys.ts', import.meta.url))
let database: TestDatabase
let folder: string
const processes: RunningProcess[] = []

beforeEach(async () => {
  database = await createTestDatabase()
  folder = await mkdtemp(join(tmpdir(), 'holdfast-keys-'))
})
afterEach(async () => {
  await killAll(processes)
  await rm(folder, { recursive: true })
  await database.drop()
})

const versionOf = (version: number, content: string | Buffer) => ({
  version,
  secret: Buffer.from(content).toString('base64'),
})
const GOOD = { primary: 2, versions: [versionOf(1, Buffer.alloc(32, 1)), versionOf(2, Buffer.alloc(32, 2))] }

/** Starts the process in production mode with a pool of 40. */
async function start(ring: object, environment: Readonly<Record<string, string>> = {}) {
  const [port = 0] = await freePorts(1)
  const file = join(folder, `ring-${port}.json`)
  await writeFile(file, JSON.stringify(ring), { mode: 0o600 })
  const env = {
    DATABASE_URL: database.urlOf('app_keys'),
    HOLDFAST_MODE: 'production',
    HOLDFAST_KEY_KEYRING_FILE: file,
    HOLDFAST_METRICS_PORT: String(port),
    HOLDFAST_POOL_TARGET: '40',
    HOLDFAST_PBKDF2_ITERATIONS: '100000',
    ...environment,
  }
  const started = startProcess([ENTRY], env, port)
  processes.push(started)
  return started
}

const countFree = async (): Promise<bigint | undefined> => {
  const [row] = await database.query<{ free: bigint }>(
    'select count(*) as free from address_pool where leased_at is null',
  )
  return row?.free
}

describe('the keys process', () => {
  it('fills the pool, keeps it full, retires keys, tells of both, and stops when asked', async () => {
    const keys = await start(GOOD)
    await until(async () => (await keys.get('/readyz')).ok && (await countFree()) === 40n)
    const [leased] = await database.query<{ address: string }>(
      `update address_pool set leased_by = 'test', leased_at = clock_timestamp()
       where address = (select min(address) from address_pool) returning address`,
    )
    await until(async () => (await countFree()) === 40n)

    const { productId } = await putProduct(database)
    const { orderId } = await putOrder(database, {
      lines: [buildLine({ productId })],
      address: leased?.address ?? '',
    })
    await database.query(
      'insert into key_retire (order_id, network, address) select order_id, network, address from invoice where order_id = $1',
      [orderId],
    )
    await until(async () => {
      const [row] = await database.query('select from key_retire where order_id = $1 and done_at is not null', [
        orderId,
      ])
      return row !== undefined
    })
    await expect(
      database.query("select tier, envelope_version from payment_key where tier <> 'active'"),
    ).resolves.toEqual([{ tier: 'retired', envelope_version: 2 }])

    const metrics = await until(async () => {
      const page = await (await keys.get('/metrics')).text()
      return page.includes('holdfast_keys_retired_total{process="keys"} 1') && page
    })
    expect(metrics).toContain('holdfast_address_pool_free{network="ethereum",asset="ETH",process="keys"} 40')
    expect(metrics).toContain('holdfast_keys_made_total{asset="ETH",process="keys"} 41')
    expect(metrics).toContain('holdfast_key_retire_backlog{process="keys"} 0')

    const { code, output } = await keys.stop()
    expect(code).toBe(0)
    expect(output).toContain('keys ready')
    expect(output).toContain('keys stopped')
    expect(output).not.toContain(leased?.address)
  })

  it.each<[string, object, Record<string, string>, RegExp]>([
    ['one version', { ...GOOD, versions: GOOD.versions.slice(1) }, {}, /needs at least 2 versions/],
    [
      'a development value',
      { ...GOOD, versions: [...GOOD.versions, versionOf(3, 'development-'.padEnd(32, 'x'))] },
      {},
      /version 3 is a development value/,
    ],
    ['a short secret', { primary: 1, versions: [versionOf(1, 'short')] }, {}, /version 1 has fewer than 32 bytes/],
    [
      'an asset nobody can make',
      GOOD,
      { HOLDFAST_ENABLED_ASSETS: 'ETH,BTC' },
      /addresses of BTC are not supported yet/,
    ],
    ['too few iterations', GOOD, { HOLDFAST_PBKDF2_ITERATIONS: '99999' }, /HOLDFAST_PBKDF2_ITERATIONS/],
  ])('does not start with %s', async (_case, ring, environment, message) => {
    const { code, output } = await (await start(ring, environment)).ended
    expect(code).toBe(1)
    expect(output).toMatch(message)
  })

  it('does not go on with a ring that is not the one which sealed what is stored', async () => {
    const first = await start(GOOD)
    await until(async () => (await countFree()) === 40n)
    await first.stop()
    const other = { primary: 2, versions: [versionOf(1, Buffer.alloc(32, 1)), versionOf(2, Buffer.alloc(32, 9))] }
    const { code, output } = await (await start(other)).ended
    expect(code).toBe(1)
    expect(output).toContain('version 2 of the key ring is not the one that sealed the stored keys')
  })

  it('goes on after a kill -9 where it was', async () => {
    const first = await start(GOOD, { HOLDFAST_POOL_TARGET: '300' })
    await until(async () => ((await countFree()) ?? 0n) > 50n)
    first.child.kill('SIGKILL')
    await first.ended
    await start(GOOD, { HOLDFAST_POOL_TARGET: '300' })
    await until(async () => (await countFree()) === 300n)
    const [{ orphans } = { orphans: undefined }] = await database.query(
      'select count(*)::int as orphans from payment_key where not exists (select from address_pool p where p.key_id = payment_key.key_id)',
    )
    expect(orphans).toBe(0)
  })
})
