// Text that an operator reads on a workflow's page in Temporal's UI: the order's state, what it waits for, and commands.

import type { OrderState } from '../domain/order.ts'
import { orderWorkflowId } from './message.ts'

const WAITING_FOR: Readonly<Record<OrderState['status'], string>> = {
  pending: 'payment',
  processing: 'shipping, by fulfilment',
  shipped: 'delivery, as reported by fulfilment',
  delivered: 'nothing: the order is complete',
  cancelled: 'nothing: the order has ended',
}

/** Markdown; no personal data. @param parked the undo step that waits for an operator, if there is one */
export function detailsOf(orderId: string, state: OrderState | undefined, parked: string | undefined): string {
  const lines = state === undefined ? [] : tableOf(state)
  if (parked !== undefined) {
    lines.push(
      '',
      `**Undo step \`${parked}\` is parked.** Fix its cause, then retry it; or do its work manually and skip it:`,
      ...['retryCompensation', 'skipCompensation'].map(
        (name) =>
          `\`temporal workflow update execute --workflow-id ${orderWorkflowId(orderId)} --name ${name} --input '{"operator":"you","reason":"why"}'\``,
      ),
    )
  }
  return lines.join('\n')
}

function tableOf(state: OrderState): string[] {
  const deadline = state.status === 'pending' ? new Date(Date.now() + state.expiresInMs).toISOString() : '–'
  return [
    '| | |',
    '| --- | --- |',
    `| status | ${state.status}${state.cancelReason === null ? '' : ` (${state.cancelReason})`} |`,
    `| payment | ${state.paymentState} |`,
    `| stock | ${state.reservation} |`,
    `| hold on shipping | ${state.hold} |`,
    `| waits for | ${WAITING_FOR[state.status]} |`,
    `| until | ${deadline} |`,
  ]
}
