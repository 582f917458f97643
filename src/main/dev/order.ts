// One order of the demo as its customer sees it: collects every state that the api streams, and waits for one.

import { followOrder } from '../cli/follow.ts'
import type { StateView } from '../cli/view.ts'
import type { HoldfastClient } from '../../grpc/client.ts'

/** Far above what a loaded machine needs: it only ends a wait that would never succeed. */
const WITHIN_MS = 90_000

export type Followed = {
  /** Resolves with the first matching state, past ones included. @throws {Error} when none comes in time */
  until: (goal: string, fits: (state: StateView) => boolean) => Promise<StateView>
  stop: () => void
}

export function watchOrderStates(client: HoldfastClient, orderId: string, outer: AbortSignal): Followed {
  const own = new AbortController()
  const signal = AbortSignal.any([own.signal, outer])
  const states: StateView[] = []
  let failure: Error | undefined
  let wake = Promise.withResolvers<void>()
  const tell = (): void => {
    wake.resolve()
    wake = Promise.withResolvers()
  }
  const read = async (): Promise<void> => {
    for await (const state of followOrder(client, orderId, signal)) {
      states.push(state)
      tell()
    }
  }
  void read()
    .catch((error: unknown) => (failure = error instanceof Error ? error : new Error('unknown error')))
    .finally(tell)

  return {
    stop: () => own.abort(),
    async until(goal, fits) {
      const timeout = AbortSignal.timeout(WITHIN_MS)
      timeout.addEventListener('abort', tell)
      for (;;) {
        const found = states.find(fits)
        if (found !== undefined) return found
        if (failure !== undefined) throw failure
        outer.throwIfAborted()
        if (timeout.aborted) {
          const last = states.at(-1)
          throw new Error(`order ${orderId} was not ${goal} within ${WITHIN_MS} ms; it is ${JSON.stringify(last)}`)
        }
        await wake.promise
      }
    },
  }
}
