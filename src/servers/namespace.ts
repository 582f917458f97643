// Prepares a Temporal server for Holdfast's workers: two namespaces, and the search attributes by which operators find
// orders. Safe to repeat, on any server.

import { status } from '@grpc/grpc-js'
import { Connection, isGrpcServiceError } from '@temporalio/client'
import { msToTs } from '@temporalio/common/lib/time.js'
import proto from '@temporalio/proto'
import { retry } from '../repeat.ts'

const { IndexedValueType } = proto.temporal.api.enums.v1

const HOUR_MS = 3_600_000
const PREPARE_WITHIN_MS = 60_000
const RETRY_BACK_OFF = { fromMs: 100, toMs: 100 }

/** Orders' histories outlive any dispute about a payment; background workflows are kept for a day. */
export const NAMESPACE_RETENTION_HOURS = { holdfast: 30 * 24, 'holdfast-background': 24 } as const

/** Never encrypted and shown to operators: they must not contain personal data. */
export const SEARCH_ATTRIBUTES = {
  Asset: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
  PaymentDeadline: IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
  OrderStatus: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
  NeedsOperator: IndexedValueType.INDEXED_VALUE_TYPE_BOOL,
} as const

/**
 * Creates missing namespaces and search attributes, and resolves once they can be used.
 * @param address host:port of a Temporal server that may still be starting
 * @param namespaces retention in hours by name
 * @throws {Error} the server's last error, when it still refuses after a minute
 */
export async function prepareNamespaces(
  address: string,
  namespaces: Readonly<Record<string, number>> = NAMESPACE_RETENTION_HOURS,
): Promise<void> {
  const connection = await Connection.connect({ address })
  try {
    for (const [namespace, hours] of Object.entries(namespaces)) {
      await untilAccepted(() => ensureNamespace(connection, namespace, hours))
      await untilAccepted(() => ensureSearchAttributes(connection, namespace))
    }
  } finally {
    await connection.close()
  }
}

/** Removes a namespace and all that ran in it. */
export async function removeNamespace(address: string, namespace: string): Promise<void> {
  const connection = await Connection.connect({ address })
  try {
    await connection.operatorService.deleteNamespace({ namespace })
  } finally {
    await connection.close()
  }
}

async function ensureNamespace(connection: Connection, namespace: string, retentionHours: number): Promise<void> {
  const workflowExecutionRetentionPeriod = msToTs(retentionHours * HOUR_MS)
  try {
    await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod })
  } catch (error) {
    if (!isGrpcServiceError(error) || error.code !== status.ALREADY_EXISTS) throw error
  }
}

async function ensureSearchAttributes(connection: Connection, namespace: string): Promise<void> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace })
  const missing = Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => !(name in customAttributes))
  if (missing.length > 0) {
    await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: Object.fromEntries(missing) })
  }
  // Temporal's frontend caches the names for up to 2 s, and refuses to start a workflow with one it does not know yet.
  const query = Object.keys(SEARCH_ATTRIBUTES)
    .map((name) => `${name} IS NULL`)
    .join(' AND ')
  await connection.workflowService.countWorkflowExecutions({ namespace, query })
}

/** Retries within a deadline: a server that has just started, or just got a name, may refuse for a moment. */
async function untilAccepted(step: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + PREPARE_WITHIN_MS
  await retry(step, { isTransient: () => performance.now() <= deadline, backOff: RETRY_BACK_OFF })
}
