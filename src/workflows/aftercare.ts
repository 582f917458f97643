// Assesses payments and reorganisations that are reported after an order has ended. Started by signal-with-start, ends
// when nothing is unassessed. The order's status does not change.

import { condition, continueAsNew, setHandler } from '@temporalio/workflow'
import { isTerminal } from '../domain/order.ts'
import { orderChanged, type AftercareInput } from './message.ts'
import { isRunFull, step } from './policy.ts'

export async function aftercare(input: AftercareInput): Promise<void> {
  let isChanged = true
  setHandler(orderChanged, () => void (isChanged = true), { description: 'Look at the inbox again' })
  while (isChanged) {
    if (isRunFull()) await continueAsNew<typeof aftercare>(input)
    isChanged = false
    // One step assesses a bounded number of outputs.
    const { status, hasUnassessed } = await step('assessLatePayments', input.orderId)
    if (hasUnassessed && isTerminal(status)) isChanged = true
    // Signals that came in the same workflow task are handled before the workflow closes.
    await condition(() => true)
  }
}
