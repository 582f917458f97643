// What the sealer says of the audit at one moment, and which entries it says it of. The text below is what is signed:
// its form is fixed for ever, since checkpoints are kept for years.

/** Numbers of checkpoints and leaves are counted exactly by JavaScript; hashes are in lower-case hexadecimal. */
export type CheckpointHead = {
  /** 1, 2, 3 …: the line of the file it stands in. */
  no: number
  /** The checkpoint whose tree this one extends: no - 1, but for the first after a restore. 0: there is none. */
  continues: number
  /** Leaves of the tree. */
  size: number
  root: string
  /** The last entry written before transaction ids restarted from a low number, the last time they did. */
  afterEntryId: bigint
  /** The highest entry id under the tree. */
  lastEntryId: bigint
  /** Every transaction below this id had ended: none of them can write any more. */
  belowTxid: bigint
  /** By the sealer's clock: RFC 3339 in UTC, to the millisecond. */
  at: string
  /** SHA-256 of the text of checkpoint no - 1; of nothing for the first. */
  previous: string
  /** Which key signed it. */
  keyId: string
}
/** `signature`: Ed25519 over checkpointText, in base64. */
export type Checkpoint = CheckpointHead & { signature: string }

/** What the first checkpoint extends. */
export const NOTHING_SEALED = { no: 0, size: 0, root: '', afterEntryId: 0n, lastEntryId: 0n, belowTxid: 0n } as const
export type Base = Pick<Checkpoint, 'no' | 'size' | 'root' | 'afterEntryId' | 'lastEntryId' | 'belowTxid'>

export const checkpointText = (head: CheckpointHead): string =>
  [
    'holdfast audit checkpoint 1',
    `no ${head.no}`,
    `continues ${head.continues}`,
    `size ${head.size}`,
    `root ${head.root}`,
    `after-entry ${head.afterEntryId}`,
    `last-entry ${head.lastEntryId}`,
    `below-txid ${head.belowTxid}`,
    `at ${head.at}`,
    `previous ${head.previous}`,
    `key ${head.keyId}`,
    '',
  ].join('\n')

/** Entries `afterEntryId` < id ≤ `upToEntryId` of transactions `fromTxid` ≤ txid < `belowTxid`; undefined: no bound. */
export type SealedRange = {
  afterEntryId: bigint
  upToEntryId: bigint | undefined
  fromTxid: bigint
  belowTxid: bigint | undefined
}

/** Where a checkpoint ends. */
export type Bounds = Pick<Checkpoint, 'afterEntryId' | 'belowTxid'>

/**
 * Which entries became leaves with a checkpoint. Their order in the tree is that of (txid, entry id).
 * Where it begins a new count of transaction ids, they are what was left unsealed of the old one.
 * @param eraEndsAt the last entry id of the checkpoint's own count, where another one followed
 */
export function rangeOf(checkpoint: Bounds, base: Bounds, eraEndsAt: bigint | undefined): SealedRange {
  const { afterEntryId, belowTxid: fromTxid } = base
  return checkpoint.afterEntryId === afterEntryId
    ? { afterEntryId, upToEntryId: eraEndsAt, fromTxid, belowTxid: checkpoint.belowTxid }
    : { afterEntryId, upToEntryId: checkpoint.afterEntryId, fromTxid, belowTxid: undefined }
}
