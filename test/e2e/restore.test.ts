// Restore of a development stack's database to an earlier time: the stack starts, reports it, and continues once an
// operator confirms the restore.

import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import { removePostgres } from '../../src/servers/postgres.ts'
import { removeNamespace } from '../../src/servers/namespace.ts'
import { startStack, type Stack, type StackOptions } from '../../src/servers/stack.ts'
import { PUT_ENTRIES } from '../support/sealing.ts'
import { testServers } from '../support/servers.ts'
import { until } from '../support/until.ts'

const WITHIN_MS = 300_000
const namespace = `restore-${randomUUID()}`
let dataDir: string
let stack: Stack | undefined

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-restore-'))
})
afterAll(async () => {
  await stack?.stop()
  await removeNamespace(testServers().temporalAddress, namespace)
  await removePostgres(dataDir)
  await rm(dataDir, { recursive: true })
}, WITHIN_MS)

async function start(options: Partial<StackOptions> = {}): Promise<Stack> {
  await stack?.stop()
  stack = undefined
  const temporal = { address: testServers().temporalAddress, namespace }
  const settings = { HOLDFAST_SEAL_EVERY_MS: '100', HOLDFAST_POOL_TARGET: '1' }
  stack = await startStack({ dataDir, temporal, settings, log: () => undefined, ...options })
  return stack
}

async function query<Row extends object>({ databaseUrl }: Stack, text: string, values?: unknown[]): Promise<Row[]> {
  const client = new pg.Client({ connectionString: databaseUrl, options: '-c search_path=holdfast' })
  await client.connect()
  try {
    return (await client.query<Row>(text, values)).rows
  } finally {
    await client.end()
  }
}

const readySealer = async ({ ports }: Stack): Promise<boolean> =>
  (await fetch(`http://127.0.0.1:${ports.sealer}/readyz`)).ok

test(
  'after a restore of the database the stack comes up without the sealer, and with it once told to adopt',
  async () => {
    const first = await start()
    expect(first.sealRefusal).toBeUndefined()
    await query(first, PUT_ENTRIES, [3, null])
    // A checkpoint is written to the database before the file.
    await until(async () => (await query(first, 'select from audit_checkpoint')).length > 0)
    await until(async () => (await stat(first.auditFile)).size > 0)
    // Stopped first: a turn under way would store a checkpoint on top of what is deleted.
    await first.parts.get('sealer')?.stop()
    // The file has a checkpoint that the restored database lacks.
    await query(
      first,
      'begin; set local session_replication_role = replica; delete from audit_checkpoint; delete from audit_tile; commit',
    )

    const second = await start()
    expect(second.sealRefusal).toBe('file_ahead')
    expect(await readySealer(second)).toBe(false)
    expect([...second.parts.values()].filter((part) => part.current() === undefined)).toEqual([])

    const third = await start({ adopt: true })
    expect(third.sealRefusal).toBeUndefined()
    expect(await readySealer(third)).toBe(true)
    await expect(start({ adopt: true })).rejects.toThrow(/refused to adopt the database: nothing was restored/)
  },
  WITHIN_MS,
)
