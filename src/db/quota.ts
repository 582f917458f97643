// Sliding-window rate limits that all api processes share, on the database's clock. Calls that arrive together are
// counted in one statement: under load, the cost per call is a fraction of a statement.

import { createHash } from 'node:crypto'
import { statement, type Database } from './connection/pool.ts'

/** One window: whose it is, and how many calls it admits in 60 s. */
export type Quota = { key: string; limit: number }
/** A call counts in both windows, or in none if one of them is full. */
export type QuotaCall = { user: Quota; address: Quota }
export type QuotaRefusal = { subject: 'user' | 'address'; waitMs: number }

const MAX_BATCH = 200
const FORGET_EVERY_MS = 60_000
const FORGET_BATCH = 10_000

const TAKE = statement('quota_take', 'select place, subject, wait_ms from take_quota($1, $2, $3, $4)')
const FORGET = statement('quota_forget', 'select forget_quotas($1)')

type Row = { place: number; subject: 'user' | 'address'; wait_ms: number }
type Waiting = {
  call: QuotaCall
  resolve: (refusal: QuotaRefusal | undefined) => void
  reject: (error: unknown) => void
}

/**
 * Creates the function that counts a call. It resolves to undefined if the call is admitted, and rejects if the database
 * cannot be asked.
 */
export function createQuotaWindow(
  database: Pick<Database, 'run'>,
): (call: QuotaCall) => Promise<QuotaRefusal | undefined> {
  let waiting: Waiting[] = []
  let isRunning = false
  let forgotAt = performance.now()

  async function run(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, MAX_BATCH)
      waiting = waiting.slice(MAX_BATCH)
      await count(database, batch)
    }
    isRunning = false
    if (performance.now() - forgotAt < FORGET_EVERY_MS) return
    forgotAt = performance.now()
    // Old rows do no harm: should this fail, the next turn removes them.
    await forget(database).catch(() => undefined)
  }

  return (call) =>
    new Promise((resolve, reject) => {
      waiting.push({ call, resolve, reject })
      if (isRunning) return
      isRunning = true
      // At the end of this turn of the event loop, so that calls that arrive together are counted together.
      setImmediate(() => void run())
    })
}

async function forget(database: Pick<Database, 'run'>): Promise<void> {
  for (;;) {
    const [row] = await database.run<{ forget_quotas: number }>(FORGET, [FORGET_BATCH])
    if ((row?.forget_quotas ?? 0) < FORGET_BATCH) return
  }
}

async function count(database: Pick<Database, 'run'>, batch: readonly Waiting[]): Promise<void> {
  const pick = (kind: keyof QuotaCall): [Buffer[], number[]] => [
    batch.map(({ call }) => createHash('sha256').update(call[kind].key).digest()),
    batch.map(({ call }) => call[kind].limit),
  ]
  try {
    const rows = await database.run<Row>(TAKE, [...pick('user'), ...pick('address')])
    const refusals = new Map(rows.map(({ place, subject, wait_ms: waitMs }) => [place, { subject, waitMs }]))
    for (const [at, { resolve }] of batch.entries()) resolve(refusals.get(at + 1))
  } catch (error) {
    for (const { reject } of batch) reject(error)
  }
}
