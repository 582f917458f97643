// Compares the tables with each other, range by range, and stores the differences of a run. It never changes the data
// it compares.

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import { UUID_PATTERN } from '../domain/identifier.ts'
import { isTerminal, ORDER_STATUSES, type OrderStatus } from '../domain/order.ts'
import {
  ANSWER_INVARIANTS,
  ORDER_INVARIANTS,
  PRODUCT_INVARIANTS,
  SESSION_INVARIANTS,
  type AnswerKey,
  type InvariantLimits,
  type Violation,
  type Invariant,
} from './invariant.ts'
import { sqlStateOf, type Database } from './connection/pool.ts'
import { LOCK_NOT_AVAILABLE, STATEMENT_TIMEOUT, TRANSACTION_TIMEOUT } from './connection/sqlstate.ts'

export type Difference = Violation & { check: string }

/** The number of objects that a run checked. */
export type Looked = { orders: number; products: number; answers: number; workflows: number }

export type ConsistencyReport = {
  startedAt: Date
  looked: Looked
  /** At most MAX_DIFFERENCES per check. */
  differences: readonly Difference[]
}

/** Options of a run. */
export type CheckOptions = {
  database: Pick<Database, 'sql'>
  stuckAfterMs?: number
  transactionMs?: number
  /** Called before each range; an exception from it ends the run. */
  onRange?: () => void
}

/** Longer than relays need to catch up after an ordinary outage. */
const STUCK_AFTER_MS = 600_000
/**
 * Postgres ends a transaction of the application roles after five seconds; one that is twice as old runs without its
 * timeouts.
 */
const TRANSACTION_MS = 10_000
/** An order has about fifteen rows in all tables: a page is read in a tenth of a second. */
const ORDERS_PAGE = 500
/** A page that exceeds the role's timeouts is split into this many smaller ones. */
const SHRINK = 5
/** More differences would not help an operator. */
const MAX_DIFFERENCES = 1_000
/** The column's length limit. */
const MAX_SUBJECT = 200
const MAX_DETAIL = 500
/** Query cancelled, transaction timeout, lock not available. */
const OUT_OF_TIME = new Set([STATEMENT_TIMEOUT, TRANSACTION_TIMEOUT, LOCK_NOT_AVAILABLE])

const NO_UUID = '00000000-0000-0000-0000-000000000000'
const LAST_UUID = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

/** The invariants of one kind of object, and how its ids are paged. */
type Walk<Id> = {
  invariants: Readonly<Record<string, Invariant<{ after: Id; upTo: Id }>>>
  first: Id
  /** The next range of ids. */
  next: (
    tx: DatabaseTransactionConnection,
    after: Id,
    limit: number,
  ) => Promise<{ count: number; upTo: Id; isLast: boolean }>
}

const END = z.object({ id: z.string() })

const ORDERS: Walk<string> = {
  invariants: ORDER_INVARIANTS,
  first: NO_UUID,
  next: async (tx, after, limit) => {
    const ids = await tx.any(sql.type(END)`
      select order_id::text as id from orders where order_id > ${after}::uuid order by order_id limit ${limit}`)
    const isLast = ids.length < limit
    return { count: ids.length, upTo: isLast ? LAST_UUID : (ids.at(-1)?.id ?? LAST_UUID), isLast }
  },
}

const PRODUCTS: Walk<string> = {
  invariants: PRODUCT_INVARIANTS,
  first: '',
  next: async (tx, after, limit) => {
    const ids = await tx.any(sql.type(END)`
      select product_id as id from product where product_id > ${after}
      union select product_id from stock where product_id > ${after}
      order by id limit ${limit}`)
    return { count: ids.length, upTo: ids.at(-1)?.id ?? after, isLast: ids.length < limit }
  },
}

const ANSWER = z.object({ actor: z.string(), method: z.string(), key: z.string() })

