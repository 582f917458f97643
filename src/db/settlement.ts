// Settled money for the export: the postings of the ledger between two instants, page by page, and their sums. The
// ledger is append-only, so pages that are read one after another are of one state, provided that the range ended
// before the longest transaction that can still write into it.

import { sql, type DatabasePool, type FragmentSqlToken } from 'slonik'
import { z } from 'zod'

/** No session of the roles that write may hold a transaction for longer (migrations/role.sql), doubled. */
export const POSTED_WITHIN_MS = 10_000
const PAGE = 1_000

const UNITS = z.string().transform((text) => BigInt(text))
const POSTING = z.object({
  postingNo: z.bigint(),
  postedAt: z.string(),
  day: z.string(),
  orderId: z.string(),
  network: z.string(),
  asset: z.string(),
  token: z.string().nullable(),
  decimals: z.number(),
  cause: z.string(),
  currency: z.string(),
  /** Fiat per coin, at which the order was quoted; null: not the asset of the quote. */
  rate: z.string().nullable(),
  received: UNITS,
  customerDue: UNITS,
  refundDue: UNITS,
  refunded: UNITS,
  fees: UNITS,
  writtenOff: UNITS,
})
export type SettledPosting = z.output<typeof POSTING>

export const LEDGER_ACCOUNTS = ['received', 'customerDue', 'refundDue', 'refunded', 'fees', 'writtenOff'] as const
export type LedgerAccount = (typeof LEDGER_ACCOUNTS)[number]
export type Amounts = Record<LedgerAccount, bigint>

/** From `from` on, before `until`. */
export type Period = { from: Date; until: Date }

const within = ({ from, until }: Period): FragmentSqlToken =>
  sql.fragment`p.posted_at >= ${from.toISOString()}::timestamptz and p.posted_at < ${until.toISOString()}::timestamptz`

/** In order of time. */
export async function* readPostings(database: DatabasePool, period: Period): AsyncGenerator<SettledPosting> {
  let after: SettledPosting | undefined
  for (;;) {
    const next =
      after === undefined
        ? sql.fragment`true`
        : sql.fragment`(p.posted_at, p.posting_no) > (${after.postedAt}::timestamptz, ${after.postingNo})`
    const page = await database.any(sql.type(POSTING)`
      select p.posting_no as "postingNo", p.order_id::text as "orderId", p.network, p.asset, p.token,
        to_char(p.posted_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "postedAt",
        to_char(p.posted_at at time zone 'UTC', 'YYYY-MM-DD') as day,
        c.decimals, p.cause, o.currency,
        case when p.token is null and (p.network, p.asset) = (i.network, i.asset) then i.rate::text end as rate,
        p.received::text as received, p.customer_due::text as "customerDue", p.refund_due::text as "refundDue",
        p.refunded::text as refunded, p.fees::text as fees, p.written_off::text as "writtenOff"
      from ledger_posting p join orders o on o.order_id = p.order_id join invoice i on i.order_id = p.order_id
      join currency c on c.currency = p.asset
      where ${within(period)} and ${next}
      order by p.posted_at, p.posting_no limit ${PAGE}`)
    yield* page
    after = page.at(-1)
    if (page.length < PAGE) return
  }
}

const SUMS = z.object({
  network: z.string(),
  asset: z.string(),
  token: z.string().nullable(),
  postings: z.bigint(),
  received: UNITS,
  customerDue: UNITS,
  refundDue: UNITS,
  refunded: UNITS,
  fees: UNITS,
  writtenOff: UNITS,
})
export type LedgerSums = z.output<typeof SUMS>

/** The same postings as the database adds them up, per asset. */
export async function findLedgerSums(database: DatabasePool, period: Period): Promise<readonly LedgerSums[]> {
  return database.any(sql.type(SUMS)`
    select p.network, p.asset, p.token, count(*) as postings, sum(p.received)::text as received,
      sum(p.customer_due)::text as "customerDue", sum(p.refund_due)::text as "refundDue",
      sum(p.refunded)::text as refunded, sum(p.fees)::text as fees, sum(p.written_off)::text as "writtenOff"
    from ledger_posting p where ${within(period)} group by 1, 2, 3 order by 1, 2, 3`)
}
