// The start relay: starts the workflow of each accepted order, in normal operation and after a crash alike.
// Invariant: a start row is deleted only when its workflow runs or its order needs none.

import { WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError, type Client } from '@temporalio/client'
import { TypedSearchAttributes } from '@temporalio/common'
import { claimStarts, deferStart, deleteStarts, releaseStarts, type StartRow } from '../db/start.ts'
import { getOrderState } from '../db/order.ts'
import type { Database } from '../db/connection/pool.ts'
import { forEachBounded } from '../domain/concurrency.ts'
import { isTerminal } from '../domain/order.ts'
import type { Logger } from '../telemetry.ts'
import {
  ASSET_ATTRIBUTE,
  DEADLINE_ATTRIBUTE,
  ORDER_TASK_QUEUE,
  orderWorkflowId,
  STATUS_ATTRIBUTE,
  type OrderInput,
} from '../workflows/message.ts'
import { retryDelayMs, startLoop, type Relay, type RelayMetrics } from './loop.ts'

const BATCH = 64
/** Concurrent starts: enough to keep Temporal busy, few enough to leave it room for signals. */
const WIDTH = 16
/** Starts are not urgent: the caller has its answer, and earlier money or commands start their order themselves. */
const IDLE_MS = 250
/** Concurrent wakes beyond which starts wait: paid orders come before those that may be paid. */
const YIELD_ABOVE = 8
/** The longest that starts yield to wakes. */
const YIELD_FOR_MS = 5_000
/** The bound for a Temporal that hangs. A start, an update and a signal in a row end before their row's lease does. */
const CALL_WITHIN_MS = 4_000
/** A row that waited longer is given back: a start and a describe could outlast its lease. */
const BEGIN_WITHIN_MS = 6_000

export type StartDeps = {
  database: Database
  client: Client
  holder: string
  logger: Logger
  metrics: RelayMetrics
  /** Whether this process's workers may take first tasks without Temporal choosing the build. By default they may. */
  isEager?: () => boolean
  /** Shared by the relays of a process: the next claim of any of them settles what one has started. */
  started?: StartedOrders
}

type Startable = Pick<StartRow, 'orderId' | 'generation' | 'asset' | 'expiresAt'>

/** The options of every start of an order's workflow, by relay or api. */
export function startOptionsOf(row: Startable, news: Pick<OrderInput, 'hasNews'> = {}) {
  const input: OrderInput = { orderId: row.orderId, generation: row.generation, ...news }
  return {
    workflowId: orderWorkflowId(row.orderId),
    taskQueue: ORDER_TASK_QUEUE,
    args: [input] as [OrderInput],
    staticSummary: `Order ${row.orderId}, to be paid in ${row.asset}`,
    typedSearchAttributes: new TypedSearchAttributes([
      { key: ASSET_ATTRIBUTE, value: row.asset },
      { key: DEADLINE_ATTRIBUTE, value: row.expiresAt },
      { key: STATUS_ATTRIBUTE, value: 'pending' },
    ]),
    // A later generation is an operator's restart. The previous run may even have completed, if the database was
    // restored to an earlier time.
    workflowIdReusePolicy: row.generation === 1 ? 'REJECT_DUPLICATE' : 'ALLOW_DUPLICATE',
  } as const
}

/** @param deps.wakesUnderWay concurrent wakes, to which starts yield; by default none */
export function startOrderStarter({
  wakesUnderWay = () => 0,
  ...deps
}: StartDeps & { wakesUnderWay?: () => number }): Relay {
  const started = deps.started ?? createStartedOrders(deps)
  let yieldsUntilMs = 0
  const loop = startLoop({
    name: 'start',
    logger: deps.logger,
    metrics: deps.metrics,
    idleMs: () => IDLE_MS,
    turn: async () => {
      if (wakesUnderWay() > YIELD_ABOVE && performance.now() < yieldsUntilMs) {
        await started.flush()
        return { claimed: 0, limit: BATCH }
      }
      yieldsUntilMs = performance.now() + YIELD_FOR_MS
      const rows = await started.flushInto((ids) => claimStarts(deps.database, deps.holder, BATCH, ids))
      const until = performance.now() + BEGIN_WITHIN_MS
      const left: string[] = []
      await forEachBounded(rows, WIDTH, async (row) => {
        if (performance.now() > until) return void left.push(row.orderId)
        if (!(await startOne(deps, row))) return
        started.add(row.orderId)
        deps.metrics.passed.inc({ relay: 'start' })
      })
      // Money of these orders would wait for the leases.
      if (left.length > 0) await releaseStarts(deps.database, deps.holder, left)
      return { claimed: rows.length, limit: BATCH }
    },
  })
  return {
    stop: async () => {
      await loop.stop()
      await started.flush()
    },
  }
}

