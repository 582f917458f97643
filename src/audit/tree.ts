// Recomputes every root from its entries. If a root differs from the signed one, the stored leaves show which entries
// were changed, as long as the leaves themselves lead to the signed root.

import { readTiles, type AuditDb } from '../db/audit/seal.ts'
import { readEntries, type AuditEntry } from '../db/audit/verify.ts'
import { NOTHING_SEALED, type Base, type Checkpoint } from '../domain/checkpoint.ts'
import { hashOf, type Hash } from '../domain/merkle.ts'
import { edgeOf, grow, subtreeReader, TILE_WIDTH, tileKey, tileMap, type Tile } from '../domain/tile.ts'
import { entryHash, leafHash, nodeHash } from '../keyvault/checkpoint.ts'
import type { ReportFinding } from './finding.ts'
import type { Verification } from './verification.ts'

const ENTRIES_PAGE = 500
/** Entries younger than this are never purged (requirement T-12). */
const KEPT_YEARS = 7

/** @param eraEnds the last entry ids of completed transaction-id eras, in ascending order */
export async function verifyTree(
  run: Verification,
  checkpoints: AsyncGenerator<Checkpoint>,
  eraEnds: readonly bigint[],
): Promise<void> {
  const { report } = run
  let base: Base = NOTHING_SEALED
  let edge: Tile[] | undefined = []
  let entries = entryReader(run, 0n, eraEnds[0])
  for await (const checkpoint of checkpoints) {
    if (checkpoint.continues !== base.no) report({ check: 'file_order', checkpoint: checkpoint.no })
    const isSameEra = checkpoint.afterEntryId === base.afterEntryId
    const batch = await entries.take(isSameEra ? checkpoint.belowTxid : undefined)
    if (edge !== undefined) edge = await verifyBatch(run, { base, checkpoint, edge, batch })
    if (!isSameEra) {
      const { afterEntryId } = checkpoint
      entries = entryReader(
        run,
        afterEntryId,
        eraEnds.find((end) => end > afterEntryId),
      )
    }
    base = checkpoint
  }
  run.verdict.unsealed = await entries.drain()
}

type Leaf = { entry: Pick<AuditEntry, 'entryId' | 'kind' | 'aggregateId' | 'seq'>; hash: Hash }

/** Reads the entries of one transaction-id era, checks each by itself, and returns them up to a transaction. */
function entryReader({ database, report, ledger, verdict }: Verification, afterId: bigint, upToId: bigint | undefined) {
  const entries = readEntries(database, { afterId, upToId, pageSize: ENTRIES_PAGE })
  let waiting: AuditEntry | undefined
  const next = async (belowTxid: bigint | undefined): Promise<AuditEntry | undefined> => {
    const entry: AuditEntry | undefined = waiting ?? (await entries.next()).value
    waiting = undefined
    if (entry !== undefined && belowTxid !== undefined && entry.txid >= belowTxid) return void (waiting = entry)
    if (entry === undefined) return undefined
    verifyEntry(entry, report)
    ledger.note(entry)
    verdict.entries += 1
    return entry
  }
  return {
    take: async (belowTxid: bigint | undefined): Promise<Leaf[]> => {
      const batch: Leaf[] = []
      for (let entry = await next(belowTxid); entry !== undefined; entry = await next(belowTxid)) {
        const { entryId, kind, aggregateId, seq } = entry
        batch.push({ entry: { entryId, kind, aggregateId, seq }, hash: leafHash(entry) })
      }
      return batch
    },
    /** Counts the remaining entries. */
    drain: async (): Promise<number> => {
      let count = 0
      while ((await next(undefined)) !== undefined) count += 1
      return count
    },
  }
}

function verifyEntry(entry: AuditEntry, report: ReportFinding): void {
  const { entryId, kind, aggregateId, seq, body, hash } = entry
  const place = { entryId, kind, aggregateId, seq }
  if (!hash.equals(entryHash(entry.prevHash ?? undefined, body))) report({ check: 'entry_hash', ...place })
  if (!saysTheSame(entry)) report({ check: 'entry_columns', ...place })
}

/** src/domain/audit.ts and audit_body define the format. */
function saysTheSame({ kind, aggregateId, seq, at, txid, actor, body }: AuditEntry): boolean {
  try {
    const said = JSON.parse(body) as Record<string, unknown> & { by?: { actor?: unknown } }
    const pairs = [
      ...[
        [said['kind'], kind],
        [said['id'], aggregateId],
        [said['seq'], seq === null ? null : String(seq)],
      ],
      ...[
        [said['at'], at],
        [said['txid'], String(txid)],
        [said.by?.actor, actor],
      ],
    ]
    return pairs.every(([one, other]) => one === other)
  } catch {
    return false
  }
}

