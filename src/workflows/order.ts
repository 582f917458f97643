// The life of an order, top to bottom. The workflow decides and has no effects itself: each step is one transaction in
// an activity that returns the order's whole state. The next stage begins when that state has reached or passed a goal.

import { CancellationScope, ContinueAsNew } from '@temporalio/workflow'
import { createCompensation } from './compensation.ts'
import type { OrderInput, OrderOutcome } from './message.ts'
import { reasonOf } from './policy.ts'
import { OrderRun } from './run.ts'

export async function order(input: OrderInput): Promise<OrderOutcome> {
  const run = new OrderRun(input)
  // A cancellation requested in Temporal is handled as an admin's request: it is refused once the order is shipped.
  void CancellationScope.current().cancelRequested.catch(() => run.cancelAsAdmin())
  return CancellationScope.nonCancellable(async () => {
    const undo = createCompensation((parked) => run.show(parked))
    try {
      // Registered before the step: the hold may exist although its confirmation was lost.
      undo.register('releaseStock', () => run.releaseStock())
      await run.reserveStock()
      await run.until('processing') // paid before the quote's end, or ended
      await run.until('shipped')
      undo.clear()
      await run.until('delivered')
    } catch (error) {
      // Another run owns the order or is about to: that run does the compensation.
      if (!(error instanceof ContinueAsNew) && reasonOf(error) !== 'STALE_RUN') await undo.undoAll()
      throw error
    }
    return run.close()
  })
}
