import { expect, test } from '@jest/globals'
import { createNodeHealth, type AsideReason } from './node_health.ts'

const JITTERED = 1.25
const FIRST_WAIT_MS = 2_000
const LONGEST_WAIT_MS = 300_000

function openHealth(count: number) {
  let nowMs = 0
  const changes: (readonly [number, AsideReason | undefined])[] = []
  const onChange = (index: number, reason: AsideReason | undefined): void => void changes.push([index, reason])
  const health = createNodeHealth({ count, onChange, now: () => nowMs })
  return { ...health, changes, pass: (ms: number): void => void (nowMs += ms) }
}

/** How long a node stays set aside, to a tenth of a second. */
function waitOf({ isDue, pass }: ReturnType<typeof openHealth>, index: number): number {
  let waitedMs = 0
  for (; !isDue(index); waitedMs += 100) pass(100)
  return waitedMs
}

test('a node that fails again and again is set aside for longer each time, up to a bound', () => {
  const health = openHealth(1)
  let expectedMs = FIRST_WAIT_MS
  for (let failure = 0; failure < 12; failure += 1) {
    health.setAside(0, 'error')
    const waitMs = waitOf(health, 0)
    expect(waitMs).toBeGreaterThanOrEqual(expectedMs)
    expect(waitMs).toBeLessThanOrEqual(expectedMs * JITTERED + 100)
    health.restore(0)
    expectedMs = Math.min(LONGEST_WAIT_MS, expectedMs * 2)
  }
})

test('a node that was well for ten minutes begins again with the shortest wait', () => {
  const health = openHealth(1)
  for (let failure = 0; failure < 8; failure += 1) health.setAside(0, 'error')
  health.restore(0)
  health.pass(600_001)
  health.setAside(0, 'error')
  expect(waitOf(health, 0)).toBeLessThanOrEqual(FIRST_WAIT_MS * JITTERED + 100)
})

test('two nodes that fail together do not come back together', () => {
  const health = openHealth(40)
  for (let index = 0; index < 40; index += 1) health.setAside(index, 'error')
  health.pass(FIRST_WAIT_MS * 1.05)
  const due = Array.from({ length: 40 }, (_, index) => index).filter(health.isDue)
  expect(due.length).toBeGreaterThan(0)
  expect(due.length).toBeLessThan(40)
})

test('the node in use is tried first, then the others as listed, then those set aside, the longest first', () => {
  const health = openHealth(5)
  expect(health.candidates(2)).toEqual([2, 0, 1, 3, 4])
  health.setAside(3, 'lag')
  health.pass(10_000)
  health.setAside(0, 'error')
  expect(health.candidates(2)).toEqual([2, 1, 4, 3, 0])
  expect(health.candidates(0)).toEqual([1, 2, 4, 3, 0])
})

test('a node that asked to wait is not tried before, be it the only one', () => {
  const health = openHealth(1)
  health.setAside(0, 'busy', 60_000)
  health.pass(59_999)
  expect(health.candidates(0)).toEqual([])
  health.pass(60_000)
  expect(health.candidates(0)).toEqual([0])
})

test('each change of a node is told once', () => {
  const health = openHealth(2)
  health.restore(0)
  health.setAside(1, 'error')
  health.setAside(1, 'error')
  health.setAside(1, 'lag')
  health.restore(1)
  health.restore(1)
  expect(health.changes).toEqual([
    [1, 'error'],
    [1, 'lag'],
    [1, undefined],
  ])
})
