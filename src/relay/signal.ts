// Tells workflows to look again. The row decides where the news goes: an open order's workflow, started by it if need be,
// or the aftercare of an order that has ended. A row goes when an assessment has seen it.

import { WorkflowNotFoundError, type WorkflowHandle } from '@temporalio/client'
import { claimWakes, deferWake, wakesSent, type WakeRow } from '../db/relay.ts'
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
import { startOptionsOf, type StartDeps } from './start.ts'

/** Orders under way at once. An answer comes when the order has looked: a slow one must not hold up the others. */
const WIDTH = 64
/** Below it a claim is worth its statement. */
const MAX_BUSY = WIDTH / 2
/** An open order without a workflow is asked for this often before a person is called. */
const MAX_MISSING = 10
/** Then a signal does it, which needs no worker; together with the client's own retries below the lease. */
const LOOK_WITHIN_MS = 4_000

export function startWaker(deps: StartDeps): Relay {
  const underWay = new Set<Promise<void>>()
  const loop = startLoop({
    name: 'wake',
    logger: deps.logger,
    metrics: deps.metrics,
    turn: async () => {
      while (underWay.size > MAX_BUSY) await Promise.race(underWay)
      const limit = WIDTH - underWay.size
      const rows = await claimWakes(deps.database, deps.holder, limit)
      for (const row of rows) {
        const done = wakeOne(deps, row).finally(() => underWay.delete(done))
        underWay.add(done)
      }
      return { claimed: rows.length, limit }
    },
  })
  return {
    stop: async () => {
      await loop.stop()
      await Promise.all(underWay)
    },
  }
}

async function wakeOne(deps: StartDeps, row: WakeRow): Promise<void> {
  const { database, holder, metrics } = deps
  try {
    // Looked at: the assessment has removed the row, or does so within the lease.
    if ((await send(deps, row)) === 'signalled') await wakesSent(database, holder, [row.orderId])
    metrics.passed.inc({ relay: 'wake' })
  } catch (error) {
    const isLost = error instanceof WorkflowNotFoundError && row.attempts >= MAX_MISSING
    metrics.failed.inc({ relay: 'wake' })
    deps.logger[isLost ? 'error' : 'warn'](
      { relay: 'wake', orderId: row.orderId, err: error, isLost },
      'workflow not woken',
    )
    const deadReason = isLost ? 'no workflow runs for this open order' : null
    await deferWake(database, holder, row.orderId, retryDelayMs(row.attempts), deadReason).catch((failure: unknown) =>
      deps.logger.warn(
        { relay: 'wake', orderId: row.orderId, err: failure },
        'wake could not be settled; its lease will run out',
      ),
    )
  }
}

async function send(deps: StartDeps, row: WakeRow): Promise<'looked' | 'signalled'> {
  const { workflow } = deps.client
  if (isTerminal(row.status)) {
    const input: AftercareInput = { orderId: row.orderId }
    await workflow.signalWithStart('aftercare', {
      workflowId: aftercareWorkflowId(row.orderId),
      taskQueue: ORDER_TASK_QUEUE,
      args: [input],
      staticSummary: `Money or a reorganisation after order ${row.orderId} had ended`,
      signal: orderChanged,
    })
  } else if (row.startGeneration === null) {
    const handle = workflow.getHandle(orderWorkflowId(row.orderId))
    if (row.attempts === 1 && (await hasLooked(deps, handle))) return 'looked'
    await handle.signal(orderChanged)
  } else {
    await workflow.signalWithStart('order', {
      ...startOptionsOf({ ...row, generation: row.startGeneration }),
      signal: orderChanged,
    })
  }
  return 'signalled'
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
