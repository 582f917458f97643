// Undo steps of a run. Each is registered before the step it undoes, since a step may have happened although its
// answer was lost; so each must bear finding nothing to undo. Newest first, never cut short by a cancellation, and
// one that cannot finish waits for a person instead of being swallowed.

import { CancellationScope, condition, log, setHandler, upsertSearchAttributes } from '@temporalio/workflow'
import { OPERATOR_ATTRIBUTE, retryCompensationUpdate, skipCompensationUpdate } from './message.ts'
import { reasonOf } from './policy.ts'

type Undo = { name: string; run: () => Promise<void> }

export type Compensation = {
  /** Call before the step that `run` undoes. */
  register: (name: string, run: () => Promise<void>) => void
  /** From here there is no way back. */
  clear: () => void
  /** Undoes everything registered, newest first. */
  undoAll: () => Promise<void>
}

/** @param onParked told which undo waits for a person, and undefined when it no longer does */
export function createCompensation(onParked: (name: string | undefined) => void): Compensation {
  const stack: Undo[] = []
  let decision: 'retry' | 'skip' | undefined

  setHandler(retryCompensationUpdate, ({ operator, reason }) => decide('retry', operator, reason), {
    description: 'Tries the parked undo step again',
  })
  setHandler(skipCompensationUpdate, ({ operator, reason }) => decide('skip', operator, reason), {
    description: 'Leaves the parked undo step undone: someone has done its work by hand',
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
