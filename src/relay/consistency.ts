// The whole look at a running shop: tables against each other, and orders against their workflows in both directions.
// A list of workflows only makes suspects, since visibility lags behind. A verdict asks the engine about the one
// workflow, and the database before and after it; an order that moves meanwhile accuses nobody.

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

/** What is compared here, beside the invariants of the database. */
export const WORKFLOW_CHECKS = {
  order_has_workflow: 'an open order has a workflow, or one that is still to be started',
  workflow_has_order: 'a workflow has an order with which there is something to do',
  workflow_shows_status: 'the status a workflow shows is that of its order',
  suspects_are_asked: 'every workflow that looks wrong is asked about',
} as const
export type WorkflowCheck = keyof typeof WORKFLOW_CHECKS

export type LookEverywhere = CheckOptions & {
  client: Client
  /** How long an accused order has to clear itself up before it is asked about again. */
  settleMs?: number
}

const SETTLE_MS = 5_000
const PAGE = 500
/** Workflows asked about at once: few enough to leave the engine room for orders. */
const WIDTH = 8
/** Beyond so many the engine was lost or restored, and asking about each would only add to it. */
const MAX_SUSPECTS = 1_000
/** What was not asked about has not been found right. */
const UNASKED = { check: 'suspects_are_asked' satisfies WorkflowCheck, subject: 'workflows' } as const
const RUNNING = `(WorkflowType = 'order' OR WorkflowType = 'aftercare') AND ExecutionStatus = 'Running'`

const KINDS = { order: orderWorkflowId, aftercare: aftercareWorkflowId } as const
type Kind = keyof typeof KINDS
type Suspect = { kind: Kind; orderId: string }
/** A workflow as the engine has it; `shown`: its order's status, as operators see it. */
type Run = { isRunning: boolean; shown: string | undefined }

/** @throws when the database or the engine cannot be asked */
export async function checkConsistency(look: LookEverywhere): Promise<ConsistencyReport> {
  const startedAt = new Date()
  const tables = await compareTables(look)
  const { looked, differences } = await compareWorkflows(look)
  return {
    startedAt,
    looked: { ...tables.looked, workflows: looked },
    differences: [...tables.differences, ...differences],
  }
}

/** @returns how many workflows were listed as running, and what is wrong with them or with orders that have none */
export async function compareWorkflows(
  look: LookEverywhere,
): Promise<{ looked: number; differences: readonly Difference[] }> {
  const { looked, suspects } = await findSuspects(look)
  const accused = await judge(look, suspects.slice(0, MAX_SUSPECTS))
  if (accused.length > 0) await delay(look.settleMs ?? SETTLE_MS)
  const { differences, keep } = collectDifferences()
  for (const { difference } of await judge(look, accused)) keep(difference)
  const unasked = suspects.length - MAX_SUSPECTS
  if (unasked > 0) keep({ ...UNASKED, detail: `${unasked} more look wrong, and were not asked about` })
  return { looked, differences }
}

async function findSuspects(look: LookEverywhere): Promise<{ looked: number; suspects: Suspect[] }> {
  const running = { order: new Set<string>(), aftercare: new Set<string>() }
  const suspects: Suspect[] = []
  // Workflows first: one that is in no list because it began later is a suspect for a moment, and no more.
  for await (const page of listRunning(look)) {
    const standings = await findComparedOrders(
      look.database,
      page.map(({ orderId }) => orderId),
    )
    for (const { kind, orderId, shown } of page) {
      running[kind].add(orderId)
      const run = { isRunning: true, shown }
      if (wrongOf(kind, run, standings.get(orderId)) !== undefined) suspects.push({ kind, orderId })
    }
  }
  for await (const orderIds of listOpenOrders(look.database)) {
    look.onRange?.()
    for (const orderId of orderIds) if (!running.order.has(orderId)) suspects.push({ kind: 'order', orderId })
  }
  return { looked: running.order.size + running.aftercare.size, suspects }
}

type Listed = Suspect & { shown: string | undefined }

async function* listRunning({ client, onRange }: LookEverywhere): AsyncGenerator<readonly Listed[]> {
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

/** Asks about each suspect alone. Two answers of the database that agree were true all the time between them. */
async function judge(
  look: LookEverywhere,
  suspects: readonly Suspect[],
): Promise<readonly (Suspect & { difference: Difference })[]> {
  const accused: (Suspect & { difference: Difference })[] = []
  const failures: unknown[] = []
  await forEachBounded(suspects, WIDTH, async (suspect) => {
    const { kind, orderId } = suspect
    const standing = async () => (await findComparedOrders(look.database, [orderId])).get(orderId)
    try {
      look.onRange?.()
      const before = await standing()
      const run = await describe(look.client, KINDS[kind](orderId))
      const after = await standing()
      const wrong = wrongOf(kind, run, after)
      if (wrong === undefined || wrong.check !== wrongOf(kind, run, before)?.check) return
      accused.push({ ...suspect, difference: { ...wrong, subject: orderId } })
    } catch (error) {
      failures.push(error)
    }
  })
  if (failures.length > 0) throw failures[0]
  return accused
}

async function describe(client: Client, workflowId: string): Promise<Run> {
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

/** What is wrong between a workflow and its order, if anything is. */
function wrongOf(
  kind: Kind,
  run: Run,
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
  // What the workflow did not do itself it may still be about to notice.
  if (!order.isOld) return undefined
  if (isTerminal(order.status))
    return { check: 'workflow_has_order', detail: `${order.status}, and its workflow still runs` }
  if (run.shown === (order.status satisfies OrderStatus)) return undefined
  return { check: 'workflow_shows_status', detail: `${order.status}, shown as ${run.shown ?? 'nothing'}` }
}
