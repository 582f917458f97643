import { expect, test } from '@jest/globals'
import { readSource } from './support/source.ts'

test('alarms select a bucket under both of its names: Prometheus 3 stores the bound 6 as 6.0', () => {
  expect(readSource('ops/prometheus/alerts.yaml').match(/\ble="\d[^"]*"/g)).toBeNull()
})
