// Contract of the workflows: names and types of their messages, ids, schedules and search attributes. The only workflow
// file that other rooms import.

import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common'
import { defineSignal, defineUpdate } from '@temporalio/workflow'
import type { OperatorDecision } from '../domain/audit.ts'
import type { CommandInput, CommandResult } from '../domain/command.ts'
import type { CancelReason, OrderStatus } from '../domain/order.ts'

export const ORDER_TASK_QUEUE = 'orders'

/** Scheduled maintenance, in a separate namespace. */
export const BACKGROUND_TASK_QUEUE = 'background'
export const BACKSTOP_SCHEDULE = 'duty-backstop'
export const FORGET_SCHEDULE = 'forget-answers'
export const CONSISTENCY_SCHEDULE = 'consistency'

/** Each schedule runs one workflow type. */
export const SCHEDULES = [
  { scheduleId: BACKSTOP_SCHEDULE, workflowType: 'backstop', every: '1 minute' },
  // One run can remove what a shop of 300 orders a second adds between two runs.
  { scheduleId: FORGET_SCHEDULE, workflowType: 'forgetAnswers', every: '10 minutes' },
  { scheduleId: CONSISTENCY_SCHEDULE, workflowType: 'consistency', every: '1 hour' },
] as const

export const orderWorkflowId = (orderId: string): string => `order:${orderId}`
export const aftercareWorkflowId = (orderId: string): string => `aftercare:${orderId}`

export type OrderInput = {
  orderId: string
  /** Which run of this order: 1, and one more for each deliberate restart. */
  generation: number
  /** Set where payments were reported before the start: the run assesses them first. */
  hasNews?: true
  /** Set where this run continues one whose history had grown too long: the last step of that run. */
  step?: number
}
export type OrderOutcome = { status: OrderStatus; cancelReason: CancelReason | null }

export type AftercareInput = { orderId: string }

/** Requests an assessment of the payment inbox. It carries no data and no authority: a forged one has no effect. */
export const orderChanged = defineSignal('orderChanged')
/** The same request, confirmed by the worker. A run accepts `MAX_LOOKS_PER_RUN` of these, then signals only. */
export const lookUpdate = defineUpdate('look')

export const cancelUpdate = defineUpdate<CommandResult, [CommandInput]>('cancel')
export const shipUpdate = defineUpdate<CommandResult, [CommandInput]>('ship')
export const deliverUpdate = defineUpdate<CommandResult, [CommandInput]>('deliver')

/** Sent by operators while a compensation is parked. `reason` is stored in the history: no personal data. */
export const retryCompensationUpdate = defineUpdate<void, [OperatorDecision]>('retryCompensation')
export const skipCompensationUpdate = defineUpdate<void, [OperatorDecision]>('skipCompensation')

// Search attributes are never encrypted: no personal data.
export const ASSET_ATTRIBUTE = defineSearchAttributeKey('Asset', SearchAttributeType.KEYWORD)
export const DEADLINE_ATTRIBUTE = defineSearchAttributeKey('PaymentDeadline', SearchAttributeType.DATETIME)
export const STATUS_ATTRIBUTE = defineSearchAttributeKey('OrderStatus', SearchAttributeType.KEYWORD)
export const OPERATOR_ATTRIBUTE = defineSearchAttributeKey('NeedsOperator', SearchAttributeType.BOOL)
