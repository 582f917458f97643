// How a follower of an order takes up again what was cut off.

import { expect, test } from '@jest/globals'
import { DomainError } from '../../domain/failure.ts'
import { orderHold, orderStatus, paymentState, TransportError, type HoldfastClient } from '../../grpc/client.ts'
import { WatchOrderResponse, type WatchOrderRequest } from '../../grpc/gen/holdfast/v1/order.ts'
import { followOrder } from './follow.ts'

const ORDER = '00000000-0000-8000-8000-000000000000'
const stateOf = (version: bigint, status: 'pending' | 'cancelled'): WatchOrderResponse =>
  WatchOrderResponse.fromPartial({
    state: {
      ...{ orderId: ORDER, version, status: orderStatus.codeOf(status) },
      ...{ paymentState: paymentState.codeOf('awaiting'), hold: orderHold.codeOf('none') },
    },
  })

/** Follows an order whose first stream has one state and then fails, and whose second one has the last state. */
async function followPast(failure: Error) {
  const asked: (bigint | undefined)[] = []
  const waits: number[] = []
  async function* watchOrder({ afterVersion }: Partial<WatchOrderRequest>): AsyncGenerator<WatchOrderResponse> {
    asked.push(afterVersion)
    yield asked.length > 1 ? stateOf(2n, 'cancelled') : stateOf(1n, 'pending')
    throw failure
  }
  const client = { order: { watchOrder } } as unknown as Pick<HoldfastClient, 'order'>
  const seen: string[] = []
  const wait = async (ms: number): Promise<void> => void waits.push(ms)
  for await (const { status } of followOrder(client, ORDER, new AbortController().signal, wait)) seen.push(status)
  return { asked, waits, seen }
}

test.each([
  ['a server that restarts', new DomainError('SHUTTING_DOWN', '', { retryAfterMs: 800 }), 800],
  ['an outage that lasts', new DomainError('DATABASE_UNAVAILABLE', '', { retryAfterMs: 1_000 }), 1_000],
  ['a full limit of streams', new DomainError('TOO_MANY_STREAMS', '', { retryAfterMs: 5_000 }), 5_000],
  ['a full rate limit', new DomainError('RATE_LIMITED', '', { retryAfterMs: 61_000 }), 61_000],
  ['an overload', new DomainError('OVERLOADED', '', { retryAfterMs: 1 }), 500],
  ['a lost connection', new TransportError('UNAVAILABLE', '', undefined), 500],
])('goes on with the last version after %s, once the named time is over', async (_name, failure, waitMs) => {
  expect(await followPast(failure)).toEqual({ asked: [undefined, 1n], waits: [waitMs], seen: ['pending', 'cancelled'] })
})

test('ends with a refusal that no wait changes', async () => {
  await expect(followPast(new DomainError('CREDENTIALS_INVALID', ''))).rejects.toThrow(DomainError)
})
