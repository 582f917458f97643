import { afterEach, expect, test } from '@jest/globals'
import { Counter, createRegistry } from '../telemetry.ts'
import { startMetricsListener, type MetricsListener } from './metrics.ts'

let listener: MetricsListener | undefined
afterEach(async () => {
  await listener?.stop()
})

type Health = { isReady?: () => Promise<boolean>; isAlive?: () => boolean }

const get = async (path: string, health: Health = {}, method = 'GET'): Promise<Response> => {
  const { isReady = async () => true, isAlive = () => true } = health
  const registry = createRegistry('test')
  new Counter({ name: 'holdfast_test_total', help: 'For this test.', registers: [registry] }).inc(3)
  listener = await startMetricsListener({ bind: '127.0.0.1', port: 0, registry, isAlive, isReady })
  return fetch(`http://127.0.0.1:${listener.port}${path}`, { method })
}

test('metrics are served in the text format', async () => {
  const response = await get('/metrics')
  expect(response.status).toBe(200)
  expect(await response.text()).toContain('holdfast_test_total{process="test"} 3')
})

test('a process is alive even when it is not ready', async () => {
  expect((await get('/healthz', { isReady: async () => false })).status).toBe(200)
})

test('a process whose work does not go on says so', async () => {
  expect((await get('/healthz', { isAlive: () => false })).status).toBe(503)
})

test.each([
  ['ready', async () => true, 200],
  ['not ready', async () => false, 503],
  ['failing to find out', () => Promise.reject(new Error('down')), 503],
])('a process that is %s says so', async (_name, isReady, status) => {
  expect((await get('/readyz', { isReady })).status).toBe(status)
})

test('other pages and methods are refused, with the headers that keep browsers out', async () => {
  const missing = await get('/debug')
  expect(missing.status).toBe(404)
  expect(missing.headers.get('content-security-policy')).toContain("default-src 'none'")
  await listener?.stop()
  expect((await get('/metrics', {}, 'POST')).status).toBe(405)
})
