// Sealing on a real Postgres as its own role, with a real file: what is sealed, when, and when not.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { readFile, rm, writeFile } from 'node:fs/promises'
import pg from 'pg'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestSealer, PUT_ENTRIES, type TestSealer } from '../../test/support/sealing.ts'
import { listLeaves, storeCheckpoint } from '../db/audit/seal.ts'
import { NOTHING_SEALED, rangeOf, type Checkpoint } from '../domain/checkpoint.ts'
import { hashOf } from '../domain/merkle.ts'
import { grow, subtreeReader, tileMap } from '../domain/tile.ts'
import { checkpointHash, leafHash, nodeHash } from '../keyvault/checkpoint.ts'
import { adoptRestored, SealRefused, sealTurn } from './seal.ts'
import { openWitness, readWitness } from './witness.ts'

let test: TestDatabase
let sealing: TestSealer
beforeEach(async () => {
  test = await createTestDatabase()
  sealing = await createTestSealer(test)
})
afterEach(async () => {
  await sealing.close()
  await test.drop()
})

const put = (entries: number, txid: bigint | null = null) => test.query(PUT_ENTRIES, [entries, txid])

async function inFile(path = sealing.file): Promise<Checkpoint[]> {
  const found: Checkpoint[] = []
  for await (const checkpoint of readWitness(path)) found.push(checkpoint)
  return found
}

/** As the superuser, whom no trigger stops. */
const forge = (...texts: string[]) =>
  test.query(`begin; set local session_replication_role = replica; ${texts.join('; ')}; commit`)

async function expectClean(expected: { entries: number; unsealed?: number; abandoned?: number }): Promise<void> {
  const { findings, entries, unsealed, abandoned } = await sealing.verify()
  expect(findings).toEqual([])
  expect({ entries, unsealed, abandoned }).toEqual({ unsealed: 0, abandoned: 0, ...expected })
}

const refusal = async (attempt: Promise<unknown>): Promise<string | undefined> =>
  attempt.then(
    () => undefined,
    (error: unknown) => (error instanceof SealRefused ? error.reason : String(error)),
  )

describe('a turn', () => {
  it('puts all that was committed under a signed root, in the database and in the file', async () => {
    await put(3)
    await put(2)
    await sealing.settle()
    const sealed = await sealTurn(sealing.deps)
    expect(sealed).toMatchObject({ no: 1, continues: 0, size: 5, previous: checkpointHash(undefined) })
    const rows = await test.query<{ entryId: bigint; txid: string; hash: Buffer }>(
      'select entry_id as "entryId", txid::text, hash from audit_entry order by entry_id',
    )
    const [a, b, c, d, e] = rows.map((row) => leafHash({ ...row, txid: BigInt(row.txid) })) as [Buffer, ...Buffer[]]
    const node = (one?: Uint8Array, other?: Uint8Array) => nodeHash(one as Buffer, other as Buffer)
    expect(sealed?.root).toBe(Buffer.from(node(node(node(a, b), node(c, d)), e)).toString('hex'))
    expect(await inFile()).toEqual([sealed])
    await expectClean({ entries: 5 })
  })

  it('seals nothing where there is nothing new', async () => {
    expect(await sealTurn(sealing.deps)).toBeUndefined()
    await put(1)
    expect(await sealing.seal()).toBe(1)
    expect(await sealing.seal()).toBe(0)
    expect(await inFile()).toHaveLength(1)
  })

  it('leaves out what a transaction that is still open could come before', async () => {
    const late = new pg.Client({ connectionString: test.url, options: '-c search_path=holdfast,pg_catalog' })
    await late.connect()
    try {
      await late.query('begin')
      await late.query(PUT_ENTRIES, [1, null])
      await put(1)
      expect(await sealTurn(sealing.deps)).toBeUndefined()
      await expectClean({ entries: 1, unsealed: 1 })
      await late.query('commit')
    } finally {
      await late.end()
    }
    expect(await sealing.seal()).toBe(1)
    await expectClean({ entries: 2 })
  })

  it('cuts a backlog into checkpoints, and never a transaction', async () => {
    await put(9_000)
    for (let at = 0; at < 3; at += 1) await put(4_000)
    expect(await sealing.seal()).toBe(3)
    expect((await inFile()).map(({ size }) => size)).toEqual([9_000, 17_000, 21_000])
    await expectClean({ entries: 21_000 })
  })

  it('is done once when two sealers are at the same one', async () => {
    await put(10)
    await sealing.settle()
    const results = await Promise.allSettled([sealTurn(sealing.deps), sealTurn(sealing.deps)])
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    await put(1)
    expect(await sealing.seal()).toBe(1)
    await expectClean({ entries: 11 })
  })
})