type Batch = { base: Base; checkpoint: Checkpoint; edge: Tile[]; batch: readonly Leaf[] }

/** @returns the tree's edge after this checkpoint; undefined if it cannot be known */
async function verifyBatch(run: Verification, { base, checkpoint, edge, batch }: Batch): Promise<Tile[] | undefined> {
  const { database, report } = run
  const no = checkpoint.no
  const found = growTo(
    checkpoint,
    base,
    edge,
    batch.map(({ hash }) => hash),
  )
  const sealed = await storedLeaves(database, base.size, checkpoint.size)
  if (found !== undefined) {
    if (sealed === undefined || !batch.every(({ hash }, at) => isEqual(hash, sealed[at])))
      report({ check: 'tile', checkpoint: no })
    await verifyTiles(run, no, found.tiles)
    return found.edge
  }
  const kept = sealed === undefined ? undefined : growTo(checkpoint, base, edge, sealed)
  if (sealed === undefined || kept === undefined) return void report({ check: 'root', checkpoint: no })
  compareLeaves(run, { base, checkpoint, batch, sealed })
  await verifyTiles(run, no, kept.tiles)
  return kept.edge
}

/** The tree with these leaves, if its root is the signed one. */
function growTo(checkpoint: Checkpoint, base: Base, edge: readonly Tile[], leaves: readonly Hash[]) {
  const { size, tiles } = grow(base.size, edge, leaves, nodeHash)
  if (size !== checkpoint.size || size === 0) return undefined
  const all = new Map([...tileMap(edge), ...tileMap(tiles)])
  const root = hashOf({ start: 0, end: size }, subtreeReader(all, nodeHash), nodeHash)
  if (hexOf(root) !== checkpoint.root) return undefined
  return { tiles, edge: edgeOf(size).flatMap((id) => all.get(tileKey(id)) ?? []) }
}

/** Finds the entries that differ from the stored leaves. */
function compareLeaves(
  { report, verdict, now = Date.now }: Verification,
  { base, checkpoint, batch, sealed }: Omit<Batch, 'edge'> & { sealed: readonly Hash[] },
): void {
  const leaves = new Map(sealed.map((hash, at) => [hexOf(hash), base.size + at]))
  const strangers = batch.filter(({ hash }) => !leaves.delete(hexOf(hash)))
  for (const { entry } of strangers) report({ check: 'entry_changed', checkpoint: checkpoint.no, ...entry })
  const keptUntil = new Date(checkpoint.at)
  keptUntil.setUTCFullYear(keptUntil.getUTCFullYear() + KEPT_YEARS)
  const missing = [...leaves.values()]
  if (now() >= keptUntil.getTime()) verdict.purged += missing.length
  else for (const leaf of missing) report({ check: 'entry_missing', checkpoint: checkpoint.no, leaf })
}

/** Undefined if one is missing. */
async function storedLeaves(database: AuditDb, from: number, to: number): Promise<Hash[] | undefined> {
  const leaves: Hash[] = []
  for (let at = from; at < to;) {
    const no = Math.floor(at / TILE_WIDTH)
    const tile = (await readTiles(database, [{ level: 0, no }])).get(tileKey({ level: 0, no }))
    const end = Math.min(to, (no + 1) * TILE_WIDTH)
    const part = tile?.hashes.slice(at - no * TILE_WIDTH, end - no * TILE_WIDTH) ?? []
    if (part.length < end - at) return undefined
    leaves.push(...part)
    at = end
  }
  return leaves
}

/** The levels above the leaves: proofs are built from them. */
async function verifyTiles(
  { database, report }: Verification,
  checkpoint: number,
  grown: readonly Tile[],
): Promise<void> {
  const upper = grown.filter(({ level }) => level > 0)
  if (upper.length === 0) return
  const stored = await readTiles(database, upper)
  const isSame = upper.every((tile) => {
    const hashes = stored.get(tileKey(tile))?.hashes ?? []
    return tile.hashes.every((hash, at) => isEqual(hash, hashes[at]))
  })
  if (!isSame) report({ check: 'tile', checkpoint })
}

const isEqual = (one: Hash, other: Hash | undefined): boolean => other !== undefined && Buffer.compare(one, other) === 0
const hexOf = (hash: Hash): string => Buffer.from(hash).toString('hex')
