import { Writable } from 'node:stream'
import { expect, test } from '@jest/globals'
import { createLogger, createRegistry } from '../telemetry.ts'
import { createSlowReport } from './database_metrics.ts'

test('a slow transaction and a lock not acquired are each a count and a log line', async () => {
  const lines: unknown[] = []
  const destination = new Writable({
    write: (chunk: Buffer, _encoding, done) => (lines.push(JSON.parse(chunk.toString())), done()),
  })
  const registry = createRegistry('test')
  const report = createSlowReport(registry, createLogger({ process: 'test', level: 'info', destination }))
  expect(await registry.metrics()).toContain('holdfast_slow_transactions_total{process="test"} 0')
  report({ kind: 'transaction', statement: 'order_lock', text: 'select', ageMs: 1_100 })
  report({ kind: 'lock', statement: 'order_lock', text: 'select', state: '55P03' })
  expect(await registry.metrics()).toContain('holdfast_slow_transactions_total{process="test"} 1')
  expect(await registry.metrics()).toContain('holdfast_lock_failures_total{process="test"} 1')
  expect(lines).toMatchObject([
    { event: 'slow_transaction', statement: 'order_lock', ageMs: 1_100, msg: 'slow transaction' },
    { event: 'slow_lock', statement: 'order_lock', state: '55P03', msg: 'lock not acquired' },
  ])
})
