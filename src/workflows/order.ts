// The life of an order, top to bottom. It decides and never does: each step is one transaction elsewhere that
// answers with the order's whole state, and the story goes on when that state has reached or passed its goal.

import { CancellationScope, ContinueAsNew } from '@temporalio/workflow'
import { createCompensation } from './compensation.ts'
import type { OrderInput, OrderOutcome } from './message.ts'
import { reasonOf } from './policy.ts'
import { OrderRun } from './run.ts'

export async function order(input: OrderInput): Promise<OrderOutcome> {
  const run = new OrderRun(input)
  // A cancellation asked for in Temporal is an admin's request like any other, and refused from shipping on.
  void CancellationScope.current().cancelRequested.catch(() => run.cancelAsAdmin())
  return CancellationScope.nonCancellable(async () => {
    const undo = createCompensation((parked) => run.show(parked))
    try {
      // Registered first: the hold may exist although nobody said so.
      undo.register('releaseStock', () => run.releaseStock())
      await run.reserveStock()
      await run.until('processing') // paid before the quote's end, or ended
      await run.until('shipped')
      undo.clear()
      await run.until('delivered')
    } catch (error) {
      // Another run has the order, or is about to: whatever there is to undo is its business.
      if (!(error instanceof ContinueAsNew) && reasonOf(error) !== 'STALE_RUN') await undo.undoAll()
      throw error
    }
    return run.close()
  })
}
