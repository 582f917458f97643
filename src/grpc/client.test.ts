import { expect, test } from '@jest/globals'
import { readSource } from '../../test/support/source.ts'
import { MAX_RECONNECT_MS, SERVICE_CONFIG } from './client.ts'
import { variablesOf } from '../config.ts'

test('the service config for clients in other languages is the one that our client uses', () => {
  expect(JSON.parse(readSource('proto/service_config.json'))).toEqual(JSON.parse(SERVICE_CONFIG))
})

test('an api drains for longer than a client takes to connect to the one that was restarted before it', () => {
  const drainMs = Number(variablesOf('api').find(({ name }) => name === 'HOLDFAST_DRAIN_MS')?.default)
  expect(drainMs).toBeGreaterThan(MAX_RECONNECT_MS + 1_000)
})
