import { expect, test } from '@jest/globals'
import { randomOf } from './support/scale.ts'
import { measureTimings, TIMING_CASES } from './support/timing.ts'
import { compareTimings } from './support/welch.ts'

const SAMPLES = 60

test.each(TIMING_CASES)('«$name» is a pair of refusals that npm run test:timing can compare', async (pair) => {
  const { first, second } = await measureTimings(pair, SAMPLES, randomOf(pair.name))
  expect([first.length, second.length]).toEqual([SAMPLES, SAMPLES])
  const { medians, shift, t } = compareTimings(first, second)
  for (const figure of [...medians, shift, Math.abs(t)]) expect(figure).toBeGreaterThanOrEqual(0)
})

test('a check that stops at the first wrong byte is found', async () => {
  const right = Buffer.alloc(4_096, 1)
  const leaky = (given: Buffer) => async () => {
    for (let at = 0; at < right.length; at += 1) if (given[at] !== right[at]) return 'wrong'
    return 'right'
  }
  const spoiledAt = (place: number): Buffer => Buffer.from(right.map((byte, at) => (at === place ? 0 : byte)))
  const pair = {
    name: 'leaky',
    expected: 'wrong',
    open: async () => ({ first: leaky(spoiledAt(0)), second: leaky(spoiledAt(right.length - 1)) }),
  }
  const { first, second } = await measureTimings(pair, 5_000, randomOf(pair.name))
  expect(compareTimings(first, second).isLeak).toBe(true)
})
