// How a process without workers reaches Temporal. The worker's own connection has the same limits in the SDK's core: it
// asks every 30 s whether the server is there, and gives up after 15 s.

import { defaultGrpcRetryOptions, makeGrpcRetryInterceptor, type ConnectionOptions } from '@temporalio/client'
import { KEEPALIVE, RECONNECT_FROM_MS, RECONNECT_TO_MS, type Keepalive } from '../grpc/client.ts'

/** A blip of the engine passes unseen; an outage is told within a second. */
const ENGINE_ATTEMPTS = 3

/** A connection that went silent is noticed within 20 s, and a server that comes back is found within 5 s. */
export const temporalOptions = (address: string, keepalive: Keepalive = KEEPALIVE): ConnectionOptions => ({
  address,
  interceptors: [makeGrpcRetryInterceptor(defaultGrpcRetryOptions({ maxAttempts: ENGINE_ATTEMPTS }))],
  channelArgs: {
    'grpc.keepalive_time_ms': keepalive.everyMs,
    'grpc.keepalive_timeout_ms': keepalive.withinMs,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.initial_reconnect_backoff_ms': RECONNECT_FROM_MS,
    'grpc.max_reconnect_backoff_ms': RECONNECT_TO_MS,
  },
})
