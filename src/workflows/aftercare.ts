// Money and reorganisations after an order has ended. Begun by signal-with-start for as long as there is something to
// look at; the order itself stays as it ended.

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
    // It looks at so many outputs at a time.
    const { status, hasUnassessed } = await step('assessLatePayments', input.orderId)
    if (hasUnassessed && isTerminal(status)) isChanged = true
    // Signals that came in the same task are seen before the workflow may close.
    await condition(() => true)
  }
}
