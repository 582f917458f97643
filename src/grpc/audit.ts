// AuditService: what was done to an order and by whom, each entry with its inclusion proof, which the caller verifies.

import { proveEntries, type ProvenEntry } from '../audit/proof.ts'
import { listChain } from '../db/audit/verify.ts'
import type { Database } from '../db/connection/pool.ts'
import { findSnapshot } from '../db/read.ts'
import type { Checkpoint } from '../domain/checkpoint.ts'
import type { CursorSeal } from '../keyvault/cursor.ts'
import type { AuditCheckpoint, AuditEntry as AuditEntryMessage, AuditServiceService } from './gen/holdfast/v1/audit.ts'
import type { Handlers } from './handle.ts'
import { cutPage, NUMBER_PATTERN, pageOf } from './page.ts'
import { orderScopeOf, orderUnreachable } from './permission.ts'

/** The largest proof, 64 hashes with their tags, and the other fields beside the body. */
const MAX_BYTES_BESIDE_BODY = 64 * 34 + 256

export const createAuditHandlers = ({
  database,
  cursors,
}: {
  database: Database
  cursors: CursorSeal
}): Handlers<typeof AuditServiceService> => ({
  getOrderHistory: async ({ orderId, limit, cursor }, call) => {
    const order = await findSnapshot(database, orderId, orderScopeOf(call))
    if (order === undefined) throw orderUnreachable(call)
    const listing = { cursors, call, filter: { orderId }, idPattern: NUMBER_PATTERN }
    const asked = pageOf(listing, { limit, cursor })
    const chain = { kind: 'order', aggregateId: orderId }
    const rows = await listChain(database, chain, { afterSeq: BigInt(asked.after ?? 0), limit: asked.limit })
    const { page, nextCursor } = cutPage(listing, rows, {
      limit,
      idOf: ({ seq }) => String(seq),
      bytesOf: ({ body }) => Buffer.byteLength(body) + MAX_BYTES_BESIDE_BODY,
    })
    const { checkpoint, proven } = await proveEntries(database, page)
    return {
      entries: proven.map(entryMessage),
      checkpoint: checkpoint === undefined ? undefined : checkpointMessage(checkpoint),
      nextCursor,
    }
  },
})

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
