// Follows an order until its final status. Streams end after minutes, servers restart and limits are full for a time, so
// it reconnects with the last version, not before the time that the server names.

import { setTimeout as delay } from 'node:timers/promises'
import { DomainError, type FailureKind } from '../../domain/failure.ts'
import { isTerminal, ORDER_STATUSES } from '../../domain/order.ts'
import { TransportError, type HoldfastClient } from '../../grpc/client.ts'
import { given, stateView, type StateView } from './view.ts'

/** Where the server names no time, and at least. */
const RECONNECT_MS = 500
/** Refusals that end by themselves. */
const PASSING: ReadonlySet<FailureKind> = new Set(['limited', 'unavailable'])

type Wait = (ms: number, signal: AbortSignal) => Promise<void>

/** Yields the current state and each later one, and ends after a final status. */
export async function* followOrder(
  client: Pick<HoldfastClient, 'order'>,
  orderId: string,
  signal: AbortSignal,
  wait: Wait = (ms, until) => delay(ms, undefined, { signal: until }),
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
      const waitMs = afterVersion === undefined ? undefined : findWait(error)
      if (waitMs === undefined) throw error
      await wait(waitMs, signal).catch(() => undefined)
    }
  }
}

/** Milliseconds until the next attempt; undefined if none helps. */
function findWait(error: unknown): number | undefined {
  if (error instanceof TransportError) return error.code === 'UNAVAILABLE' ? RECONNECT_MS : undefined
  if (!(error instanceof DomainError) || !PASSING.has(error.kind)) return undefined
  return Math.max(RECONNECT_MS, error.retryAfterMs ?? 0)
}

const isFinal = (view: StateView): boolean =>
  ORDER_STATUSES.some((status) => status === view.status && isTerminal(status))
