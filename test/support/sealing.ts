// A test sealer with its own key and checkpoint file, on a test's database; and audit entries to seal without a shop.

import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sealTurn, type SealDeps } from '../../src/audit/seal.ts'
import type { Verdict } from '../../src/audit/verification.ts'
import { verifyAudit } from '../../src/audit/verify.ts'
import { openWitness } from '../../src/audit/witness.ts'
import type { AuditDb } from '../../src/db/audit/seal.ts'
import { loadSealer, loadSealerKeys, type SealerKeys } from '../../src/keyvault/checkpoint.ts'
import { openTestDatabase, type TestDatabase } from './database.ts'
import { until } from './until.ts'

/** Below jest's own limit, and above the longest transaction of another test, which loads a million rows. */
export const SETTLE_WITHIN_MS = 240_000

export type TestSealer = {
  deps: SealDeps
  keys: SealerKeys
  file: string
  /** PEM, for commands that read it from a file. */
  publicKey: string
  /** Waits until all committed entries can be sealed: transactions of other tests on the server delay it. */
  settle: () => Promise<void>
  /** Writes checkpoints while there are entries to seal. @returns how many */
  seal: () => Promise<number>
  /** Verifies the audit, as the auditor by default. */
  verify: (overrides?: { database?: AuditDb; file?: string; now?: () => number }) => Promise<Verdict>
  /** Opens the file again, as another process would. */
  reopen: (file?: string) => Promise<void>
  close: () => Promise<void>
}

export async function createTestSealer(test: TestDatabase): Promise<TestSealer> {
  // Migrations leave audit entries about the rules they change: a test starts without them.
  await test.forge(`delete from audit_entry where actor = 'migration:holdfast'`)
  await test.forge('alter table audit_entry alter column entry_id restart')
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-seal-'))
  const { privateKey, publicKey } = generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  const open = (role: 'audit_sealer' | 'auditor') =>
    openTestDatabase({ url: test.urlOf(role), poolSize: 2, applicationName: `test-${role}` })
  const [database, auditor] = await Promise.all([open('audit_sealer'), open('auditor')])
  const file = join(folder, 'checkpoints.jsonl')
  const keys = loadSealerKeys('seal keys', publicKey)
  const deps = {
    database,
    sealer: loadSealer('seal key', privateKey, 'production'),
    keys,
    witness: await openWitness(file),
  } satisfies SealDeps
  const settle = async (): Promise<void> =>
    void (await until(
      async () => {
        const [row] = await test.query<{ isOver: boolean }>(
          `select not exists (select from audit_entry, pg_current_snapshot() as now
             where txid >= pg_snapshot_xmin(now) and txid < pg_snapshot_xmax(now)) as "isOver"`,
        )
        return row?.isOver === true
      },
      { withinMs: SETTLE_WITHIN_MS },
    ))
  return {
    deps,
    keys,
    file,
    publicKey,
    settle,
    seal: async () => {
      await settle()
      let sealed = 0
      while ((await sealTurn(deps)) !== undefined) sealed += 1
      return sealed
    },
    verify: (overrides = {}) => verifyAudit({ database: auditor, keys, file, ...overrides }),
    reopen: async (path = file) => {
      await deps.witness.close()
      deps.witness = await openWitness(path)
    },
    close: async () => {
      await deps.witness.close()
      await Promise.all([database.close(), auditor.close()])
      await rm(folder, { recursive: true })
    },
  }
}

/** Inserts audit entries without an aggregate. $1: how many; $2: their transaction id, null for the current one. */
export const PUT_ENTRIES = `
  insert into audit_entry (at, txid, kind, actor, body, hash)
  select e.at, e.txid, 'stock', 'system:test', e.body, sha256(convert_to(e.body, 'UTF8'))
  from generate_series(1, $1::int) as n
  cross join lateral (select clock_timestamp() as at, coalesce($2::text::xid8, pg_current_xact_id()) as txid, n as number offset 0) m
  cross join lateral (select m.at, m.txid, '{"kind":"stock","id":null,"seq":null,"at":"' || (to_json(m.at at time zone 'UTC') #>> '{}')
    || '+00:00","txid":"' || m.txid || '","dbRole":"test","by":{"actor":"system:test","role":"system"},"changes":[' || number || ']}' as body) e`
