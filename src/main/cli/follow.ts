// Follows an order until its final status. Streams end after minutes and servers restart, so it reconnects with the
// last version.

import { setTimeout as delay } from 'node:timers/promises'
import { DomainError } from '../../domain/failure.ts'
import { isTerminal, ORDER_STATUSES } from '../../domain/order.ts'
import { TransportError, type HoldfastClient } from '../../grpc/client.ts'
import { given, stateView, type StateView } from './view.ts'

const RECONNECT_MS = 500

/** Yields the current state and each later one, and ends after a final status. */
export async function* followOrder(
  client: Pick<HoldfastClient, 'order'>,
  orderId: string,
  signal: AbortSignal,
): AsyncGenerator<StateView> {
  let afterVersion: bigint | undefined
  while (!signal.aborted) {
    try {
      const request = { orderId, ...(afterVersion !== undefined && { afterVersion }) }
      for await (const answer of client.order.watchOrder(request, { signal })) {
        const state = given(answer.state)
        afterVersion = state.version
        yield stateView(state)
        if (isFinal(stateView(state))) return
      }
    } catch (error) {
      if (signal.aborted) return
      // Before the first answer there is no version to resume after: the error goes to the caller.
      if (afterVersion === undefined || !isPassing(error)) throw error
      await delay(RECONNECT_MS, undefined, { signal }).catch(() => undefined)
    }
  }
}

const isPassing = (error: unknown): boolean =>
  (error instanceof TransportError && error.code === 'UNAVAILABLE') ||
  (error instanceof DomainError && error.kind === 'unavailable')

const isFinal = (view: StateView): boolean =>
  ORDER_STATUSES.some((status) => status === view.status && isTerminal(status))
