// Starts the workflow of each accepted order: the one path for the normal case and for what a crash left behind.
// Invariant: a row goes only when its workflow runs, or when its order needs none.

import { WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError, type Client } from '@temporalio/client'
import { TypedSearchAttributes } from '@temporalio/common'
import { claimStarts, deferStart, deleteStarts, type StartRow } from '../db/start.ts'
import { getOrderState } from '../db/order.ts'
import type { Database } from '../db/connection/pool.ts'
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
import { forEachBounded, retryDelayMs, startLoop, type Relay, type RelayMetrics } from './loop.ts'

const BATCH = 64
/** Starts under way at once: enough to keep the engine busy, few enough to leave it room for signals. */
const WIDTH = 16
/** Nobody waits for a start: the caller has its answer, and money or a command that comes first starts its order itself. */
const IDLE_MS = 250
/** Wakes under way beyond which starts wait: who has paid comes before who may. */
const YIELD_ABOVE = 8
/** Longer it does not wait for a batch's turn. */
const YIELD_FOR_MS = 5_000
/** A hung engine answers nothing. A start, a look and a signal, one after another, end before their row's lease does. */
const CALL_WITHIN_MS = 4_000

/** A row that had to wait for longer is left for whoever claims it next: a start and a look would outlast its lease. */
const BEGIN_WITHIN_MS = 6_000

export type StartDeps = {
  database: Database
  client: Client
  holder: string
  logger: Logger
  metrics: RelayMetrics
  /** Whether this process's workers may take a first task past Temporal's choice of build; by default they may. */
  isEager?: () => boolean
}

type Startable = Pick<StartRow, 'orderId' | 'generation' | 'asset' | 'expiresAt'>

/** What every start of an order's workflow has in common, whoever starts it. */
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
    // A later generation is an operator's restart. The run before may even have ended well, where the database was
    // restored to an earlier time.
    workflowIdReusePolicy: row.generation === 1 ? 'REJECT_DUPLICATE' : 'ALLOW_DUPLICATE',
  } as const
}

/** @param deps.wakesUnderWay to which starts yield; by default there are none */
export function startStarter({
  wakesUnderWay = () => 0,
  ...deps
}: StartDeps & { wakesUnderWay?: () => number }): Relay {
  const started = createStarted(deps)
  let yieldsUntilMs = 0
  const loop = startLoop({
    name: 'start',
    logger: deps.logger,
    metrics: deps.metrics,
    idleMs: () => IDLE_MS,
    turn: async () => {
      if (wakesUnderWay() > YIELD_ABOVE && performance.now() < yieldsUntilMs) {
        await started.settle()
        return { claimed: 0, limit: BATCH }
      }
      yieldsUntilMs = performance.now() + YIELD_FOR_MS
      const rows = await started.settledWith((ids) => claimStarts(deps.database, deps.holder, BATCH, ids))
      const until = performance.now() + BEGIN_WITHIN_MS
      await forEachBounded(rows, WIDTH, async (row) => {
        if (performance.now() > until) return
        if (!(await startOne(deps, row))) return
        started.add(row.orderId)
        deps.metrics.passed.inc({ relay: 'start' })
      })
      return { claimed: rows.length, limit: BATCH }
    },
  })
  return {
    stop: async () => {
      await loop.stop()
      await started.settle()
    },
  }
}

export type Started = ReturnType<typeof createStarted>

/** Orders whose workflows run while their rows still say otherwise: a relay's next claim settles them on the way. */
export function createStarted({ database, holder, logger }: Pick<StartDeps, 'database' | 'holder' | 'logger'>) {
  let orderIds: string[] = []

  /** Those that `settle` could not settle are handed to the next. */
  async function settledWith<T>(settle: (started: readonly string[]) => Promise<T>): Promise<T> {
    const taken = orderIds
    orderIds = []
    try {
      return await settle(taken)
    } catch (error) {
      orderIds.push(...taken)
      throw error
    }
  }

  return {
    add: (orderId: string): void => void orderIds.push(orderId),
    settledWith,
    /** At once, where no claim follows. What it cannot settle is found to run by whoever claims it after the lease. */
    settle: async (): Promise<void> => {
      if (orderIds.length === 0) return
      await settledWith((started) => deleteStarts(database, holder, started)).catch((error: unknown) =>
        logger.warn({ relay: 'start', err: error }, 'starts could not be settled; their leases will run out'),
      )
    },
  }
}

/** Starts a workflow whose first task comes back with the answer, to the worker on the same connection. */
export const startOrder = (
  { client, isEager }: Pick<StartDeps, 'client' | 'isEager'>,
  row: Startable,
  news: Pick<OrderInput, 'hasNews'> = {},
): Promise<unknown> =>
  inTime(client, () =>
    client.workflow.start('order', { ...startOptionsOf(row, news), requestEagerStart: isEager?.() ?? true }),
  )

/** A call of a relay to Temporal, with its bound. */
export const inTime = <T>(client: Client, call: () => Promise<T>): Promise<T> =>
  client.withDeadline(Date.now() + CALL_WITHIN_MS, call)

/** True when the row has done its work. */
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
        'start could not be settled; its lease will run out',
      )
    }
    return false
  }
}

/**
 * A run exists. Running: all is well. Closed: its order has ended, or a person must look, and the row stays. The order is
 * read after the run, since it ends before its run closes: the other way round, one that was just ending would look lost.
 */
async function settleAlreadyStarted(deps: StartDeps, row: StartRow): Promise<boolean> {
  if (await isOrderRunning(deps.client, row.orderId)) return true
  const { status } = await getOrderState(deps.database, row.orderId)
  if (isTerminal(status)) return true
  await postpone(deps, row, undefined, 'the workflow has closed while its order is open')
  return false
}

/** Is a run of this order's workflow alive? Rejects where Temporal cannot say. */
export async function isOrderRunning(client: Client, orderId: string): Promise<boolean> {
  try {
    const { status } = await inTime(client, () => client.workflow.getHandle(orderWorkflowId(orderId)).describe())
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
