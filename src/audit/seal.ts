// One turn of the sealer: entries committed since the last checkpoint become leaves; the new root is signed, stored,
// and then appended to the file. The file is at most one checkpoint behind the database, and a turn begins by catching
// up. Any inconsistency stops the sealing, since a signature would confirm it.

import {
  findLastCheckpoint,
  findLastOldEntry,
  findTxidAt,
  CHECKPOINTS_PAGE,
  listCheckpoints,
  listLeaves,
  readHorizon,
  readTiles,
  storeCheckpoint,
  type AuditDb,
} from '../db/audit/seal.ts'
import {
  checkpointText,
  NOTHING_SEALED,
  rangeOf,
  type Base,
  type Bounds,
  type Checkpoint,
} from '../domain/checkpoint.ts'
import { hashOf } from '../domain/merkle.ts'
import { edgeOf, grow, subtreeReader, tileKey, tileMap, type Tile } from '../domain/tile.ts'
import { checkpointHash, isSealed, leafHash, nodeHash, type Sealer, type SealerKeys } from '../keyvault/checkpoint.ts'
import { readWitness, type Witness } from './witness.ts'

/** The most leaves of one checkpoint: a backlog becomes several checkpoints, each within the statement timeout. */
const MAX_LEAVES = 8_192

export const REFUSALS = ['file_ahead', 'file_differs', 'signature', 'tree', 'restored'] as const
export type SealRefusal = (typeof REFUSALS)[number]

/** Thrown when further sealing would hide a change. An operator must act (docs/operations.md). */
export class SealRefused extends Error {
  override readonly name = 'SealRefused'
  readonly reason: SealRefusal
  constructor(reason: SealRefusal, message: string) {
    super(message)
    this.reason = reason
  }
}

export type SealDeps = {
  database: AuditDb
  sealer: Sealer
  /** Trusted public keys, including the sealer's own. */
  keys: SealerKeys
  witness: Witness
  now?: () => number
}

/**
 * Seals what can be sealed, in one checkpoint.
 * @returns the checkpoint, or undefined if there was nothing new. Throws SealRefused
 */
export async function sealTurn(deps: SealDeps): Promise<Checkpoint | undefined> {
  // The file first: everything in it now was in the database before.
  await deps.witness.refresh()
  const last = (await findLastCheckpoint(deps.database)) ?? undefined
  await catchUp(deps, last)
  const base = last ?? NOTHING_SEALED
  const { xmin, xmax } = await readHorizon(deps.database)
  if (xmax < base.belowTxid)
    throw new SealRefused('restored', 'transaction ids have restarted: this database was restored from a dump')
  const bounds = { afterEntryId: base.afterEntryId, belowTxid: await cutOf(deps, base, xmin) }
  return sealUpTo(deps, base, bounds, base.no + 1)
}

/** The bound of the next checkpoint: all transactions that have ended, or as many as one checkpoint takes. */
async function cutOf({ database }: SealDeps, base: Base, xmin: bigint): Promise<bigint> {
  const range = rangeOf({ ...base, belowTxid: xmin }, base, undefined)
  const [first, beyond] = [await findTxidAt(database, range, 0), await findTxidAt(database, range, MAX_LEAVES)]
  if (first === null || beyond === null) return xmin
  return beyond > first ? beyond : first + 1n
}

async function sealUpTo(deps: SealDeps, base: Base, bounds: Bounds, no: number): Promise<Checkpoint | undefined> {
  const { database, sealer, witness, now = Date.now } = deps
  // Checked on every turn, also if there is nothing to add.
  const edge = await readEdge(database, base)
  const leaves = await listLeaves(database, rangeOf(bounds, base, undefined))
  const isAdopting = bounds.afterEntryId !== base.afterEntryId || no !== base.no + 1
  if (leaves.length === 0 && !isAdopting) return undefined
  const { size, tiles } = grow(base.size, edge, leaves.map(leafHash), nodeHash)
  if (size === 0) throw new SealRefused('restored', 'there is nothing to seal yet')
  const checkpoint = sealer.seal({
    ...{ no, continues: base.no, size, root: rootOf(new Map([...tileMap(edge), ...tileMap(tiles)]), size), ...bounds },
    lastEntryId: leaves.reduce((highest, { entryId }) => (entryId > highest ? entryId : highest), base.lastEntryId),
    at: new Date(now()).toISOString(),
    previous: checkpointHash(witness.last()),
  })
  await storeCheckpoint(database, checkpoint, tiles)
  await witness.append(checkpoint)
  return checkpoint
}