export type StartedOrders = ReturnType<typeof createStartedOrders>

/** Buffer of orders whose workflows run but whose start rows are not deleted yet: a relay's next claim deletes them. */
export function createStartedOrders({ database, holder, logger }: Pick<StartDeps, 'database' | 'holder' | 'logger'>) {
  let orderIds: string[] = []

  /** Empties the buffer into `act`, which deletes the rows. Where it fails, they are kept for the next. */
  async function flushInto<T>(act: (orderIds: readonly string[]) => Promise<T>): Promise<T> {
    const taken = orderIds
    orderIds = []
    try {
      return await act(taken)
    } catch (error) {
      orderIds.push(...taken)
      throw error
    }
  }

  return {
    add: (orderId: string): void => void orderIds.push(orderId),
    flushInto,
    /** Without a claim. Rows that cannot be deleted are claimed again after their lease, and their workflows found. */
    flush: async (): Promise<void> => {
      if (orderIds.length === 0) return
      await flushInto((ids) => deleteStarts(database, holder, ids)).catch((error: unknown) =>
        logger.warn({ relay: 'start', err: error }, 'start rows not deleted; their leases will expire'),
      )
    },
  }
}

/** Starts a workflow eagerly: its first task comes back with the answer, to the worker on the same connection. */
export const startOrder = (
  { client, isEager }: Pick<StartDeps, 'client' | 'isEager'>,
  row: Startable,
  news: Pick<OrderInput, 'hasNews'> = {},
): Promise<unknown> =>
  withCallDeadline(client, () =>
    client.workflow.start('order', { ...startOptionsOf(row, news), requestEagerStart: isEager?.() ?? true }),
  )

/** A relay's call to Temporal with its deadline. */
export const withCallDeadline = <T>(client: Client, call: () => Promise<T>): Promise<T> =>
  client.withDeadline(Date.now() + CALL_WITHIN_MS, call)

/** @returns true when the row is done */
async function startOne(deps: StartDeps, row: StartRow): Promise<boolean> {
  try {
    await startOrder(deps, row)
    return true
  } catch (error) {
    try {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return await settleAlreadyStarted(deps, row)
      await postpone(deps, row, error, null)
    } catch (failure) {
      deps.logger.warn(
        { relay: 'start', orderId: row.orderId, err: failure },
        'start not postponed; its lease will expire',
      )
    }
    return false
  }
}

/**
 * A run exists already. Running: done. Closed: its order has ended, or an operator must look and the row stays. The
 * order is read after the run, because an order ends before its run closes: read first, one that is just ending would
 * look lost.
 */
async function settleAlreadyStarted(deps: StartDeps, row: StartRow): Promise<boolean> {
  if (await isOrderRunning(deps.client, row.orderId)) return true
  const { status } = await getOrderState(deps.database, row.orderId)
  if (isTerminal(status)) return true
  await postpone(deps, row, undefined, 'the workflow has closed while its order is open')
  return false
}

/** Whether a run of this order's workflow is open. Rejects when Temporal does not answer. */
export async function isOrderRunning(client: Client, orderId: string): Promise<boolean> {
  try {
    const { status } = await withCallDeadline(client, () =>
      client.workflow.getHandle(orderWorkflowId(orderId)).describe(),
    )
    return status.name === 'RUNNING' || status.name === 'PAUSED'
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false
    throw error
  }
}

async function postpone(deps: StartDeps, row: StartRow, error: unknown, deadReason: string | null): Promise<void> {
  deps.metrics.failed.inc({ relay: 'start' })
  deps.logger[deadReason === null ? 'warn' : 'error'](
    { relay: 'start', orderId: row.orderId, err: error, deadReason },
    'workflow not started',
  )
  await deferStart(deps.database, deps.holder, row.orderId, retryDelayMs(row.attempts), deadReason)
}
