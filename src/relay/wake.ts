// The wake relay: asks workflows to assess the inbox again. The row decides which one: an open order's workflow,
// started if need be, or the aftercare of an order that has ended. A row is deleted when an assessment has seen it.

import { WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError, type WorkflowHandle } from '@temporalio/client'
import { deferStart } from '../db/start.ts'
import { claimWakes, deferWake, markWakesSent, type WakeRow } from '../db/wake.ts'
import { isTerminal } from '../domain/order.ts'
import {
  aftercareWorkflowId,
  lookUpdate,
  ORDER_TASK_QUEUE,
  orderChanged,
  orderWorkflowId,
  type AftercareInput,
} from '../workflows/message.ts'
import { retryDelayMs, startLoop, type Relay } from './loop.ts'
import { createStartedOrders, withCallDeadline, startOrder, type StartedOrders, type StartDeps } from './start.ts'

/** Concurrent wakes. An answer comes after the order's assessment, so a slow one must not delay the others. */
const WIDTH = 64
/** With more under way, a claim for the rest is not worth its statement. */
const MAX_BUSY = WIDTH / 2
/** A customer watches the page for it: half of this is what a payment waits for its relay. A claim of nothing is cheap. */
const WAKE_IDLE_MS = 20
/** With this many under way the pause may be longer: one claim of several rows costs no more than a claim of one. */
const MANY_BUSY = 8
const BUSY_IDLE_MS = 200
/** Tries at an open order without a workflow before the row becomes a dead letter for an operator. */
const MAX_MISSING = 10
/** After this a signal is sent, which needs no worker. Start, update and signal together end before the row's lease. */
const UPDATE_WITHIN_MS = 6_000

export function startWaker(deps: StartDeps): Relay & { underWay: () => number } {
  const underWay = new Set<Promise<void>>()
  const started = deps.started ?? createStartedOrders(deps)
  const loop = startLoop({
    name: 'wake',
    logger: deps.logger,
    metrics: deps.metrics,
    idleMs: () => (underWay.size > MANY_BUSY ? BUSY_IDLE_MS : WAKE_IDLE_MS),
    turn: async () => {
      while (underWay.size > MAX_BUSY) await Promise.race(underWay)
      const limit = WIDTH - underWay.size
      const rows = await started.flushInto((ids) => claimWakes(deps.database, deps.holder, limit, ids))
      for (const row of rows) {
        const done = wakeOne(deps, row, started).finally(() => underWay.delete(done))
        underWay.add(done)
      }
      return { claimed: rows.length, limit }
    },
  })
  return {
    underWay: () => underWay.size,
    stop: async () => {
      await loop.stop()
      await Promise.all(underWay)
      await started.flush()
    },
  }
}

async function wakeOne(deps: StartDeps, row: WakeRow, started: StartedOrders): Promise<void> {
  const { database, holder, metrics } = deps
  try {
    // Assessed: the assessment has deleted the row, or does so within the lease.
    if ((await send(deps, row)) === 'signalled') await markWakesSent(database, holder, [row.orderId])
    // The workflow runs, whether this wake or another call started it.
    if (row.startGeneration !== null) started.add(row.orderId)
    metrics.passed.inc({ relay: 'wake' })
  } catch (error) {
    const isLost = error instanceof WorkflowNotFoundError && row.attempts >= MAX_MISSING
    metrics.failed.inc({ relay: 'wake' })
    deps.logger[isLost ? 'error' : 'warn'](
      { relay: 'wake', orderId: row.orderId, err: error, isLost },
      'workflow not woken',
    )
    await postpone(deps, row, isLost ? 'no workflow runs for this open order' : null).catch((failure: unknown) =>
      deps.logger.warn(
        { relay: 'wake', orderId: row.orderId, err: failure },
        'wake not postponed; its lease will expire',
      ),
    )
  }
}

/** Releases the start's lease at once: starts have their own retry policy. */
async function postpone({ database, holder }: StartDeps, row: WakeRow, deadReason: string | null): Promise<void> {
  if (row.startGeneration !== null) await deferStart(database, holder, row.orderId, 0, null)
  await deferWake(database, holder, row.orderId, retryDelayMs(row.attempts), deadReason)
}

async function send(deps: StartDeps, row: WakeRow): Promise<'assessed' | 'signalled'> {
  const { workflow } = deps.client
  if (isTerminal(row.status)) {
    await signalLeftoverRun(deps, row)
    const input: AftercareInput = { orderId: row.orderId }
    await withCallDeadline(deps.client, () =>
      workflow.signalWithStart('aftercare', {
        workflowId: aftercareWorkflowId(row.orderId),
        taskQueue: ORDER_TASK_QUEUE,
        args: [input],
        staticSummary: `Money or a reorganisation after order ${row.orderId} had ended`,
        signal: orderChanged,
      }),
    )
  } else {
    if (await startWithNews(deps, row)) return 'assessed'
    const handle = workflow.getHandle(orderWorkflowId(row.orderId))
    if (row.attempts === 1 && (await requestAssessment(deps, handle))) return 'assessed'
    await withCallDeadline(deps.client, () => handle.signal(orderChanged))
  }
  return 'signalled'
}

/** The sweeper ends orders without their workflow: a run that still waits is signalled, so that it ends too. */
async function signalLeftoverRun({ client }: StartDeps, { orderId }: WakeRow): Promise<void> {
  try {
    await withCallDeadline(client, () => client.workflow.getHandle(orderWorkflowId(orderId)).signal(orderChanged))
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error
  }
}

/** Starts the workflow with the news, which its run assesses first. False when a workflow runs already. */
async function startWithNews(deps: StartDeps, { startGeneration: generation, ...row }: WakeRow): Promise<boolean> {
  if (generation === null) return false
  try {
    await startOrder(deps, { ...row, generation }, { hasNews: true })
    return true
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return false
    throw error
  }
}

/**
 * Sends an update, which costs Temporal one durable write where a signal costs three (docs/decisions/0012). An update
 * is lost when no worker answers, and Temporal limits their number per workflow: so each row sends one, at its first
 * try.
 */
async function requestAssessment({ client, logger }: StartDeps, handle: WorkflowHandle): Promise<boolean> {
  try {
    await client.withDeadline(Date.now() + UPDATE_WITHIN_MS, () => handle.executeUpdate(lookUpdate))
    return true
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw error
    logger.debug({ relay: 'wake', workflowId: handle.workflowId, err: error }, 'update not answered; sending a signal')
    return false
  }
}