/** Throws SealRefused if the stored tree differs from the signed one. */
async function readEdge(database: AuditDb, base: Base): Promise<Tile[]> {
  if (base.size === 0) return []
  const ids = edgeOf(base.size)
  const stored = await readTiles(database, ids)
  const edge = ids.flatMap((id) => stored.get(tileKey(id)) ?? [])
  const isWhole = ids.every((id) => stored.get(tileKey(id))?.hashes.length === id.width)
  if (isWhole && rootOf(tileMap(edge), base.size) === base.root) return edge
  // Race: another sealer has acquired the lease and extended the tree.
  if ((await findLastCheckpoint(database))?.no !== base.no) throw new Error('another sealer has added a checkpoint')
  throw new SealRefused('tree', `the stored tree differs from that of checkpoint ${base.no}`)
}

const rootOf = (tiles: ReadonlyMap<string, Tile>, size: number): string =>
  size === 0
    ? ''
    : Buffer.from(hashOf({ start: 0, end: size }, subtreeReader(tiles, nodeHash), nodeHash)).toString('hex')

/** Appends to the file what only the database has: after a crash between the two, or for a new file. */
async function catchUp({ database, keys, witness }: SealDeps, last: Checkpoint | undefined): Promise<void> {
  const written = witness.last()
  if ((written?.no ?? 0) > (last?.no ?? 0))
    throw new SealRefused(
      'file_ahead',
      `the file has checkpoint ${written?.no}, the database ends with ${last?.no ?? 0}`,
    )
  if (written !== undefined && written.no === last?.no && !isSame(written, last))
    throw new SealRefused('file_differs', `checkpoint ${last.no} is not the one in the file`)
  while ((witness.last()?.no ?? 0) < (last?.no ?? 0)) {
    for (const checkpoint of await listCheckpoints(database, witness.last()?.no ?? 0, CHECKPOINTS_PAGE)) {
      if (!isSealed(checkpoint, keys) || !follows(checkpoint, witness.last()))
        throw new SealRefused('signature', `checkpoint ${checkpoint.no} was not made by a sealer`)
      await witness.append(checkpoint)
    }
  }
}

/** Checkpoints abandoned by a restore are missing in a new file. */
const follows = (checkpoint: Checkpoint, before: Checkpoint | undefined): boolean =>
  checkpoint.no === (before?.no ?? 0) + 1
    ? checkpoint.previous === checkpointHash(before)
    : checkpoint.continues === (before?.no ?? 0)

const isSame = (one: Checkpoint, other: Checkpoint): boolean =>
  checkpointText(one) === checkpointText(other) && one.signature === other.signature

/**
 * Resumes after a restore: the next checkpoint of the file continues the last one in the restored database. Later
 * checkpoints of the file are abandoned and stay in it.
 * @param path path of the file. Throws SealRefused
 */
export async function adoptRestored(deps: SealDeps, path: string): Promise<Checkpoint | undefined> {
  const { database, witness } = deps
  await witness.refresh()
  const last = (await findLastCheckpoint(database)) ?? undefined
  const written = witness.last()
  const { xmin, xmax } = await readHorizon(database)
  const base = last ?? NOTHING_SEALED
  const isCountNew = xmax < base.belowTxid
  if ((written?.no ?? 0) <= base.no && !isCountNew)
    throw new SealRefused('restored', 'nothing was restored: the file and the database are at the same checkpoint')
  if (last !== undefined && !(await isWritten(last, path)))
    throw new SealRefused('file_differs', `checkpoint ${last.no} is not the one in the file`)
  const bounds = isCountNew
    ? { afterEntryId: await findLastOldEntry(database, base), belowTxid: 0n }
    : { afterEntryId: base.afterEntryId, belowTxid: xmin }
  return sealUpTo(deps, base, bounds, Math.max(written?.no ?? 0, base.no) + 1)
}

async function isWritten(checkpoint: Checkpoint, path: string): Promise<boolean> {
  for await (const line of readWitness(path)) if (line.no === checkpoint.no) return isSame(line, checkpoint)
  return false
}
