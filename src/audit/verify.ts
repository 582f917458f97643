// Verification of the audit. The file of checkpoints is the witness: each checkpoint of the database is compared with
// it, every root is recomputed from the entries, every chain is followed, and stock movements are compared with the
// entries. It can run on a busy system: unsealed entries are counted, and checked only by themselves.

import {
  CHECKPOINTS_PAGE,
  findCheckpoint,
  findLastCheckpoint,
  listCheckpoints,
  type AuditDb,
} from '../db/audit/seal.ts'
import { checkpointText, type Checkpoint } from '../domain/checkpoint.ts'
import { checkpointHash, isSealed } from '../keyvault/checkpoint.ts'
import { verifyChains } from './chain.ts'
import { collectFindings, TooManyFindings } from './finding.ts'
import { openLedger } from './ledger.ts'
import { verifyTree } from './tree.ts'
import type { Verdict, Verification, VerifyDeps } from './verification.ts'
import { readWitness, WitnessError } from './witness.ts'

/** Throws ENOENT if there is no file, and errors of the database. */
export async function verifyAudit(deps: VerifyDeps): Promise<Verdict> {
  const { findings, report } = collectFindings()
  const counts = { entries: 0, unsealed: 0, purged: 0, chains: 0, products: 0, abandoned: 0 }
  const verdict = { findings, isComplete: true, last: undefined, ...counts }
  const run: Verification = { ...deps, report, verdict, ledger: await openLedger(deps.database) }
  try {
    const newest = await findLastCheckpoint(deps.database)
    const plan = await verifyFile(run)
    if (plan !== undefined) {
      await verifyTree(run, liveCheckpoints(run, plan, newest), plan.eraEnds)
      run.verdict.products = run.ledger.report(report)
    }
    run.verdict.chains = await verifyChains({ ...run, isPurged: run.verdict.purged > 0 })
  } catch (error) {
    if (!(error instanceof TooManyFindings)) throw error
    run.verdict.isComplete = false
  }
  return run.verdict
}

/** The overview of the file: the ends of transaction-id eras, and the abandoned checkpoints. */
type Plan = { eraEnds: readonly bigint[]; gaps: readonly { after: number; before: number }[] }

/**
 * Verifies the file by itself: every line follows the previous one and is signed.
 * @returns undefined if it cannot be read
 */
async function verifyFile({ file, keys, report, verdict }: Verification): Promise<Plan | undefined> {
  const eraEnds = new Set<bigint>()
  const gaps: { after: number; before: number }[] = []
  let before: Checkpoint | undefined
  try {
    for await (const line of readWitness(file)) {
      const { no, continues, afterEntryId } = line
      if (no !== (before?.no ?? 0) + 1 || line.previous !== checkpointHash(before) || continues >= no)
        report({ check: 'file_order', checkpoint: no })
      if (!isSealed(line, keys)) report({ check: 'file_signature', checkpoint: no })
      if (continues < no - 1) gaps.push({ after: continues, before: no })
      if (afterEntryId > 0n) eraEnds.add(afterEntryId)
      before = line
    }
  } catch (error) {
    if (!(error instanceof WitnessError)) throw error
    report({ check: 'file_line', where: error.message })
    return undefined
  }
  verdict.last = before
  verdict.abandoned = gaps.reduce((sum, gap) => sum + gap.before - gap.after - 1, 0)
  return { eraEnds: [...eraEnds], gaps }
}

/** The file's checkpoints that cover the present entries; each is compared with the database's. */
async function* liveCheckpoints(
  run: Verification,
  { gaps }: Plan,
  newest: Checkpoint | null,
): AsyncGenerator<Checkpoint> {
  const { database, file, report } = run
  const stored = storedCheckpoints(database)
  let next = await stored.next()
  for await (const line of readWitness(file)) {
    const { no } = line
    while (next.done !== true && next.value.no < no) {
      report({ check: 'checkpoint_changed', checkpoint: next.value.no })
      next = await stored.next()
    }
    const found = next.done !== true && next.value.no === no ? next.value : undefined
    if (found !== undefined) next = await stored.next()
    const isGivenUp = gaps.some(({ after, before }) => no > after && no < before)
    if (isGivenUp) {
      if (found !== undefined) report({ check: 'checkpoint_changed', checkpoint: no })
      continue
    }
    if (found === undefined) report({ check: 'checkpoint_missing', checkpoint: no })
    else if (checkpointText(found) !== checkpointText(line) || found.signature !== line.signature)
      report({ check: 'checkpoint_changed', checkpoint: no })
    yield line
  }
  yield* unwitnessed(run, newest)
}

/** The database's newest checkpoint may be the one that the sealer is about to append; it is read before the file. */
async function* unwitnessed({ database, keys, report, verdict }: Verification, newest: Checkpoint | null) {
  const { last } = verdict
  if (newest === null || newest.no <= (last?.no ?? 0)) return
  const isNext = newest.no === (last?.no ?? 0) + 1 && newest.continues === (last?.no ?? 0)
  if (!isNext || newest.previous !== checkpointHash(last) || !isSealed(newest, keys))
    report({ check: 'checkpoint_unwitnessed', checkpoint: newest.no })
  else if ((await findCheckpoint(database, newest.no)) !== null) yield newest
}

async function* storedCheckpoints(database: AuditDb): AsyncGenerator<Checkpoint> {
  let after: number | undefined = 0
  while (after !== undefined) {
    const page: readonly Checkpoint[] = await listCheckpoints(database, after, CHECKPOINTS_PAGE)
    yield* page
    after = page.length < CHECKPOINTS_PAGE ? undefined : page.at(-1)?.no
  }
}
