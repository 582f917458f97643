// Tells workflows to look again. The row decides where the signal goes: an open order's workflow, started by the
// signal if need be, or the aftercare of an order that has ended. A row goes when an assessment has seen it.

import { WorkflowNotFoundError } from '@temporalio/client'
import { claimWakes, deferWake, wakesSent, type WakeRow } from '../db/relay.ts'
import { isTerminal } from '../domain/order.ts'
import {
  aftercareWorkflowId,
  ORDER_TASK_QUEUE,
  orderChanged,
  orderWorkflowId,
  type AftercareInput,
} from '../workflows/message.ts'
import { forEachBounded, retryDelayMs, startLoop, type Relay } from './loop.ts'
import { startOptionsOf, type StartDeps } from './start.ts'

const BATCH = 64
const WIDTH = 32
/** An open order without a workflow is asked for this often before a person is called. */
const MAX_MISSING = 10

export function startWaker(deps: StartDeps): Relay {
  return startLoop({
    name: 'wake',
    logger: deps.logger,
    metrics: deps.metrics,
    turn: async () => {
      const rows = await claimWakes(deps.database, deps.holder, BATCH)
      const sent: string[] = []
      await forEachBounded(rows, WIDTH, async (row) => {
        if (await wakeOne(deps, row)) sent.push(row.orderId)
      })
      if (sent.length > 0) await wakesSent(deps.database, deps.holder, sent)
      deps.metrics.passed.inc({ relay: 'wake' }, sent.length)
      return { claimed: rows.length, limit: BATCH }
    },
  })
}

async function wakeOne(deps: StartDeps, row: WakeRow): Promise<boolean> {
  try {
    await send(deps, row)
    return true
  } catch (error) {
    const isLost = error instanceof WorkflowNotFoundError && row.attempts >= MAX_MISSING
    deps.metrics.failed.inc({ relay: 'wake' })
    deps.logger[isLost ? 'error' : 'warn'](
      { relay: 'wake', orderId: row.orderId, err: error, isLost },
      'workflow not woken',
    )
    const deadReason = isLost ? 'no workflow runs for this open order' : null
    await deferWake(deps.database, deps.holder, row.orderId, retryDelayMs(row.attempts), deadReason).catch(
      (failure: unknown) =>
        deps.logger.warn(
          { relay: 'wake', orderId: row.orderId, err: failure },
          'wake could not be settled; its lease will run out',
        ),
    )
    return false
  }
}

async function send({ client }: StartDeps, row: WakeRow): Promise<void> {
  if (isTerminal(row.status)) {
    const input: AftercareInput = { orderId: row.orderId }
    await client.workflow.signalWithStart('aftercare', {
      workflowId: aftercareWorkflowId(row.orderId),
      taskQueue: ORDER_TASK_QUEUE,
      args: [input],
      staticSummary: `Money or a reorganisation after order ${row.orderId} had ended`,
      signal: orderChanged,
    })
  } else if (row.startGeneration === null) {
    await client.workflow.getHandle(orderWorkflowId(row.orderId)).signal(orderChanged)
  } else {
    await client.workflow.signalWithStart('order', {
      ...startOptionsOf({ ...row, generation: row.startGeneration }),
      signal: orderChanged,
    })
  }
}
