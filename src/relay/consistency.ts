// The consistency check of a running shop: tables against each other, and orders against their workflows in both
// directions. A list of workflows only names suspects, since Temporal's visibility lags behind. A verdict reads the one
// workflow, and the database before and after it; an order that changed in between is not reported.

import { setTimeout as delay } from 'node:timers/promises'
import { WorkflowNotFoundError, type Client } from '@temporalio/client'
import {
  collectDifferences,
  compareTables,
  findComparedOrders,
  listOpenOrders,
  type ConsistencyReport,
  type Difference,
  type CheckOptions,
  type ComparedOrder,
} from '../db/consistency.ts'
import { INVARIANTS } from '../db/invariant.ts'
import { forEachBounded } from '../domain/concurrency.ts'
import { isTerminal, type OrderStatus } from '../domain/order.ts'
import { aftercareWorkflowId, orderWorkflowId, STATUS_ATTRIBUTE } from '../workflows/message.ts'

/** What is compared here; INVARIANTS has the checks of the tables. */
export const WORKFLOW_CHECKS = {
  order_has_workflow: 'every open order has a workflow, or a start that is still to come',
  workflow_has_order: 'every running workflow has an order that still needs it',
  workflow_shows_status: 'every workflow shows the status of its order',
  suspects_are_asked: 'every workflow that looks inconsistent was read',
} as const
export type WorkflowCheck = keyof typeof WORKFLOW_CHECKS
/** Every check by name, and what it requires. */
export const CONSISTENCY_CHECKS: Readonly<Record<string, string>> = { ...INVARIANTS, ...WORKFLOW_CHECKS }

export type ConsistencyCheckDeps = CheckOptions & {
  client: Client
  /** Between the two verdicts on a suspect: time for a change under way to end. */
  settleMs?: number
}

const SETTLE_MS = 5_000
const WORKFLOWS_PAGE = 500
/** Workflows read at once: few enough to leave Temporal room for orders. */
const WIDTH = 8
/** With more, Temporal was lost or restored, and reading each workflow would only add to its load. */
const MAX_SUSPECTS = 1_000
/** Suspects that were not read count as a difference: they were not found consistent. */
const UNREAD = { check: 'suspects_are_asked' satisfies WorkflowCheck, subject: 'workflows' } as const
const RUNNING = `(WorkflowType = 'order' OR WorkflowType = 'aftercare') AND ExecutionStatus = 'Running'`

const KINDS = { order: orderWorkflowId, aftercare: aftercareWorkflowId } as const
type Kind = keyof typeof KINDS
type Suspect = { kind: Kind; orderId: string }
/** A workflow as Temporal has it; `shown`: its order's status, as operators see it. */
type WorkflowState = { isRunning: boolean; shown: string | undefined }

/** @throws when the database or Temporal cannot be read */
export async function checkConsistency(deps: ConsistencyCheckDeps): Promise<ConsistencyReport> {
  const startedAt = new Date()
  const tables = await compareTables(deps)
  const { looked, differences } = await compareWorkflows(deps)
  return {
    startedAt,
    looked: { ...tables.looked, workflows: looked },
    differences: [...tables.differences, ...differences],
  }
}

/** @returns how many workflows were listed as running, and the differences between orders and workflows */
export async function compareWorkflows(
  deps: ConsistencyCheckDeps,
): Promise<{ looked: number; differences: readonly Difference[] }> {
  const { looked, suspects } = await findSuspects(deps)
  const confirmed = await confirmSuspects(deps, suspects.slice(0, MAX_SUSPECTS))
  if (confirmed.length > 0) await delay(deps.settleMs ?? SETTLE_MS)
  const { differences, keep } = collectDifferences()
  for (const { difference } of await confirmSuspects(deps, confirmed)) keep(difference)
  const unread = suspects.length - MAX_SUSPECTS
  if (unread > 0) keep({ ...UNREAD, detail: `${unread} more look inconsistent and were not read` })
  return { looked, differences }
}

