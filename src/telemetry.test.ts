import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { createLineLimit, createLogger } from './telemetry.ts'

const CANARY = 'CANARY-7f3a'

/** What the logger writes for an error. */
function lineOf(error: unknown): string {
  const lines: string[] = []
  const logger = createLogger({
    process: 'api',
    level: 'debug',
    destination: { write: (line) => void lines.push(line) },
  })
  logger.error({ err: error }, 'it failed')
  return lines.join('')
}

describe('an error in the log', () => {
  test('has its name, code and frames, and nothing of its text', () => {
    const error = Object.assign(new RangeError(`a row said ${CANARY}`), { code: '23505' })
    const line = lineOf(error)
    expect(JSON.parse(line)).toMatchObject({ err: { name: 'RangeError', code: '23505' } })
    expect(line).toContain('telemetry.test.ts')
    expect(line).not.toContain(CANARY)
  })

  test.each([
    ['a message that imitates stack frames', new Error(`x\n    at ${CANARY} (file.ts:1:1)\n    at ${CANARY}`)],
    ['a code that is text', Object.assign(new Error('x'), { code: `${CANARY} is wrong` })],
    ['a reason that is an object', Object.assign(new Error('x'), { reason: { token: CANARY } })],
    ['a name that is text', Object.assign(new Error('x'), { name: `Error: ${CANARY}` })],
    [
      'metadata of a gRPC error',
      Object.assign(new Error('x'), { details: CANARY, metadata: { authorization: CANARY } }),
    ],
    ['a cause', new Error('x', { cause: new Error(CANARY) })],
    ['a thrown text', CANARY],
    ['a message that was changed later', Object.assign(new Error(`x\n    at ${CANARY}`), { message: 'y' })],
  ])('hides %s', (_, error) => {
    expect(lineOf(error)).not.toContain(CANARY)
  })

  test('is written even if it cannot be read', () => {
    const unreadable = new Proxy(new Error('x'), {
      get: () => {
        throw new Error(CANARY)
      },
    })
    expect(JSON.parse(lineOf(unreadable))).toMatchObject({ msg: 'it failed', err: { name: 'unreadable' } })
  })

  test('ends in a circle of causes', () => {
    const first = new Error('first')
    const second = new Error('second', { cause: first })
    first.cause = second
    expect(lineOf(first).length).toBeLessThan(20_000)
  })
})

describe('the rate limit of log lines', () => {
  beforeEach(() => void jest.useFakeTimers())
  afterEach(() => void jest.useRealTimers())

  function createProbe() {
    const lines: string[] = []
    const limit = createLineLimit((kind, suppressed) => void lines.push(`${kind} +${suppressed}`))
    return { lines, cause: (kind: string) => limit(kind, () => void lines.push(kind)) }
  }

  test('lets one line per second and kind through, and counts the others', () => {
    const { lines, cause } = createProbe()
    for (let call = 0; call < 100; call += 1) cause('refused')
    cause('late')
    expect(lines).toEqual(['refused', 'late'])
    jest.advanceTimersByTime(1_000)
    expect(lines).toEqual(['refused', 'late', 'refused +99'])
  })

  test('writes no more than one line per second of a steady flood', () => {
    const { lines, cause } = createProbe()
    for (let ms = 0; ms < 10_000; ms += 10) {
      cause('refused')
      jest.advanceTimersByTime(10)
    }
    expect(lines.length).toBeLessThanOrEqual(11)
    const counted = lines.reduce((sum, line) => sum + Number(line.split('+')[1] ?? 1), 0)
    expect(counted).toBeGreaterThan(890)
  })

  test('forgets a kind that has been quiet', () => {
    const { lines, cause } = createProbe()
    cause('refused')
    jest.advanceTimersByTime(1_000)
    expect(jest.getTimerCount()).toBe(0)
    cause('refused')
    expect(lines).toEqual(['refused', 'refused'])
  })
})
