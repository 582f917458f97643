// What a worker does about Temporal's failures while it starts, on a real server by way of a proxy.

import { randomBytes } from 'node:crypto'
import { Client } from '@temporalio/client'
import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTcpProxy, type TcpProxy } from '../../test/support/tcp_proxy.ts'
import { testServers } from '../../test/support/servers.ts'
import { prepareNamespaces, removeNamespace } from '../servers/namespace.ts'
import { ensureSchedules } from '../relay/schedule.ts'
import { SCHEDULES } from '../workflows/message.ts'
import { isTemporalUnavailable } from './temporal_failure.ts'
import { retry } from '../repeat.ts'

const DAY_HOURS = 24
const namespace = `test-${randomBytes(6).toString('hex')}`
let proxy: TcpProxy
let connection: NativeConnection

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] })
  const { temporalAddress } = testServers()
  await prepareNamespaces(temporalAddress, { [namespace]: DAY_HOURS })
  proxy = await createTcpProxy(temporalAddress)
  connection = await NativeConnection.connect({ address: proxy.address })
})
afterAll(async () => {
  await connection.close()
  await proxy.close()
  await removeNamespace(testServers().temporalAddress, namespace)
})

const ensureIn = (name: string) => ensureSchedules(new Client({ connection, namespace: name }))
const { signal } = new AbortController()

test('schedules that cannot be made while Temporal is away are made once it is back', async () => {
  proxy.cut()
  const retries: unknown[] = []
  await retry(() => ensureIn(namespace), {
    signal,
    isTransient: isTemporalUnavailable,
    onRetry: (error) => {
      retries.push(error)
      proxy.restore()
    },
  })
  expect(retries.length).toBeGreaterThan(0)
  const client = new Client({ connection, namespace })
  for (const { scheduleId } of SCHEDULES)
    expect((await client.schedule.getHandle(scheduleId).describe()).scheduleId).toBe(scheduleId)
})

test('schedules of a namespace that is not there are not tried again', async () => {
  const retries: unknown[] = []
  const onRetry = (error: unknown): void => void retries.push(error)
  const outcome = retry(() => ensureIn('no-such-namespace'), { signal, isTransient: isTemporalUnavailable, onRetry })
  await expect(outcome).rejects.toThrow()
  expect(retries).toEqual([])
})
