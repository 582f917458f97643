// What a verification of the audit can find, each with its meaning, and the list that collects the findings.

export const CHECKS = {
  file_line: 'a line of the file is no checkpoint',
  file_order: 'a checkpoint of the file does not follow the one before it',
  file_signature: 'a checkpoint is not signed by a key that is believed',
  checkpoint_changed: 'the database has another checkpoint than the file',
  checkpoint_missing: 'a checkpoint of the file is not in the database',
  checkpoint_unwitnessed: 'the database has checkpoints that the file lacks',
  root: 'the entries under a checkpoint are not those it was signed for',
  tile: 'the stored tree is not the one that was signed',
  entry_changed: 'an entry was changed, moved or inserted after it could be sealed',
  entry_missing: 'an entry that was sealed is gone',
  entry_hash: "an entry's hash is not that of its text",
  entry_columns: "an entry's columns do not say what its text says",
  link: 'an entry does not follow the one before it in its chain',
  head: 'the newest entry of a chain is not the one kept as its head',
  row_missing: 'a chain has no aggregate',
  stock_ledger: "a product's movements do not add up to what its entries say",
} as const
export type Check = keyof typeof CHECKS

export type Finding = {
  check: Check
  checkpoint?: number
  /** Its place in the tree. */
  leaf?: number
  entryId?: bigint
  kind?: string
  aggregateId?: string | null
  seq?: bigint | null
  /** Where that is a line of the file. */
  where?: string
}
export type Report = (finding: Finding) => void

/** More would not help anybody to see where it broke. */
const MAX_FINDINGS = 1_000

/** Thrown by a report when there are enough. */
export class TooManyFindings extends Error {
  override readonly name = 'TooManyFindings'
}

export function collectFindings(): { findings: readonly Finding[]; report: Report } {
  const findings: Finding[] = []
  return {
    findings,
    report: (finding) => {
      findings.push(finding)
      if (findings.length >= MAX_FINDINGS) throw new TooManyFindings('too many findings')
    },
  }
}
