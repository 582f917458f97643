// Compares stock movements with the audit entries of stock. An unnoticed change of entries is impossible, but not one
// of the ledger. Each product is compared at one moment, so that concurrent changes are not findings: the movements are
// summed first, together with the stock row's version at that moment, and only entries up to that version count.

import { setTimeout } from 'node:timers/promises'
import { z } from 'zod'
import type { AuditDb } from '../db/audit/seal.ts'
import { isSnapshotOver, readCounted, readLedgerMoment, readMovements, type AuditEntry } from '../db/audit/verify.ts'
import { parseBody } from '../domain/audit.ts'
import type { ReportFinding } from './finding.ts'

const MOVEMENTS_PAGE = 20_000
const PRODUCTS_PAGE = 2_000
/**
 * Longer than a transaction of the application roles may last (role.sql): one that is open beyond this moves no stock.
 */
const SETTLE_MS = 6_000
const ASK_MS = 50

const COLUMNS = ['on_hand', 'reserved'] as const
type Column = (typeof COLUMNS)[number]

const whole = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform(BigInt)
  .optional()
const COUNTERS = z.object({ on_hand: whole, reserved: whole, version: whole })
const CHANGE = z.object({
  table: z.literal('stock'),
  key: z.object({ product_id: z.string() }),
  old: COUNTERS.optional(),
  new: COUNTERS.optional(),
})
type Change = z.output<typeof CHANGE>
/** The values before the row existed, and after. */
const NOTHING = { on_hand: 0n, reserved: 0n }

type Tally = {
  moved: bigint
  /** The sum of the entries' changes. */
  changed: bigint
  /** The value before the oldest remaining entry; earlier ones may have been purged. */
  first: { entryId: bigint; value: bigint } | undefined
}
type Account = { version: bigint } & Record<Column, Tally>

export type Ledger = {
  /** Takes every entry once, in any order, each read after the ledger was opened. */
  note: (entry: AuditEntry) => void
  /** @returns the number of products compared */
  report: (report: ReportFinding) => number
}

export async function openLedger(database: AuditDb): Promise<Ledger> {
  const { snapshot, horizon, lastMovementId } = await readLedgerMoment(database)
  await settle(database, snapshot)
  const accounts = await readAccounts(database, lastMovementId)
  return {
    note: ({ entryId, txid, kind, body }) => {
      for (const change of kind === 'stock' ? changesOf(body) : []) {
        const productId = change.key.product_id
        const account = accounts.get(productId)
        const version = (change.new ?? change.old)?.version
        if (account === undefined) continue
        // A manual change has no version. If its transaction was still running, the change cannot be placed before or
        // after the account's snapshot.
        if (txid >= horizon && version === undefined) accounts.delete(productId)
        else if (txid < horizon || (version ?? 0n) <= account.version) tally(account, change, entryId)
      }
    },
    report: (report) => {
      for (const [aggregateId, account] of accounts)
        if (!COLUMNS.every((column) => isEqual(account[column])))
          report({ check: 'stock_ledger', kind: 'stock', aggregateId })
      return accounts.size
    },
  }
}

/**
 * Race with movements being written: if they were summed before their commit, they would be missing from the sum
 * permanently.
 */
async function settle(database: AuditDb, snapshot: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < SETTLE_MS; waitedMs += ASK_MS) {
    if (await isSnapshotOver(database, snapshot)) return
    await setTimeout(ASK_MS)
  }
}

async function readAccounts(database: AuditDb, lastMovementId: bigint): Promise<Map<string, Account>> {
  const settled = new Map<string, { onHand: bigint; reserved: bigint }>()
  const settledOf = (productId: string) => settled.get(productId) ?? { onHand: 0n, reserved: 0n }
  for await (const { productId, ...moved } of readMovements(database, lastMovementId, MOVEMENTS_PAGE)) {
    const { onHand, reserved } = settledOf(productId)
    settled.set(productId, { onHand: onHand + moved.onHand, reserved: reserved + moved.reserved })
  }
  const accounts = new Map<string, Account>()
  for await (const { productId, version, onHand, reserved } of readCounted(database, lastMovementId, PRODUCTS_PAGE)) {
    const before = settledOf(productId)
    accounts.set(productId, {
      version,
      on_hand: { moved: before.onHand + onHand, changed: 0n, first: undefined },
      reserved: { moved: before.reserved + reserved, changed: 0n, first: undefined },
    })
  }
  return accounts
}

/** The changes of stock rows; none if the text is not in the database's format, which is a finding of its own. */
const changesOf = (body: string): Change[] =>
  (parseBody(body)?.changes ?? []).flatMap((change) => CHANGE.safeParse(change).data ?? [])

function tally(account: Account, { old = NOTHING, new: now = NOTHING }: Change, entryId: bigint): void {
  for (const column of COLUMNS) {
    const [before, after] = [old[column], now[column]]
    // An update lists only the changed columns.
    if (before === undefined || after === undefined) continue
    const { changed, first } = account[column]
    account[column].changed = changed + after - before
    // The entry id is assigned at commit, under the row's lock: ids follow the order of changes.
    if (first === undefined || entryId < first.entryId) account[column].first = { entryId, value: before }
  }
}

const isEqual = ({ moved, changed, first }: Tally): boolean => first === undefined || first.value + changed === moved
