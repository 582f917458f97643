import { expect, test } from '@jest/globals'
import { createPulse } from './pulse.ts'

const WITHIN_MS = 1_000

test('a process is alive while each of its loops turns, and not once one of them has stopped', () => {
  let nowMs = 0
  const pulse = createPulse(WITHIN_MS, () => nowMs)
  expect(pulse.isAlive()).toBe(true)
  pulse.beat('wake')
  pulse.beat('start')
  nowMs += WITHIN_MS
  expect(pulse.isAlive()).toBe(true)
  pulse.beat('wake')
  nowMs += 1
  expect(pulse.isAlive()).toBe(false)
  pulse.beat('start')
  expect(pulse.isAlive()).toBe(true)
})

test('a loop that has ended in order is not missed', () => {
  let nowMs = 0
  const pulse = createPulse(WITHIN_MS, () => nowMs)
  pulse.beat('start-up')
  pulse.end('start-up')
  nowMs += 2 * WITHIN_MS
  expect(pulse.isAlive()).toBe(true)
})
