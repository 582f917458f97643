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

test.each(['http://shop.example', 'null'])('a page of %s may read nothing: no origin is allowed', async (origin) => {
  await get('/metrics')
  const url = `http://127.0.0.1:${listener?.port}/metrics`
  const preflight = await fetch(url, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'GET' },
  })
  const answer = await fetch(url, { headers: { origin } })
  for (const { headers } of [preflight, answer])
    expect([...headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
  expect(preflight.status).toBe(405)
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    ...{ 'x-frame-options': 'DENY', 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' },
  })
})
