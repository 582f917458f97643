// One verification of the audit: what it needs, what its parts share, and its verdict.

import type { AuditDb } from '../db/audit/seal.ts'
import type { Checkpoint } from '../domain/checkpoint.ts'
import type { SealerKeys } from '../keyvault/checkpoint.ts'
import type { Finding, ReportFinding } from './finding.ts'
import type { Ledger } from './ledger.ts'

export type VerifyDeps = {
  database: AuditDb
  keys: SealerKeys
  /** The sealer's file, or a copy of it. */
  file: string
  now?: () => number
}

export type Verdict = {
  findings: readonly Finding[]
  /** False: so much was found that the rest was not looked at. */
  isComplete: boolean
  entries: number
  /** Of them, not under a checkpoint yet. */
  unsealed: number
  /** Leaves whose entries were purged after their years. */
  purged: number
  chains: number
  /** Whose movements were compared with their entries. */
  products: number
  /** The newest checkpoint that the file has. */
  last: Checkpoint | undefined
  /** Checkpoints that a restored database no longer has; the file says which. */
  abandoned: number
}

/** What the parts of one verification share. */
export type Verification = VerifyDeps & {
  report: ReportFinding
  ledger: Ledger
  verdict: { -readonly [K in keyof Verdict]: Verdict[K] }
}
