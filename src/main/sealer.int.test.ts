// The sealer process as it is deployed: a child on a real Postgres, under its own role, with its own key and file.

import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import pg from 'pg'
import { createTestDatabase, openTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { killAll, startProcess, type RunningProcess } from '../../test/support/process.ts'
import { PUT_ENTRIES, SETTLE_WITHIN_MS } from '../../test/support/sealing.ts'
import { until } from '../../test/support/until.ts'
import { verifyAudit } from '../audit/verify.ts'
import { loadSealerKeys } from '../keyvault/checkpoint.ts'
import { freePorts } from '../servers/port.ts'
import { ensureSecrets } from '../servers/secret.ts'

const ENTRY = fileURLToPath(new URL('./sealer.ts', import.meta.url))
let database: TestDatabase
let folder: string
let file: string
const processes: RunningProcess[] = []

const pairOf = () =>
  generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
const pair = pairOf()

beforeEach(async () => {
  database = await createTestDatabase()
  // Migrations leave entries about the rules they change: these tests count from nothing.
  await database.forge(`delete from audit_entry where actor = 'migration:holdfast'`)
  folder = await mkdtemp(join(tmpdir(), 'holdfast-sealer-'))
  file = join(folder, 'checkpoints.jsonl')
  await writeFile(join(folder, 'key.pem'), pair.privateKey)
  await writeFile(join(folder, 'public.pem'), pair.publicKey)
})
afterEach(async () => {
  await killAll(processes)
  await rm(folder, { recursive: true })
  await database.drop()
})

/** Starts the process in production mode, sealing ten times a second. */
async function start(environment: Readonly<Record<string, string>> = {}, ...args: string[]) {
  const [port = 0] = await freePorts(1)
  const env = {
    DATABASE_URL: database.urlOf('audit_sealer'),
    HOLDFAST_MODE: 'production',
    HOLDFAST_METRICS_PORT: String(port),
    HOLDFAST_SEAL_KEY_FILE: join(folder, 'key.pem'),
    HOLDFAST_SEAL_PUBLIC_KEYS_FILE: join(folder, 'public.pem'),
    HOLDFAST_AUDIT_FILE: file,
    HOLDFAST_SEAL_EVERY_MS: '100',
    ...environment,
  }
  const started = startProcess([ENTRY, ...args], env, port)
  processes.push(started)
  return started
}

const put = (entries: number) => database.query(PUT_ENTRIES, [entries, null])

async function verify(publicKeys = pair.publicKey) {
  const auditor = await openTestDatabase({ url: database.urlOf('auditor'), poolSize: 2, applicationName: 'test' })
  try {
    return await verifyAudit({ database: auditor, file, keys: loadSealerKeys('keys', publicKeys) })
  } finally {
    await auditor.close()
  }
}

const isSealed = async (entries: number): Promise<boolean> => {
  const { last, unsealed, findings } = await verify()
  return findings.length === 0 && unsealed === 0 && last?.size === entries
}
const untilSealed = (entries: number) => until(() => isSealed(entries), { withinMs: SETTLE_WITHIN_MS })

describe('the sealer process', () => {
  it('seals what is there and what comes, tells of it, and stops when asked', async () => {
    await put(3)
    const sealer = await start()
    await until(async () => (await sealer.get('/readyz')).ok)
    await untilSealed(3)
    await put(2)
    await untilSealed(5)
    const metrics = await until(async () => {
      const page = await (await sealer.get('/metrics')).text()
      return page.includes('holdfast_audit_unsealed_entries{process="sealer"} 0') && page
    })
    expect(metrics).toContain('holdfast_audit_checkpoints_total{process="sealer"} 2')
    expect(metrics).toContain('holdfast_audit_seal_refused{reason="restored",process="sealer"} 0')
    const [, at = ''] = /holdfast_audit_last_checkpoint_timestamp_seconds\{\S+\} (\S+)/.exec(String(metrics)) ?? []
    expect(Math.abs(Number(at) - Date.now() / 1_000)).toBeLessThan(300)
    const { code, output } = await sealer.stop()
    expect(code).toBe(0)
    expect(output).toContain('sealer stopped')
  })

  it('tells of locks it does not have, counts transactions that last, and seals on', async () => {
    const sealer = await start()
    await until(async () => (await sealer.get('/readyz')).ok)
    const shows = async (line: string) =>
      (await (await sealer.get('/metrics')).text()).split('\n').some((each) => each.startsWith(line))
    expect(await shows('holdfast_slow_transactions_total{process="sealer"} 0')).toBe(true)
    const holder = new pg.Client({ connectionString: database.url })
    await holder.connect()
    await holder.query('begin; lock table holdfast.audit_checkpoint in access exclusive mode')
    await until(() => shows('holdfast_lock_failures_total{process="sealer"} 1'))
    await holder.query('rollback')
    await holder.end()
    await put(1)
    await untilSealed(1)
    expect((await sealer.stop()).output).toContain('"event":"slow_lock"')
  })

  it('makes room for the entries of months to come', async () => {
    await start()
    const month = `to_char(now() + interval '1 month', 'YYYY_MM')`
    await until(async () => {
      const rows = await database.query(`select from pg_class where relname = 'audit_entry_' || ${month}`)
      return rows.length === 1
    })
  })

  it('is killed at any instant, and another one takes over with nothing lost or sealed twice', async () => {
    let total = 0
    for (let round = 0; round < 2; round += 1) {
      const sealer = await start()
      for (let at = 0; at < 5; at += 1) {
        await put(20)
        total += 20
      }
      await until(async () => ((await verify()).last?.size ?? 0) > total - 100)
      sealer.child.kill('SIGKILL')
      await sealer.ended
      expect((await verify()).findings).toEqual([])
    }
    await start()
    await untilSealed(total)
  })

  it('alarms and seals nothing more once the database is behind the file', async () => {
    await put(1)
    const sealer = await start()
    await untilSealed(1)
    await database.query(
      'begin; set local session_replication_role = replica; delete from audit_checkpoint; delete from audit_tile; commit',
    )
    await put(1)
    await until(async () =>
      (await (await sealer.get('/metrics')).text()).includes(
        'holdfast_audit_seal_refused{reason="file_ahead",process="sealer"} 1',
      ),
    )
    expect((await readFile(file, 'utf8')).trim().split('\n')).toHaveLength(1)
  })

  it('goes on under a new key, as long as the old public key is kept', async () => {
    await put(1)
    const first = await start()
    await untilSealed(1)
    await first.stop()
    const next = pairOf()
    const both = `${pair.publicKey}${next.publicKey}`
    await writeFile(join(folder, 'key.pem'), next.privateKey)
    await writeFile(join(folder, 'public.pem'), both)
    await put(1)
    await start()
    await until(async () => (await verify(both)).last?.size === 2)
    expect((await verify(both)).findings).toEqual([])
    expect((await verify(next.publicKey)).findings).toEqual([{ check: 'file_signature', checkpoint: 1 }])
  })

  it('does not start without a key of its own that those who verify believe', async () => {
    const development = await ensureSecrets(join(folder, 'development'), 'watcher-1')
    const cases: [Record<string, string>, RegExp][] = [
      [{ HOLDFAST_SEAL_KEY_FILE: '' }, /HOLDFAST_SEAL_KEY_FILE/],
      [{ HOLDFAST_SEAL_KEY_FILE: join(folder, 'none.pem') }, /HOLDFAST_SEAL_KEY_FILE: cannot read the file/],
      [{ HOLDFAST_SEAL_KEY_FILE: development.sealKey }, /HOLDFAST_SEAL_KEY_FILE is a development key/],
      [
        { HOLDFAST_SEAL_PUBLIC_KEYS_FILE: development.sealPublicKeys },
        /HOLDFAST_SEAL_PUBLIC_KEYS_FILE lacks the public key of HOLDFAST_SEAL_KEY_FILE/,
      ],
      [{ HOLDFAST_SEAL_EVERY_MS: '60000' }, /HOLDFAST_SEAL_EVERY_MS/],
    ]
    for (const [environment, message] of cases) {
      const { code, output } = await (await start(environment)).ended
      expect(code).toBe(1)
      expect(output).toMatch(message)
    }
  })

  it('adopts nothing where nothing was restored', async () => {
    const { code, output } = await (await start({}, 'adopt')).ended
    expect(code).toBe(1)
    expect(output).toContain('nothing was restored')
  })
})
