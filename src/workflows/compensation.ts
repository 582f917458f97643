// Compensation: the undo steps of a run. Each is registered before the step it undoes, since a step may have taken
// effect although its answer was lost; so an undo step must also succeed when there is nothing to undo. They run newest
// first, in a non-cancellable scope. One that fails is parked until an operator decides.

import { CancellationScope, condition, log, setHandler, upsertSearchAttributes } from '@temporalio/workflow'
import { OPERATOR_ATTRIBUTE, retryCompensationUpdate, skipCompensationUpdate } from './message.ts'
import { reasonOf } from './policy.ts'

type Undo = { name: string; run: () => Promise<void> }

export type Compensation = {
  /** Call before the step that `run` undoes. */
  register: (name: string, run: () => Promise<void>) => void
  /** Drops all undo steps: the order can no longer be undone. */
  clear: () => void
  /** Undoes everything registered, newest first. */
  undoAll: () => Promise<void>
}

/** @param onParked called with the undo step that waits for an operator, and with undefined once it no longer does */
export function createCompensation(onParked: (name: string | undefined) => void): Compensation {
  const stack: Undo[] = []
  let decision: 'retry' | 'skip' | undefined

  setHandler(retryCompensationUpdate, ({ operator, reason }) => decide('retry', operator, reason), {
    description: 'Tries the parked undo step again',
  })
  setHandler(skipCompensationUpdate, ({ operator, reason }) => decide('skip', operator, reason), {
    description: 'Skips the parked undo step: an operator has done its work manually',
  })

  function decide(what: 'retry' | 'skip', operator: string, reason: string): void {
    log.warn('operator decided on a parked compensation', { what, operator, reason })
    decision = what
  }

  async function undoOne(undo: Undo): Promise<void> {
    for (;;) {
      try {
        return await undo.run()
      } catch (error) {
        log.error('compensation parked for an operator', { undo: undo.name, reason: reasonOf(error) })
        decision = undefined
        onParked(undo.name)
        upsertSearchAttributes([{ key: OPERATOR_ATTRIBUTE, value: true }])
        await condition(() => decision !== undefined)
        upsertSearchAttributes([{ key: OPERATOR_ATTRIBUTE, value: false }])
        onParked(undefined)
        if (decision === 'skip') return
      }
    }
  }

  return {
    register: (name, run) => void stack.push({ name, run }),
    clear: () => void (stack.length = 0),
    undoAll: () =>
      CancellationScope.nonCancellable(async () => {
        for (let undo = stack.pop(); undo !== undefined; undo = stack.pop()) await undoOne(undo)
      }),
  }
}