describe('the file', () => {
  it('is one for sealers that take turns', async () => {
    const other = { ...sealing.deps, witness: await openWitness(sealing.file) }
    for (let at = 0; at < 6; at += 1) {
      await put(1)
      await sealing.settle()
      expect((await sealTurn(at % 2 === 0 ? sealing.deps : other))?.no).toBe(at + 1)
    }
    await other.witness.close()
    expect((await inFile()).map(({ no }) => no)).toEqual([1, 2, 3, 4, 5, 6])
    await expectClean({ entries: 6 })
  })

  it('gets the line that a crash kept from it with the next turn', async () => {
    await put(1)
    await sealing.settle()
    const { append } = sealing.deps.witness
    sealing.deps.witness.append = () => Promise.reject(new Error('killed'))
    await expect(sealTurn(sealing.deps)).rejects.toThrow('killed')
    sealing.deps.witness.append = append
    await expectClean({ entries: 1 })
    await sealing.reopen()
    await put(1)
    expect(await sealing.seal()).toBe(1)
    expect((await inFile()).map(({ no }) => no)).toEqual([1, 2])
    await expectClean({ entries: 2 })
  })

  it('is written anew from the database where it is lost, signatures looked at', async () => {
    for (let at = 0; at < 3; at += 1) {
      await put(2)
      await sealing.seal()
    }
    const before = await readFile(sealing.file, 'utf8')
    await rm(sealing.file)
    await sealing.reopen()
    await sealing.seal()
    expect(await readFile(sealing.file, 'utf8')).toBe(before)
  })

  it('never takes over a checkpoint that no sealer signed', async () => {
    await put(2)
    await sealing.seal()
    await forge(
      `insert into audit_checkpoint select 2, 1, size, root, after_entry_id, last_entry_id, below_txid, sealed_at, previous, key_id,
         signature from audit_checkpoint`,
    )
    expect(await refusal(sealTurn(sealing.deps))).toBe('signature')
    expect((await sealing.verify()).findings).toEqual([{ check: 'checkpoint_unwitnessed', checkpoint: 2 }])
  })
})

describe('sealing stops', () => {
  it.each([
    ['file_ahead', 'delete from audit_checkpoint where checkpoint_no = 2'],
    ['file_differs', `update audit_checkpoint set sealed_at = sealed_at + interval '1 second' where checkpoint_no = 2`],
    ['tree', `update audit_tile set hashes = sha256('') || sha256('')`],
    ['tree', 'delete from audit_tile'],
    ['tree', `update audit_tile set hashes = hashes || sha256('')`],
  ])('by %s: %s', async (reason, act) => {
    for (let at = 0; at < 2; at += 1) {
      await put(1)
      await sealing.seal()
    }
    await forge(act)
    expect(await refusal(sealTurn(sealing.deps))).toBe(reason)
    expect(await inFile()).toHaveLength(2)
  })
})

