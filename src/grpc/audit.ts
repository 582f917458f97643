// AuditService: what was done to an order and by whom, each entry with its inclusion proof, which the caller verifies.

import { proveEntries, type ProvenEntry } from '../audit/proof.ts'
import { listChain } from '../db/audit/verify.ts'
import type { Database } from '../db/connection/pool.ts'
import { findSnapshot } from '../db/read.ts'
import type { Checkpoint } from '../domain/checkpoint.ts'
import { cutPage, NUMBER_PATTERN, pageOf } from './convert.ts'
import type { AuditCheckpoint, AuditEntry as AuditEntryMessage, AuditServiceService } from './gen/holdfast/v1/audit.ts'
import type { Handlers } from './handle.ts'
import { orderScopeOf, orderUnreachable } from './permission.ts'

/** Half of the maximum answer size: entries can be long. */
const MAX_PAGE_BYTES = 524_288

export const createAuditHandlers = ({ database }: { database: Database }): Handlers<typeof AuditServiceService> => ({
  getOrderHistory: async ({ orderId, limit, cursor }, call) => {
    const order = await findSnapshot(database, orderId, orderScopeOf(call))
    if (order === undefined) throw orderUnreachable(call)
    const filter = `history of ${orderId}`
    const asked = pageOf({ limit, offset: 0, cursor }, filter, NUMBER_PATTERN)
    const chain = { kind: 'order', aggregateId: orderId }
    const rows = await listChain(database, chain, { afterSeq: BigInt(asked.after ?? 0), limit: asked.limit })
    const fitting = Math.min(limit, countFitting(rows.map(({ body }) => body)))
    const { page, nextCursor } = cutPage(rows.slice(0, fitting + 1), fitting, filter, ({ seq }) => String(seq))
    const { checkpoint, proven } = await proveEntries(database, page)
    return {
      entries: proven.map(entryMessage),
      checkpoint: checkpoint === undefined ? undefined : checkpointMessage(checkpoint),
      nextCursor,
    }
  },
})

/** How many texts fit into an answer, at least one. */
function countFitting(texts: readonly string[]): number {
  let bytes = 0
  const over = texts.findIndex((text) => (bytes += Buffer.byteLength(text)) > MAX_PAGE_BYTES)
  return over === -1 ? texts.length : Math.max(1, over)
}

const entryMessage = ({ entry, proof }: ProvenEntry): AuditEntryMessage => ({
  entryId: entry.entryId,
  txid: entry.txid,
  seq: entry.seq ?? 0n,
  prevHash: entry.prevHash ?? Buffer.of(),
  body: entry.body,
  hash: entry.hash,
  proof:
    proof === undefined
      ? undefined
      : { leafIndex: BigInt(proof.leafIndex), path: proof.path.map((hash) => Buffer.from(hash)) },
})

const checkpointMessage = (checkpoint: Checkpoint): AuditCheckpoint => ({
  number: BigInt(checkpoint.no),
  continues: BigInt(checkpoint.continues),
  size: BigInt(checkpoint.size),
  root: Buffer.from(checkpoint.root, 'hex'),
  afterEntryId: checkpoint.afterEntryId,
  lastEntryId: checkpoint.lastEntryId,
  belowTxid: checkpoint.belowTxid,
  sealedAt: checkpoint.at,
  previous: Buffer.from(checkpoint.previous, 'hex'),
  keyId: checkpoint.keyId,
  signature: Buffer.from(checkpoint.signature, 'base64'),
})