async function findSuspects(deps: ConsistencyCheckDeps): Promise<{ looked: number; suspects: Suspect[] }> {
  const running = { order: new Set<string>(), aftercare: new Set<string>() }
  const suspects: Suspect[] = []
  // Workflows first: the order of one that began after its list is then a suspect, and the verdict clears it.
  for await (const page of listRunning(deps)) {
    const orders = await findComparedOrders(
      deps.database,
      page.map(({ orderId }) => orderId),
    )
    for (const { kind, orderId, shown } of page) {
      running[kind].add(orderId)
      const run = { isRunning: true, shown }
      if (differenceBetween(kind, run, orders.get(orderId)) !== undefined) suspects.push({ kind, orderId })
    }
  }
  for await (const orderIds of listOpenOrders(deps.database)) {
    deps.onRange?.()
    for (const orderId of orderIds) if (!running.order.has(orderId)) suspects.push({ kind: 'order', orderId })
  }
  return { looked: running.order.size + running.aftercare.size, suspects }
}

type Listed = Suspect & { shown: string | undefined }

async function* listRunning({ client, onRange }: ConsistencyCheckDeps): AsyncGenerator<readonly Listed[]> {
  let page: Listed[] = []
  for await (const { type, workflowId, typedSearchAttributes } of client.workflow.list({
    query: RUNNING,
    pageSize: WORKFLOWS_PAGE,
  })) {
    const kind: Kind = type === 'aftercare' ? 'aftercare' : 'order'
    page.push({
      kind,
      orderId: workflowId.replace(KINDS[kind](''), ''),
      shown: typedSearchAttributes.get(STATUS_ATTRIBUTE),
    })
    if (page.length < WORKFLOWS_PAGE) continue
    onRange?.()
    yield page
    page = []
  }
  yield page
}

/** Reads each suspect alone. Two equal reads of the database held all the time between them. */
async function confirmSuspects(
  deps: ConsistencyCheckDeps,
  suspects: readonly Suspect[],
): Promise<readonly (Suspect & { difference: Difference })[]> {
  const confirmed: (Suspect & { difference: Difference })[] = []
  const failures: unknown[] = []
  await forEachBounded(suspects, WIDTH, async (suspect) => {
    const { kind, orderId } = suspect
    const findOrder = async () => (await findComparedOrders(deps.database, [orderId])).get(orderId)
    try {
      deps.onRange?.()
      const before = await findOrder()
      const run = await describe(deps.client, KINDS[kind](orderId))
      const after = await findOrder()
      const found = differenceBetween(kind, run, after)
      if (found === undefined || found.check !== differenceBetween(kind, run, before)?.check) return
      confirmed.push({ ...suspect, difference: { ...found, subject: orderId } })
    } catch (error) {
      failures.push(error)
    }
  })
  if (failures.length > 0) throw failures[0]
  return confirmed
}

async function describe(client: Client, workflowId: string): Promise<WorkflowState> {
  try {
    const { status, typedSearchAttributes } = await client.workflow.getHandle(workflowId).describe()
    return {
      isRunning: status.name === 'RUNNING' || status.name === 'PAUSED',
      shown: typedSearchAttributes.get(STATUS_ATTRIBUTE),
    }
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return { isRunning: false, shown: undefined }
    throw error
  }
}

/** The difference between a workflow and its order, if there is one. */
function differenceBetween(
  kind: Kind,
  run: WorkflowState,
  order: ComparedOrder | undefined,
): { check: WorkflowCheck; detail: string } | undefined {
  if (!run.isRunning) {
    if (kind === 'aftercare' || order === undefined || isTerminal(order.status) || order.isToStart) return undefined
    return { check: 'order_has_workflow', detail: `${order.status}, and no workflow runs` }
  }
  if (order === undefined) return { check: 'workflow_has_order', detail: `${kind} runs, and there is no such order` }
  if (kind === 'aftercare')
    return isTerminal(order.status)
      ? undefined
      : { check: 'workflow_has_order', detail: `aftercare of an order that is ${order.status}` }
  // A change that the workflow did not make itself may still be on its way to it.
  if (!order.isOld) return undefined
  if (isTerminal(order.status))
    return { check: 'workflow_has_order', detail: `${order.status}, and its workflow still runs` }
  if (run.shown === (order.status satisfies OrderStatus)) return undefined
  return { check: 'workflow_shows_status', detail: `${order.status}, shown as ${run.shown ?? 'nothing'}` }
}
