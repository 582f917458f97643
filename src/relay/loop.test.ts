import { describe, expect, test } from '@jest/globals'
import { createRelayProbe } from '../../test/support/relay_probe.ts'
import { until } from '../../test/support/until.ts'
import { retryDelayMs, startLoop } from './loop.ts'

const LIMIT = 10

describe('a loop', () => {
  test('goes on at once while batches are full, and pauses when one is not', async () => {
    const probe = createRelayProbe()
    const at: number[] = []
    const loop = startLoop({
      ...probe,
      name: 'test',
      turn: async () => {
        at.push(performance.now())
        return { claimed: at.length <= 5 ? LIMIT : LIMIT - 1, limit: LIMIT }
      },
    })
    await until(() => at.length >= 8)
    await loop.stop()
    const pauses = at.slice(1).map((time, index) => time - (at[index] ?? 0))
    // Timers are never early; how late they are is the machine's affair.
    expect(pauses.slice(5, 7).every((ms) => ms >= 45)).toBe(true)
    expect(Math.min(...pauses.slice(0, 5))).toBeLessThan(45)
    expect((await probe.metrics.lastSuccess.get()).values).toHaveLength(1)
  })

  test('that fails says so and tries again, each time later', async () => {
    const probe = createRelayProbe()
    const at: number[] = []
    const loop = startLoop({
      ...probe,
      name: 'test',
      turn: async () => {
        at.push(performance.now())
        if (at.length <= 2) throw new Error('the row was (7, secret)')
        return { claimed: 0, limit: LIMIT }
      },
    })
    await until(() => at.length >= 3)
    await loop.stop()
    const [first = 0, second = 0, third = 0] = at
    expect(second - first).toBeGreaterThanOrEqual(195)
    expect(third - second).toBeGreaterThanOrEqual(395)
    expect(probe.lines().map(({ msg, relay }) => ({ msg, relay }))).toEqual([
      { msg: 'relay turn failed', relay: 'test' },
      { msg: 'relay turn failed', relay: 'test' },
    ])
    expect(JSON.stringify(probe.lines())).not.toContain('secret')
  })

  test('that is stopped ends its turn first, and begins no other', async () => {
    const release = Promise.withResolvers<void>()
    let turns = 0
    const loop = startLoop({
      ...createRelayProbe(),
      name: 'test',
      turn: async () => {
        turns += 1
        await release.promise
        return { claimed: LIMIT, limit: LIMIT }
      },
    })
    let isStopped = false
    const stopping = loop.stop().then(() => (isStopped = true))
    await Promise.resolve()
    expect([turns, isStopped]).toEqual([1, false])
    release.resolve()
    await stopping
    expect(turns).toBe(1)
  })
})

test('the wait before another try doubles up to ten seconds, and a crowd spreads over half of it', () => {
  const waits = (attempts: number) => Array.from({ length: 200 }, () => retryDelayMs(attempts))
  for (const [attempts, most] of [
    [0, 100],
    [1, 200],
    [5, 3_200],
    [6, 6_400],
    [7, 10_000],
    [1_000, 10_000],
  ] as const) {
    const found = waits(attempts)
    expect(Math.max(...found)).toBeLessThanOrEqual(most)
    expect(Math.min(...found)).toBeGreaterThanOrEqual(most / 2)
    expect(Math.max(...found) - Math.min(...found)).toBeGreaterThan(most / 4)
  }
})
