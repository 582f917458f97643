// What an order's workflow can be told, and under which names. The only workflow file that other rooms import.

import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common'
import { defineSignal, defineUpdate } from '@temporalio/workflow'
import type { CommandInput, CommandResult } from '../domain/command.ts'
import type { CancelReason, OrderStatus } from '../domain/order.ts'

export const ORDER_TASK_QUEUE = 'orders'

/** Scheduled chores, in a namespace of their own. */
export const BACKGROUND_TASK_QUEUE = 'background'
export const BACKSTOP_SCHEDULE = 'duty-backstop'
export const FORGET_SCHEDULE = 'forget-answers'
export const CONSISTENCY_SCHEDULE = 'consistency'

/** One workflow each, of the type's name. */
export const SCHEDULES = [
  { scheduleId: BACKSTOP_SCHEDULE, workflowType: 'backstop', every: '1 minute' },
  // As much as a shop of 300 orders a second leaves behind fits into one run.
  { scheduleId: FORGET_SCHEDULE, workflowType: 'forgetAnswers', every: '10 minutes' },
  { scheduleId: CONSISTENCY_SCHEDULE, workflowType: 'consistency', every: '1 hour' },
] as const

export const orderWorkflowId = (orderId: string): string => `order:${orderId}`
export const aftercareWorkflowId = (orderId: string): string => `aftercare:${orderId}`

export type OrderInput = {
  orderId: string
  /** Which run of this order: 1, and one more for each deliberate restart. */
  generation: number
  /** Started because there is news: the run looks at the inbox before anything else. */
  hasNews?: true
  /** Continues a run that had grown too long: the last step that run took. */
  step?: number
}
export type OrderOutcome = { status: OrderStatus; cancelReason: CancelReason | null }

export type AftercareInput = { orderId: string }

/** «Look again.» No content and no authority: a forged one does nothing. */
export const orderChanged = defineSignal('orderChanged')
/** The same, for a workflow whose worker answers. A run takes a few of these, and then wants signals. */
export const lookUpdate = defineUpdate('look')

export const cancelUpdate = defineUpdate<CommandResult, [CommandInput]>('cancel')
export const shipUpdate = defineUpdate<CommandResult, [CommandInput]>('ship')
export const deliverUpdate = defineUpdate<CommandResult, [CommandInput]>('deliver')

/** For operators, while a compensation is parked. `reason` is kept in the history: no personal data. */
export type OperatorDecision = { operator: string; reason: string }
export const retryCompensationUpdate = defineUpdate<void, [OperatorDecision]>('retryCompensation')
export const skipCompensationUpdate = defineUpdate<void, [OperatorDecision]>('skipCompensation')

// Search attributes are never encrypted: nothing here may name a person.
export const ASSET_ATTRIBUTE = defineSearchAttributeKey('Asset', SearchAttributeType.KEYWORD)
export const DEADLINE_ATTRIBUTE = defineSearchAttributeKey('PaymentDeadline', SearchAttributeType.DATETIME)
export const STATUS_ATTRIBUTE = defineSearchAttributeKey('OrderStatus', SearchAttributeType.KEYWORD)
export const OPERATOR_ATTRIBUTE = defineSearchAttributeKey('NeedsOperator', SearchAttributeType.BOOL)
