// Verifies every link of every hash chain: each entry contains the hash of the previous one, none is missing, and the
// newest is the stored head of its chain. A check of the ends alone would miss a replaced middle.

import { readHeads, readLinks, type Head, type Link } from '../db/audit/verify.ts'
import type { AuditDb } from '../db/audit/seal.ts'
import type { ReportFinding } from './finding.ts'

const LINKS_PAGE = 1_000

export type ChainOptions = {
  database: AuditDb
  report: ReportFinding
  /** Entries were purged: a chain may begin after its first entry. */
  isPurged: boolean
}

/** @returns the number of chains */
export async function verifyChains({ database, report, isPurged }: ChainOptions): Promise<number> {
  let chains = 0
  let before: Link | undefined
  for await (const page of readLinks(database, LINKS_PAGE)) {
    const ends: Link[] = []
    for (const link of page) {
      const isSame = before?.kind === link.kind && before.aggregateId === link.aggregateId
      if (!isSame) chains += 1
      if (!isSame && before !== undefined) ends.push(before)
      if (!isLinked(link, isSame ? before : undefined, isPurged)) report({ check: 'link', ...placeOf(link) })
      before = link
    }
    await verifyHeads(database, ends, report)
  }
  await verifyHeads(database, before === undefined ? [] : [before], report)
  return chains
}

function isLinked(link: Link, before: Link | undefined, isPurged: boolean): boolean {
  if (before === undefined) return link.seq === 1n ? link.prevHash === null : isPurged
  return link.seq === before.seq + 1n && link.prevHash !== null && link.prevHash.equals(before.hash)
}

/**
 * One statement reads heads and newest entries together, so that a chain that grows during the check is not a finding.
 */
async function verifyHeads(database: AuditDb, ends: readonly Link[], report: ReportFinding): Promise<void> {
  if (ends.length === 0) return
  const heads = new Map((await readHeads(database, ends)).map((head) => [`${head.kind} ${head.aggregateId}`, head]))
  for (const end of ends) {
    const head = heads.get(`${end.kind} ${end.aggregateId}`)
    if (head === undefined) report({ check: 'row_missing', ...placeOf(end) })
    else if (!isNewest(head)) report({ check: 'head', ...placeOf(end) })
  }
}

const isNewest = ({ seq, hash, lastSeq, lastHash }: Head): boolean =>
  seq === null ? hash === null && lastSeq === 1n : seq === lastSeq && hash !== null && lastHash?.equals(hash) === true

const placeOf = ({ entryId, kind, aggregateId, seq }: Link) => ({ entryId, kind, aggregateId, seq })