const ANSWERS: Walk<AnswerKey> = {
  invariants: ANSWER_INVARIANTS,
  first: { actor: '', method: '', key: NO_UUID },
  next: async (tx, after, limit) => {
    const keys = await tx.any(sql.type(ANSWER)`
      select actor, method, key from idempotency
      where (actor, method, key) > (${after.actor}, ${after.method}, ${after.key}::uuid)
      order by actor, method, key limit ${limit}`)
    return { count: keys.length, upTo: keys.at(-1) ?? after, isLast: keys.length < limit }
  },
}

const SESSIONS: Walk<null> = {
  invariants: SESSION_INVARIANTS,
  first: null,
  next: async () => ({ count: 0, upTo: null, isLast: true }),
}

/** Checks every invariant of the database over all ranges. */
export async function compareTables(options: CheckOptions): Promise<Omit<ConsistencyReport, 'startedAt'>> {
  const { differences, keep } = collectDifferences()
  const looked = {
    orders: await walk(options, ORDERS, keep),
    products: await walk(options, PRODUCTS, keep),
    answers: await walk(options, ANSWERS, keep),
    workflows: 0,
  }
  await walk(options, SESSIONS, keep)
  return { looked, differences }
}

/** Collects the first differences of each check. */
export function collectDifferences(): { differences: readonly Difference[]; keep: (difference: Difference) => void } {
  const differences: Difference[] = []
  const counts = new Map<string, number>()
  return {
    differences,
    keep: (difference) => {
      const count = counts.get(difference.check) ?? 0
      counts.set(difference.check, count + 1)
      if (count < MAX_DIFFERENCES) differences.push(difference)
    },
  }
}

async function walk<Id>(
  options: CheckOptions,
  along: Walk<Id>,
  keep: (difference: Difference) => void,
): Promise<number> {
  const { stuckAfterMs = STUCK_AFTER_MS, transactionMs = TRANSACTION_MS } = options
  const limits = { stuckAfterMs, transactionMs }
  let [after, size, looked] = [along.first, ORDERS_PAGE, 0]
  for (;;) {
    options.onRange?.()
    try {
      const range = await askRange(options, along, { after, limit: size }, limits)
      range.differences.forEach(keep)
      looked += range.count
      if (range.isLast) return looked
      after = range.upTo
      size = Math.min(ORDERS_PAGE, size * SHRINK)
    } catch (error) {
      if (size === 1 || !OUT_OF_TIME.has(sqlStateOf(error) ?? '')) throw error
      size = Math.ceil(size / SHRINK)
    }
  }
}

/**
 * Runs all invariants of one range in one snapshot, so that concurrent commits are in none of the answers and cannot
 * look like differences.
 */
function askRange<Id>(
  { database }: CheckOptions,
  { invariants, next }: Walk<Id>,
  from: { after: Id; limit: number },
  limits: InvariantLimits,
): Promise<{ differences: readonly Difference[]; count: number; upTo: Id; isLast: boolean }> {
  return database.sql.transaction(async (tx) => {
    await tx.query(sql.type(z.unknown())`set transaction isolation level repeatable read read only`)
    const { count, upTo, isLast } = await next(tx, from.after, from.limit)
    const differences: Difference[] = []
    for (const [check, { find }] of Object.entries(invariants)) {
      const violations = await tx.any(find({ after: from.after, upTo }, limits))
      differences.push(...violations.map((finding) => ({ check, ...finding })))
    }
    return { differences, count, upTo, isLast }
  })
}

/** The part of an order that is compared with its workflow. */
export type ComparedOrder = {
  status: OrderStatus
  /** Its workflow has not been started yet. */
  isToStart: boolean
  /** It has been in this state long enough for its workflow to notice. */
  isOld: boolean
}

const STANDING = z.object({
  orderId: z.string(),
  status: z.enum(ORDER_STATUSES),
  isToStart: z.boolean(),
  isOld: z.boolean(),
})

/** The time that a workflow may need to notice its own change. */
const NOTICE = sql.fragment`interval '1 minute'`
/**
 * The workflow of an expired order wakes up to a fifth of its window late, and checks again at least every ten minutes.
 */
const NOTICE_EXPIRY = sql.fragment`interval '11 minutes' + (i.expires_at + i.grace - o.created_at) / 5`

