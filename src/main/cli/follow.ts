// An order's changes, for as long as it is open: streams end after minutes and servers restart, the version goes on.

import { setTimeout as delay } from 'node:timers/promises'
import { DomainError } from '../../domain/failure.ts'
import { isTerminal, ORDER_STATUSES } from '../../domain/order.ts'
import { TransportError, type HoldfastClient } from '../../grpc/client.ts'
import { given, stateView, type StateView } from './view.ts'

const RECONNECT_MS = 500

/** Yields the present state and each later one, and ends after a final status. */
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
      // Before the first answer there is nothing to go on with: the caller is told.
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