describe('after a restore', () => {
  /** What another server had sealed before the dump, at transaction ids that this one has not reached. */
  async function sealAsBefore(belowTxid: bigint): Promise<void> {
    const { database, sealer, witness } = sealing.deps
    const bounds = { afterEntryId: 0n, belowTxid }
    const leaves = await listLeaves(database, rangeOf(bounds, NOTHING_SEALED, undefined))
    const { size, tiles } = grow(0, [], leaves.map(leafHash), nodeHash)
    const root = hashOf({ start: 0, end: size }, subtreeReader(tileMap(tiles), nodeHash), nodeHash)
    const checkpoint = sealer.seal({
      ...{ no: 1, continues: 0, size, root: Buffer.from(root).toString('hex'), ...bounds },
      ...{
        lastEntryId: leaves.at(-1)?.entryId ?? 0n,
        at: new Date().toISOString(),
        previous: checkpointHash(undefined),
      },
    })
    await storeCheckpoint(database, checkpoint, tiles)
    await witness.append(checkpoint)
  }
  const OLD_TXID = 10n ** 15n

  it('from a dump, transaction ids begin anew: it goes on when told to, and nothing is left out', async () => {
    await put(3, OLD_TXID)
    await sealAsBefore(OLD_TXID + 1n)
    await put(2, OLD_TXID + 5n)
    await put(4)
    expect(await refusal(sealTurn(sealing.deps))).toBe('restored')
    await sealing.settle()
    const adopted = await adoptRestored(sealing.deps, sealing.file)
    expect(adopted).toMatchObject({ no: 2, continues: 1, size: 5, afterEntryId: 5n, belowTxid: 0n })
    expect(await sealing.seal()).toBe(1)
    await put(1)
    expect(await sealing.seal()).toBe(1)
    expect((await inFile()).map(({ size }) => size)).toEqual([3, 5, 9, 10])
    await expectClean({ entries: 10 })
    expect(await refusal(adoptRestored(sealing.deps, sealing.file))).toBe('restored')
  })

  it('of an earlier state, what the file has beyond it is given up in so many words', async () => {
    await put(3)
    await sealing.seal()
    const tables = ['audit_entry', 'audit_checkpoint', 'audit_tile']
    for (const table of tables) await test.query(`create table public.${table} as select * from ${table}`)
    for (let at = 0; at < 2; at += 1) {
      await put(2)
      await sealing.seal()
    }
    await forge(
      ...tables.map((table) => `delete from ${table}`),
      ...tables.map((table) =>
        table === 'audit_entry'
          ? `insert into audit_entry overriding system value select * from public.${table}`
          : `insert into ${table} select * from public.${table}`,
      ),
    )
    expect(await refusal(sealTurn(sealing.deps))).toBe('file_ahead')
    const { findings } = await sealing.verify()
    expect(findings).toContainEqual({ check: 'checkpoint_missing', checkpoint: 2 })
    expect(findings).toContainEqual({ check: 'root', checkpoint: 2 })
    expect(await adoptRestored(sealing.deps, sealing.file)).toMatchObject({ no: 4, continues: 1, size: 3 })
    await put(1)
    expect(await sealing.seal()).toBe(1)
    await expectClean({ entries: 4, abandoned: 2 })
  })

  it('of another history, nothing is adopted', async () => {
    for (let at = 0; at < 2; at += 1) {
      await put(1)
      await sealing.seal()
    }
    await forge('delete from audit_checkpoint where checkpoint_no = 2', `update audit_checkpoint set root = sha256('')`)
    expect(await refusal(adoptRestored(sealing.deps, sealing.file))).toBe('file_differs')
  })
})

describe('purged entries', () => {
  const YEAR_MS = 366 * 86_400_000

  it('are excused once their checkpoint is seven years old, and not before; what follows is proven as ever', async () => {
    await put(3)
    await sealing.seal()
    await put(2)
    await sealing.seal()
    await forge('delete from audit_entry where entry_id <= 3')
    const after = (years: number) => sealing.verify({ now: () => Date.now() + years * YEAR_MS })
    expect(await after(7)).toMatchObject({ findings: [], purged: 3, entries: 2 })
    const missing = [0, 1, 2].map((leaf) => ({ check: 'entry_missing', checkpoint: 1, leaf }))
    expect((await after(6)).findings).toEqual(missing)
    await put(1)
    expect(await sealing.seal()).toBe(1)
  })

  it('are those that a purge took, of a month or of none', async () => {
    await test.query(`select audit_make_partitions('2014-03-01', 1)`)
    await put(3)
    await forge(
      `update audit_entry set at = '2014-03-31'`,
      `update audit_entry set at = '2014-04-01' where entry_id > 2`,
    )
    sealing.deps.now = () => Date.parse('2014-04-01T00:00:02Z')
    await sealing.seal()
    sealing.deps.now = Date.now
    await put(2)
    await sealing.seal()
    const [taken] = await test.query(`select array_agg(name) as names from audit_purge('2014-05-01Z') as name`)
    expect(taken).toEqual({ names: ['audit_entry_2014_03', 'audit_entry_default'] })
    expect(await sealing.verify()).toMatchObject({ findings: [], purged: 3, entries: 2 })
  })
})

it('a file that is not the sealer’s is found by its signatures', async () => {
  await put(1)
  await sealing.seal()
  const [line] = await inFile()
  await writeFile(sealing.file, (await readFile(sealing.file, 'utf8')).replace(line?.root ?? '', 'ab'.repeat(32)))
  expect((await sealing.verify()).findings.map(({ check }) => check)).toEqual([
    ...['file_signature', 'checkpoint_changed', 'root'],
  ])
})