/** Finds orders by id; an id of no order is left out. */
export async function findComparedOrders(
  database: CheckOptions['database'],
  orderIds: readonly string[],
): Promise<ReadonlyMap<string, ComparedOrder>> {
  const ids = orderIds.filter((id) => UUID_PATTERN.test(id))
  const rows = await database.sql.any(sql.type(STANDING)`
    select o.order_id::text as "orderId", o.status,
      exists (select from workflow_start s where s.order_id = o.order_id) as "isToStart",
      clock_timestamp() > case when o.cancel_reason = 'expired' and i.order_id is not null
        then greatest(o.updated_at, i.expires_at + i.grace) + ${NOTICE_EXPIRY} else o.updated_at + ${NOTICE} end as "isOld"
    from orders o left join invoice i on i.order_id = o.order_id where o.order_id = any (${sql.array(ids, 'uuid')})`)
  return new Map(rows.map((row) => [row.orderId, row]))
}

const OPEN_ORDER = z.object({ orderId: z.string(), createdAt: z.string() })

/** Pages through the orders that should have a workflow. An order can only move to a status that is read later. */
export async function* listOpenOrders(database: CheckOptions['database']): AsyncGenerator<readonly string[]> {
  for (const status of ORDER_STATUSES.filter((each) => !isTerminal(each))) {
    let after = { orderId: LAST_UUID, createdAt: 'infinity' }
    for (;;) {
      const page: readonly (typeof after)[] = await database.sql.any(sql.type(OPEN_ORDER)`
        select o.order_id::text as "orderId", o.created_at::text as "createdAt" from orders o
        where o.status = ${status} and (o.created_at, o.order_id) < (${after.createdAt}::timestamptz, ${after.orderId}::uuid)
          and not exists (select from workflow_start s where s.order_id = o.order_id)
        order by o.created_at desc, o.order_id desc limit ${ORDERS_PAGE}`)
      if (page.length > 0) yield page.map(({ orderId }) => orderId)
      after = page.at(-1) ?? after
      if (page.length < ORDERS_PAGE) break
    }
  }
}

/** Stores the differences of a run, and removes those that it no longer found. */
export async function recordConsistency(database: CheckOptions['database'], report: ConsistencyReport): Promise<void> {
  const { startedAt, looked, differences } = report
  const rows = differences.map(({ check, subject, detail }) => [
    check,
    subject.slice(0, MAX_SUBJECT),
    detail.slice(0, MAX_DETAIL),
  ])
  await database.sql.transaction(async (tx) => {
    await tx.query(sql.type(z.unknown())`
      insert into consistency_run (started_at, orders, products, answers, workflows, differences)
      values (${startedAt.toISOString()}, ${looked.orders}, ${looked.products}, ${looked.answers}, ${looked.workflows}, ${rows.length})`)
    await tx.query(sql.type(z.unknown())`
      insert into inconsistency (check_name, subject, detail, last_seen_at)
      select distinct on (f.check_name, f.subject) f.check_name, f.subject, f.detail, now()
      from ${sql.unnest(rows, ['text', 'text', 'text'])} f (check_name, subject, detail)
      order by 1, 2
      on conflict (check_name, subject) do update set detail = excluded.detail, last_seen_at = excluded.last_seen_at`)
    await tx.query(sql.type(z.unknown())`delete from inconsistency where last_seen_at < now()`)
  })
}

const COUNT = z.object({ check: z.string(), count: z.number() })
const LAST_RUN = z.object({ finishedAt: z.date() })

/** The result of the last run: the number of differences by check, and when it ended. */
export async function findConsistency(
  database: CheckOptions['database'],
): Promise<{ counts: ReadonlyMap<string, number>; finishedAt: Date | undefined }> {
  const counts = await database.sql.any(sql.type(COUNT)`
    select check_name as check, count(*)::int as count from inconsistency group by 1`)
  const last = await database.sql.maybeOne(sql.type(LAST_RUN)`
    select finished_at as "finishedAt" from consistency_run order by run_no desc limit 1`)
  return { counts: new Map(counts.map(({ check, count }) => [check, count])), finishedAt: last?.finishedAt }
}
