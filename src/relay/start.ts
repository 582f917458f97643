// Starts the workflow of each accepted order: the one path for the normal case and for what a crash left behind.
// Invariant: a row goes only when its workflow runs, or when its order needs none.

import { WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError, type Client } from '@temporalio/client'
import { TypedSearchAttributes } from '@temporalio/common'
import { claimStarts, deferStart, deleteStarts, type StartRow } from '../db/relay.ts'
import { getOrderState } from '../db/order.ts'
import type { Database } from '../db/pool.ts'
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

export type StartDeps = {
  database: Database
  client: Client
  holder: string
  logger: Logger
  metrics: RelayMetrics
}

/** What every start of an order's workflow has in common, whoever starts it. */
export function startOptionsOf(row: Pick<StartRow, 'orderId' | 'generation' | 'asset' | 'expiresAt'>) {
  const input: OrderInput = { orderId: row.orderId, generation: row.generation }
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
    workflowIdReusePolicy: row.generation === 1 ? 'REJECT_DUPLICATE' : 'ALLOW_DUPLICATE_FAILED_ONLY',
  } as const
}

export function startStarter(deps: StartDeps): Relay {
  return startLoop({
    name: 'start',
    logger: deps.logger,
    metrics: deps.metrics,
    turn: async () => {
      const rows = await claimStarts(deps.database, deps.holder, BATCH)
      const started: string[] = []
      await forEachBounded(rows, WIDTH, async (row) => {
        if (await startOne(deps, row)) started.push(row.orderId)
      })
      if (started.length > 0) await deleteStarts(deps.database, deps.holder, started)
      deps.metrics.passed.inc({ relay: 'start' }, started.length)
      return { claimed: rows.length, limit: BATCH }
    },
  })
}

/** True when the row has done its work. */
async function startOne(deps: StartDeps, row: StartRow): Promise<boolean> {
  try {
    await deps.client.workflow.start('order', { ...startOptionsOf(row), requestEagerStart: true })
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

/** A run exists. Running: all is well. Closed although the order is open: a person must look, and the row stays. */
async function settleAlreadyStarted(deps: StartDeps, row: StartRow): Promise<boolean> {
  const { status } = await getOrderState(deps.database, row.orderId)
  if (isTerminal(status)) return true
  try {
    const run = await deps.client.workflow.getHandle(orderWorkflowId(row.orderId)).describe()
    if (run.status.name === 'RUNNING' || run.status.name === 'PAUSED') return true
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error
  }
  await postpone(deps, row, undefined, 'the workflow has closed while its order is open')
  return false
}

async function postpone(deps: StartDeps, row: StartRow, error: unknown, deadReason: string | null): Promise<void> {
  deps.metrics.failed.inc({ relay: 'start' })
  deps.logger[deadReason === null ? 'warn' : 'error'](
    { relay: 'start', orderId: row.orderId, err: error, deadReason },
    'workflow not started',
  )
  await deferStart(deps.database, deps.holder, row.orderId, retryDelayMs(row.attempts), deadReason)
}
