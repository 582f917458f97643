// Consistency check of a running shop: tables against each other, and orders against their workflows in both
// directions.

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
import { isTerminal, type OrderStatus } from '../domain/order.ts'
import { aftercareWorkflowId, orderWorkflowId, STATUS_ATTRIBUTE } from '../workflows/message.ts'
import { forEachBounded } from './loop.ts'

/** The checks made here, in addition to the database's invariants. */
export const WORKFLOW_CHECKS = {
  order_has_workflow: 'every open order has a running workflow or a pending start',
  workflow_has_order: 'every running workflow has an order that needs it',
  workflow_shows_status: 'the status shown by a workflow is that of its order',
  suspects_are_asked: 'every workflow that looks inconsistent is checked again',
} as const
export type WorkflowCheck = keyof typeof WORKFLOW_CHECKS

export type ConsistencyOptions = CheckOptions & {
  client: Client
  /** How long to wait before an inconsistent order is checked again. */
  settleMs?: number
}

const SETTLE_MS = 5_000
const PAGE = 500
/** Concurrent queries to Temporal: few enough to leave capacity for orders. */
const WIDTH = 8
/** If there are more, Temporal was lost or restored, and a query for each would only add load. */
const MAX_SUSPECTS = 1_000
/** Reported for suspects that were not checked again. */
const UNASKED = { check: 'suspects_are_asked' satisfies WorkflowCheck, subject: 'workflows' } as const
const RUNNING = `(WorkflowType = 'order' OR WorkflowType = 'aftercare') AND ExecutionStatus = 'Running'`

const KINDS = { order: orderWorkflowId, aftercare: aftercareWorkflowId } as const
type Kind = keyof typeof KINDS
type Suspect = { kind: Kind; orderId: string }
/** A workflow's state in Temporal; `shown` is its order's status as operators see it there. */
type WorkflowRun = { isRunning: boolean; shown: string | undefined }

/** @throws if the database or Temporal cannot be queried */
export async function checkConsistency(options: ConsistencyOptions): Promise<ConsistencyReport> {
  const startedAt = new Date()
  const tables = await compareTables(options)
  const { looked, differences } = await compareWorkflows(options)
  return {
    startedAt,
    looked: { ...tables.looked, workflows: looked },
    differences: [...tables.differences, ...differences],
  }
}

/** @returns how many workflows were listed as running, and the differences between workflows and orders */
export async function compareWorkflows(
  options: ConsistencyOptions,
): Promise<{ looked: number; differences: readonly Difference[] }> {
  const { looked, suspects } = await findSuspects(options)
  const confirmed = await confirmDifferences(options, suspects.slice(0, MAX_SUSPECTS))
  if (confirmed.length > 0) await delay(options.settleMs ?? SETTLE_MS)
  const { differences, keep } = collectDifferences()
  for (const { difference } of await confirmDifferences(options, confirmed)) keep(difference)
  const unasked = suspects.length - MAX_SUSPECTS
  if (unasked > 0) keep({ ...UNASKED, detail: `${unasked} more look inconsistent and were not checked` })
  return { looked, differences }
}

async function findSuspects(options: ConsistencyOptions): Promise<{ looked: number; suspects: Suspect[] }> {
  const running = { order: new Set<string>(), aftercare: new Set<string>() }
  const suspects: Suspect[] = []
  // Workflows first: one that starts later is in neither list, and the second check removes it from the suspects.
  for await (const page of listRunning(options)) {
    const orders = await findComparedOrders(
      options.database,
      page.map(({ orderId }) => orderId),
    )
    for (const { kind, orderId, shown } of page) {
      running[kind].add(orderId)
      const run = { isRunning: true, shown }
      if (differenceBetween(kind, run, orders.get(orderId)) !== undefined) suspects.push({ kind, orderId })
    }
  }
  for await (const orderIds of listOpenOrders(options.database)) {
    options.onRange?.()
    for (const orderId of orderIds) if (!running.order.has(orderId)) suspects.push({ kind: 'order', orderId })
  }
  return { looked: running.order.size + running.aftercare.size, suspects }
}

type Listed = Suspect & { shown: string | undefined }

async function* listRunning({ client, onRange }: ConsistencyOptions): AsyncGenerator<readonly Listed[]> {
  let page: Listed[] = []
  for await (const { type, workflowId, typedSearchAttributes } of client.workflow.list({
    query: RUNNING,
    pageSize: PAGE,
  })) {
    const kind: Kind = type === 'aftercare' ? 'aftercare' : 'order'
    page.push({
      kind,
      orderId: workflowId.replace(KINDS[kind](''), ''),
      shown: typedSearchAttributes.get(STATUS_ATTRIBUTE),
    })
    if (page.length < PAGE) continue
    onRange?.()
    yield page
    page = []
  }
  yield page
}

/** Checks each suspect by itself. If two reads of the order agree, the order did not change in between. */
async function confirmDifferences(
  options: ConsistencyOptions,
  suspects: readonly Suspect[],
): Promise<readonly (Suspect & { difference: Difference })[]> {
  const confirmed: (Suspect & { difference: Difference })[] = []
  const failures: unknown[] = []
  await forEachBounded(suspects, WIDTH, async (suspect) => {
    const { kind, orderId } = suspect
    const findOrder = async () => (await findComparedOrders(options.database, [orderId])).get(orderId)
    try {
      options.onRange?.()
      const before = await findOrder()
      const run = await describe(options.client, KINDS[kind](orderId))
      const after = await findOrder()
      const difference = differenceBetween(kind, run, after)
      if (difference === undefined || difference.check !== differenceBetween(kind, run, before)?.check) return
      confirmed.push({ ...suspect, difference: { ...difference, subject: orderId } })
    } catch (error) {
      failures.push(error)
    }
  })
  if (failures.length > 0) throw failures[0]
  return confirmed
}

async function describe(client: Client, workflowId: string): Promise<WorkflowRun> {
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
  run: WorkflowRun,
  order: ComparedOrder | undefined,
): { check: WorkflowCheck; detail: string } | undefined {
  if (!run.isRunning) {
    if (kind === 'aftercare' || order === undefined || isTerminal(order.status) || order.isToStart) return undefined
    return { check: 'order_has_workflow', detail: `${order.status}, but no workflow is running` }
  }
  if (order === undefined)
    return { check: 'workflow_has_order', detail: `${kind} is running, but its order does not exist` }
  if (kind === 'aftercare')
    return isTerminal(order.status)
      ? undefined
      : { check: 'workflow_has_order', detail: `aftercare of an order that is ${order.status}` }
  // The workflow may not have noticed yet a change that it did not make itself.
  if (!order.isOld) return undefined
  if (isTerminal(order.status))
    return { check: 'workflow_has_order', detail: `${order.status}, but its workflow is still running` }
  if (run.shown === (order.status satisfies OrderStatus)) return undefined
  return { check: 'workflow_shows_status', detail: `${order.status}, shown as ${run.shown ?? 'nothing'}` }
}
