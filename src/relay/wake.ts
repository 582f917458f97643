// Tells workflows to look again. The row decides where the news goes: an open order's workflow, started with it if need
// be, or the aftercare of an order that has ended. A row goes when an assessment has seen it.

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
import { IDLE_MS, retryDelayMs, startLoop, type Relay } from './loop.ts'
import { createStarted, inTime, startOrder, type Started, type StartDeps } from './start.ts'

/** Orders under way at once. An answer comes when the order has looked: a slow one must not hold up the others. */
const WIDTH = 64
/** Below it a claim is worth its statement. */
const MAX_BUSY = WIDTH / 2
/** While so many are under way nobody notices a longer pause, and a claim of several costs what a claim of one does. */
const MANY_BUSY = 8
const BUSY_IDLE_MS = 200
/** An open order without a workflow is asked for this often before a person is called. */
const MAX_MISSING = 10
/** Then a signal does it, which needs no worker. With a start before it and that signal it ends before the row's lease. */
const LOOK_WITHIN_MS = 6_000

export function startWaker(deps: StartDeps): Relay & { underWay: () => number } {
  const underWay = new Set<Promise<void>>()
  const started = createStarted(deps)
  const loop = startLoop({
    name: 'wake',
    logger: deps.logger,
    metrics: deps.metrics,
    idleMs: () => (underWay.size > MANY_BUSY ? BUSY_IDLE_MS : IDLE_MS),
    turn: async () => {
      while (underWay.size > MAX_BUSY) await Promise.race(underWay)
      const limit = WIDTH - underWay.size
      const rows = await started.settledWith((ids) => claimWakes(deps.database, deps.holder, limit, ids))
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
      await started.settle()
    },
  }
}

async function wakeOne(deps: StartDeps, row: WakeRow, started: Started): Promise<void> {
  const { database, holder, metrics } = deps
  try {
    // Looked: the assessment has removed the row, or does so within the lease.
    if ((await send(deps, row)) === 'signalled') await markWakesSent(database, holder, [row.orderId])
    // Whatever started it: it runs.
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
        'wake could not be settled; its lease will run out',
      ),
    )
  }
}

/** The start that was claimed with it is anybody's again, at once: it has a patience of its own. */
async function postpone({ database, holder }: StartDeps, row: WakeRow, deadReason: string | null): Promise<void> {
  if (row.startGeneration !== null) await deferStart(database, holder, row.orderId, 0, null)
  await deferWake(database, holder, row.orderId, retryDelayMs(row.attempts), deadReason)
}

async function send(deps: StartDeps, row: WakeRow): Promise<'looked' | 'signalled'> {
  const { workflow } = deps.client
  if (isTerminal(row.status)) {
    await tellRunLeft(deps, row)
    const input: AftercareInput = { orderId: row.orderId }
    await inTime(deps.client, () =>
      workflow.signalWithStart('aftercare', {
        workflowId: aftercareWorkflowId(row.orderId),
        taskQueue: ORDER_TASK_QUEUE,
        args: [input],
        staticSummary: `Money or a reorganisation after order ${row.orderId} had ended`,
        signal: orderChanged,
      }),
    )
  } else {
    if (await hasStarted(deps, row)) return 'looked'
    const handle = workflow.getHandle(orderWorkflowId(row.orderId))
    if (row.attempts === 1 && (await hasLooked(deps, handle))) return 'looked'
    await inTime(deps.client, () => handle.signal(orderChanged))
  }
  return 'signalled'
}

/** An order may have ended without its run, by the sweeper: a run that still waits learns of it and ends. */
async function tellRunLeft({ client }: StartDeps, { orderId }: WakeRow): Promise<void> {
  try {
    await inTime(client, () => client.workflow.getHandle(orderWorkflowId(orderId)).signal(orderChanged))
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error
  }
}

/** With the news, which the run then looks at first. False when a workflow runs: it is told as any other. */
async function hasStarted(deps: StartDeps, { startGeneration: generation, ...row }: WakeRow): Promise<boolean> {
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
 * Asks by an update, which costs the engine one durable write where a signal costs three (docs/decisions/0012). It is
 * lost where no worker answers, and a workflow bears only so many; so it is tried once, and the row remembers.
 */
async function hasLooked({ client, logger }: StartDeps, handle: WorkflowHandle): Promise<boolean> {
  try {
    await client.withDeadline(Date.now() + LOOK_WITHIN_MS, () => handle.executeUpdate(lookUpdate))
    return true
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw error
    logger.debug({ relay: 'wake', workflowId: handle.workflowId, err: error }, 'no worker looked; sending a signal')
    return false
  }
}
