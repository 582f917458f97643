// Inclusion proofs of single entries: built from the stored tree, verified with the sealer's public key only.

import { z } from 'zod'
import { findCheckpoint, findLastCheckpoint, findSealOf, readTiles, type AuditDb } from '../db/audit/seal.ts'
import type { AuditEntry } from '../db/audit/verify.ts'
import type { Checkpoint } from '../domain/checkpoint.ts'
import { hashOf, inclusionSpans, rootFromInclusion, subtreesOf, type Hash } from '../domain/merkle.ts'
import { placeOf, subtreeReader, TILE_WIDTH, tileKey, type TileId } from '../domain/tile.ts'
import { entryHash, isSealed, leafHash, nodeHash, type SealerKeys } from '../keyvault/checkpoint.ts'
import { CHECKPOINT } from './witness.ts'

export type InclusionProof = { leafIndex: number; path: readonly Hash[] }
export type ProvenEntry = { entry: AuditEntry; proof: InclusionProof | undefined }

/**
 * Builds proofs under the newest checkpoint. An unsealed entry has no proof.
 * @throws {Error} if an entry differs from the sealed one
 */
export async function proveEntries(
  database: AuditDb,
  entries: readonly AuditEntry[],
): Promise<{ checkpoint: Checkpoint | undefined; proven: readonly ProvenEntry[] }> {
  const checkpoint = (await findLastCheckpoint(database)) ?? undefined
  if (checkpoint === undefined) return { checkpoint, proven: entries.map((entry) => ({ entry, proof: undefined })) }
  const proven: ProvenEntry[] = []
  for (const entry of entries) {
    const leafIndex = await findLeaf(database, entry, checkpoint)
    const proof =
      leafIndex === undefined ? undefined : { leafIndex, path: await pathOf(database, leafIndex, checkpoint) }
    proven.push({ entry, proof })
  }
  return { checkpoint, proven }
}

/** The leaf index of an entry, among the leaves that its checkpoint added. */
async function findLeaf(database: AuditDb, entry: AuditEntry, newest: Checkpoint): Promise<number | undefined> {
  const seal = await findSealOf(database, entry)
  if (seal === null || seal.no > newest.no) return undefined
  const from = seal.continues === 0 ? 0 : ((await findCheckpoint(database, seal.continues))?.size ?? 0)
  const wanted = leafHash(entry)
  const [first, last] = [Math.floor(from / TILE_WIDTH), Math.floor((seal.size - 1) / TILE_WIDTH)]
  const ids = Array.from({ length: last - first + 1 }, (_, at) => ({ level: 0, no: first + at }))
  for (const { no, hashes } of (await readTiles(database, ids)).values()) {
    const at = hashes.findIndex((hash) => Buffer.compare(hash, wanted) === 0)
    const index = no * TILE_WIDTH + at
    if (at !== -1 && index >= from && index < seal.size) return index
  }
  throw new Error(`audit entry ${entry.entryId} differs from the sealed one`)
}

async function pathOf(database: AuditDb, index: number, { size }: Checkpoint): Promise<Hash[]> {
  const spans = inclusionSpans(index, size)
  const ids = new Map<string, TileId>()
  for (const subtree of spans.flatMap(subtreesOf)) ids.set(tileKey(placeOf(subtree)), placeOf(subtree))
  const read = subtreeReader(await readTiles(database, [...ids.values()]), nodeHash)
  return spans.map((span) => hashOf(span, read, nodeHash))
}

const big = z
  .string()
  .regex(/^(0|[1-9]\d{0,19})$/)
  .transform(BigInt)
const hash = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .transform((hex) => Buffer.from(hex, 'hex'))

/** The output of `holdfast audit proof`: everything that a verifier needs except the public key. */
export const PROOF_FILE = z.strictObject({
  format: z.literal('holdfast audit proof 1'),
  orderId: z.string(),
  entries: z.array(
    z.strictObject({
      entryId: big,
      txid: big,
      seq: big,
      /** Null: the first entry of its chain. */
      prevHash: hash.nullable(),
      body: z.string(),
      hash,
      /** Null: not sealed yet. */
      seal: z
        .strictObject({
          leafIndex: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
          path: z.array(hash).max(64),
          checkpoint: CHECKPOINT,
        })
        .nullable(),
    }),
  ),
})
export type ProofFile = z.output<typeof PROOF_FILE>

export type ProofVerdict = {
  /** Problems by entry; empty if the proof is valid. */
  problems: readonly { entryId: bigint; problem: string }[]
  sealed: number
  unsealed: number
}

/** Verifies a proof offline: hashes, chain, paths and signatures. It cannot detect entries that the file leaves out. */
export function checkProof({ orderId, entries }: ProofFile, keys: SealerKeys): ProofVerdict {
  const problems = entries.flatMap((entry, at) =>
    problemsOf(entry, entries[at - 1], orderId, keys).map((problem) => ({ entryId: entry.entryId, problem })),
  )
  const sealed = entries.filter(({ seal }) => seal !== null).length
  return { problems, sealed, unsealed: entries.length - sealed }
}

type FileEntry = ProofFile['entries'][number]

function problemsOf(entry: FileEntry, before: FileEntry | undefined, orderId: string, keys: SealerKeys): string[] {
  const { seq, prevHash, body, seal } = entry
  const problems: string[] = []
  if (!entry.hash.equals(entryHash(prevHash ?? undefined, body))) problems.push('its hash does not match its text')
  if (!isAbout(entry, orderId)) problems.push('its text is about another order')
  const follows = before === undefined ? (seq === 1n) === (prevHash === null) : before.seq + 1n === seq
  if (!follows || (before !== undefined && prevHash?.equals(before.hash) !== true))
    problems.push('it does not follow the previous entry')
  if (seal === null) return problems
  if (!isSealed(seal.checkpoint, keys)) problems.push('its checkpoint is not signed by a trusted key')
  const { leafIndex: index, path, checkpoint } = seal
  const root = rootFromInclusion({ leaf: leafHash(entry), index, size: checkpoint.size, path }, nodeHash)
  if (root === undefined || Buffer.from(root).toString('hex') !== checkpoint.root)
    problems.push('its path does not lead to the root of its checkpoint')
  return problems
}

function isAbout({ seq, txid, body }: FileEntry, orderId: string): boolean {
  try {
    const said = JSON.parse(body) as Record<string, unknown>
    const isOrder = said['kind'] === 'order' && said['id'] === orderId
    return isOrder && said['seq'] === String(seq) && said['txid'] === String(txid)
  } catch {
    return false
  }
}
