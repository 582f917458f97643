// Do the movements of stock add up to what its audit entries say? Entries cannot be changed unseen; the ledger beside
// them could. What is compared is each product as of one moment, so that a busy shop is no finding: the ledger is added
// up first, together with the version its counters had then, and of the entries only those up to that version count.

import { setTimeout } from 'node:timers/promises'
import { z } from 'zod'
import type { AuditDb } from '../db/audit/seal.ts'
import { isSnapshotOver, readCounted, readLedgerMoment, readMovements, type AuditEntry } from '../db/audit/verify.ts'
import { parseBody } from '../domain/audit.ts'
import type { Report } from './finding.ts'

const MOVEMENTS_PAGE = 20_000
const PRODUCTS_PAGE = 2_000
/** Longer than a transaction of the shop's roles may last (role.sql): what is open beyond it moves no stock. */
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
/** Before there was a row, and after. */
const NOTHING = { on_hand: 0n, reserved: 0n }

type Tally = {
  moved: bigint
  /** What entries changed it by. */
  changed: bigint
  /** What it was before the first entry that is left; those of before may have been purged. */
  first: { entryId: bigint; value: bigint } | undefined
}
type Account = { version: bigint } & Record<Column, Tally>

export type Ledger = {
  /** Takes every entry once, in any order, each read after the ledger was opened. */
  note: (entry: AuditEntry) => void
  /** @returns how many products were compared */
  report: (report: Report) => number
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
        // Whoever was at work may have come after the account was read. Of a change by hand nobody can tell.
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

/** Race closed with movements that were being written: added up before their commit, they would be left out for good. */
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

/** Those of stock; none where the text is not what the database writes, which is a finding of its own. */
const changesOf = (body: string): Change[] =>
  (parseBody(body)?.changes ?? []).flatMap((change) => CHANGE.safeParse(change).data ?? [])

function tally(account: Account, { old = NOTHING, new: now = NOTHING }: Change, entryId: bigint): void {
  for (const column of COLUMNS) {
    const [before, after] = [old[column], now[column]]
    // Of an update, only what it changed is there.
    if (before === undefined || after === undefined) continue
    const { changed, first } = account[column]
    account[column].changed = changed + after - before
    // Numbered when its transaction commits, under the row's lock: in the order of the changes.
    if (first === undefined || entryId < first.entryId) account[column].first = { entryId, value: before }
  }
}

const isEqual = ({ moved, changed, first }: Tally): boolean => first === undefined || first.value + changed === moved
