// Restarts of orders that lost their workflow. Only Temporal knows whether a run is alive: the caller has queried it.

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import { DomainError } from '../domain/failure.ts'
import { isTerminal, ORDER_STATUSES, type OrderStatus } from '../domain/order.ts'
import { answerOnce, findAnswer, type Attempt } from './idempotency.ts'
import type { Database } from './connection/pool.ts'

const OPEN_STATUSES = ORDER_STATUSES.filter((status) => !isTerminal(status))

const OPEN = z.object({ orderId: z.string(), status: z.enum(ORDER_STATUSES) })
export type OpenOrder = z.output<typeof OPEN>

/**
 * A page of open orders without a pending start: by status, newest first. An order that changes in between moves to a
 * status that is read later.
 */
export function pageOpenOrders(
  database: Pick<Database, 'sql'>,
  after: OpenOrder | undefined,
  limit: number,
): Promise<readonly OpenOrder[]> {
  const from = after === undefined ? 0 : OPEN_STATUSES.indexOf(after.status)
  const parts = OPEN_STATUSES.slice(from).map((status, at) => {
    const isBegun = at === 0 && after !== undefined
    const isLater = isBegun
      ? sql.fragment`and (o.created_at, o.order_id) < (select created_at, order_id from orders where order_id = ${after.orderId})`
      : sql.fragment``
    return sql.fragment`(
      select o.order_id::text as "orderId", o.status, o.created_at, ${at}::int as place from orders o
      where o.status = ${status} ${isLater} and not exists (
        select from workflow_start s where s.order_id = o.order_id and s.dead_reason is null)
      order by o.created_at desc, o.order_id desc limit ${limit})`
  })
  return database.sql.any(sql.type(OPEN)`
    select "orderId", status from (${sql.join(parts, sql.fragment` union all `)}) o
    order by place, created_at desc, "orderId" desc limit ${limit}`)
}

const RESTARTED = z.object({ orderId: z.string(), generation: z.number() })
export type RestartedOrder = z.output<typeof RESTARTED>

const restart = (
  tx: DatabaseTransactionConnection,
  orderIds: readonly string[],
  reason: string,
): Promise<readonly RestartedOrder[]> =>
  tx.any(sql.type(RESTARTED)`
    select order_id::text as "orderId", generation from restart_orders(${sql.array(orderIds, 'uuid')}, ${reason})`)

/** The stored answer of this attempt. @throws {DomainError} IDEMPOTENCY_KEY_REUSED */
export const findRestart = (database: Database, attempt: Attempt): Promise<RestartedOrder | undefined> =>
  findAnswer(database, attempt, RESTARTED)

const STATUS = z.object({ status: z.enum(ORDER_STATUSES) })

/**
 * Starts an order's workflow again, in the next generation.
 * @param wanted.isRunning a run was alive a moment ago
 * @throws {DomainError} NOT_FOUND, ORDER_STATUS, WORKFLOW_RUNNING
 */
export function restartOrder(
  database: Pick<Database, 'sql'>,
  { by, ...attempt }: Attempt,
  wanted: { orderId: string; reason: string; isRunning: boolean },
  deadline: number,
): Promise<{ answer: RestartedOrder; isReplay: boolean }> {
  const { orderId, reason, isRunning } = wanted
  const effect = async (tx: DatabaseTransactionConnection): Promise<RestartedOrder> => {
    const order = await tx.maybeOne(sql.type(STATUS)`select status from orders where order_id = ${orderId}`)
    if (order === null) throw new DomainError('NOT_FOUND', 'There is no such order.')
    if (isTerminal(order.status)) throw ended(order.status)
    const [restarted] = isRunning ? [] : await restart(tx, [orderId], reason)
    if (restarted === undefined)
      throw new DomainError('WORKFLOW_RUNNING', "The order's workflow is running or about to start.")
    return restarted
  }
  return answerOnce(database, { ...attempt, by: { ...by, reason } }, RESTARTED, effect, deadline)
}

const ended = (status: OrderStatus): DomainError =>
  new DomainError('ORDER_STATUS', `An order that is ${status} needs no workflow.`, { metadata: { status } })

const REHYDRATED = z.object({ orderIds: z.array(z.string()), lookedAt: z.number(), nextCursor: z.string() })
export type Rehydrated = z.output<typeof REHYDRATED>

/** The stored answer of this attempt. @throws {DomainError} IDEMPOTENCY_KEY_REUSED */
export const findRehydrated = (database: Database, attempt: Attempt): Promise<Rehydrated | undefined> =>
  findAnswer(database, attempt, REHYDRATED)

/** Restarts the orders of a page that have no run; for those with a run, dead wakes are scheduled again. */
export function rehydrateOrders(
  database: Pick<Database, 'sql'>,
  { by, ...attempt }: Attempt,
  page: { lost: readonly string[]; running: readonly string[]; reason: string; nextCursor: string },
  deadline: number,
): Promise<{ answer: Rehydrated; isReplay: boolean }> {
  const { lost, running, reason, nextCursor } = page
  const effect = async (tx: DatabaseTransactionConnection): Promise<Rehydrated> => {
    const restarted = await restart(tx, lost, reason)
    await tx.query(sql.type(z.unknown())`select revive_relays(${sql.array(running, 'uuid')})`)
    // After a restore, a run may know more about its order than is stored: wake each of them.
    await tx.query(sql.type(z.unknown())`select request_wake(${sql.array(running, 'uuid')})`)
    const orderIds = restarted.map(({ orderId }) => orderId)
    return { orderIds, lookedAt: lost.length + running.length, nextCursor }
  }
  return answerOnce(database, { ...attempt, by: { ...by, reason } }, REHYDRATED, effect, deadline)
}
