// What a verification of the audit can find, each with its meaning, and the list that collects the findings.

export const CHECKS = {
  file_line: 'a line of the file is not a checkpoint',
  file_order: 'a checkpoint of the file does not follow the previous one',
  file_signature: 'a checkpoint is not signed by a trusted key',
  checkpoint_changed: 'a checkpoint differs between the database and the file',
  checkpoint_missing: 'a checkpoint of the file is not in the database',
  checkpoint_unwitnessed: 'the database has checkpoints that are not in the file',
  root: 'the entries under a checkpoint do not have its signed root',
  tile: 'the stored tree differs from the signed one',
  entry_changed: 'an entry was changed, moved or inserted after its place was sealed',
  entry_missing: 'a sealed entry is missing',
  entry_hash: "an entry's hash does not match its text",
  entry_columns: "an entry's columns do not match its text",
  link: 'an entry does not follow the previous one in its chain',
  head: 'the newest entry of a chain is not its stored head',
  row_missing: 'a chain has no aggregate row',
  stock_ledger: "a product's stock movements do not match its audit entries",
} as const
export type Check = keyof typeof CHECKS

export type Finding = {
  check: Check
  checkpoint?: number
  /** The leaf index in the tree. */
  leaf?: number
  entryId?: bigint
  kind?: string
  aggregateId?: string | null
  seq?: bigint | null
  /** The line, if it is in the file. */
  where?: string
}
export type ReportFinding = (finding: Finding) => void

/** More findings would not help to locate the change. */
const MAX_FINDINGS = 1_000

/** Thrown by `report` after MAX_FINDINGS. */
export class TooManyFindings extends Error {
  override readonly name = 'TooManyFindings'
}

export function collectFindings(): { findings: readonly Finding[]; report: ReportFinding } {
  const findings: Finding[] = []
  return {
    findings,
    report: (finding) => {
      findings.push(finding)
      if (findings.length >= MAX_FINDINGS) throw new TooManyFindings('too many findings')
    },
  }
}
