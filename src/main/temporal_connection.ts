// Connection options for processes without Temporal workers. The worker's connection has such limits in the SDK's core:
// a keepalive every 30 s with a timeout of 15 s.

import { defaultGrpcRetryOptions, makeGrpcRetryInterceptor, type ConnectionOptions } from '@temporalio/client'
import { KEEPALIVE, RECONNECT_FROM_MS, RECONNECT_TO_MS, type Keepalive } from '../grpc/client.ts'

/** A short failure is hidden by retries; an outage is reported within a second. */
const ENGINE_ATTEMPTS = 3

/** A silent connection is noticed within 20 s, and a server that returns is found within 5 s. */
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
