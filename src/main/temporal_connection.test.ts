import { expect, test } from '@jest/globals'
import { KEEPALIVE, RECONNECT_TO_MS } from '../grpc/client.ts'
import { KEEPALIVE_EVERY_MS, KEEPALIVE_TIMEOUT_MS } from '../grpc/server.ts'
import { temporalOptions } from './temporal_connection.ts'

const MINUTE_MS = 60_000
const BACK_WITHIN_MS = 10_000

test('each end of a connection notices within a minute that it has gone silent', () => {
  expect(KEEPALIVE.everyMs + KEEPALIVE.withinMs).toBeLessThan(MINUTE_MS)
  expect(KEEPALIVE_EVERY_MS + KEEPALIVE_TIMEOUT_MS).toBeLessThan(MINUTE_MS)
})

test('clients of the api and of Temporal are back within ten seconds of their server', () => {
  expect(RECONNECT_TO_MS).toBeLessThan(BACK_WITHIN_MS)
  expect(temporalOptions('temporal:7233').channelArgs).toMatchObject({
    'grpc.max_reconnect_backoff_ms': RECONNECT_TO_MS,
    'grpc.keepalive_time_ms': KEEPALIVE.everyMs,
    'grpc.keepalive_timeout_ms': KEEPALIVE.withinMs,
    'grpc.keepalive_permit_without_calls': 1,
  })
})
