import { describe, expect, test } from '@jest/globals'
import { backOffMs, repeat, retry } from './repeat.ts'

class Away extends Error {}
const isTransient = (error: unknown): boolean => error instanceof Away

/** Fails as often as there are failures, then succeeds. */
function createAct(failures: Error[]) {
  const retries: unknown[] = []
  const act = async (): Promise<string> => {
    const failure = failures.shift()
    if (failure !== undefined) throw failure
    return 'done'
  }
  const onRetry = (error: unknown): void => void retries.push(error)
  return { act, onRetry, retries }
}

test('what passes by itself is tried again until it succeeds', async () => {
  const failures = [new Away(), new Away()]
  const { act, onRetry, retries } = createAct([...failures])
  const { signal } = new AbortController()
  await expect(retry(act, { signal, isTransient, onRetry, backOff: { fromMs: 1, toMs: 1 } })).resolves.toBe('done')
  expect(retries).toEqual(failures)
})

test('what does not pass by itself is thrown at once', async () => {
  const failure = new TypeError('wrong')
  const { act, onRetry, retries } = createAct([failure])
  const { signal } = new AbortController()
  await expect(retry(act, { signal, isTransient, onRetry })).rejects.toBe(failure)
  expect(retries).toEqual([])
})

test('a stop ends the tries, during a pause as well', async () => {
  const stopping = new AbortController()
  const act = async (): Promise<never> => {
    throw new Away()
  }
  const onRetry = (): void => void setImmediate(() => stopping.abort())
  const outcome = retry(act, {
    signal: stopping.signal,
    isTransient,
    onRetry,
    backOff: { fromMs: 60_000, toMs: 60_000 },
  })
  await expect(outcome).rejects.toMatchObject({ name: 'AbortError' })
})

describe('a repeated turn', () => {
  /** Takes turns that end as `turns` says, and stops after the last. @returns the waits that were asked for */
  async function play(turns: readonly ('more' | 'done' | 'fails')[]): Promise<string[]> {
    const stopping = new AbortController()
    const waits: string[] = []
    let taken = 0
    const turn = async (): Promise<string> => {
      const result = turns[taken] ?? 'done'
      taken += 1
      if (taken === turns.length) stopping.abort()
      if (result === 'fails') throw new Away()
      return result
    }
    await repeat(turn, {
      signal: stopping.signal,
      everyMs: 0,
      waitMs: (result) => (waits.push(result), 0),
      retryMs: (failures) => (waits.push(`failure ${failures}`), 0),
      onError: () => undefined,
    })
    return waits
  }

  test('chooses its wait by its result, and by how many turns have failed in a row', async () => {
    expect(await play(['more', 'fails', 'fails', 'done', 'fails'])).toEqual([
      ...['more', 'failure 1', 'failure 2', 'done', 'failure 1'],
    ])
  })

  test('is not taken once stopped, not even the first', async () => {
    let turns = 0
    const turn = async (): Promise<void> => void (turns += 1)
    const options = { everyMs: 60_000, onError: () => undefined }
    await repeat(turn, { ...options, signal: AbortSignal.abort() })
    const stopping = new AbortController()
    const delayed = repeat(turn, { ...options, firstAfterMs: 60_000, signal: stopping.signal })
    stopping.abort()
    await delayed
    expect(turns).toBe(0)
  })

  test('ends with the error that its listener throws', async () => {
    const { signal } = new AbortController()
    const failure = new TypeError('invalid')
    const turn = () => Promise.reject(failure)
    const onError = (error: unknown): never => {
      throw error
    }
    await expect(repeat(turn, { signal, everyMs: 0, onError })).rejects.toBe(failure)
  })
})

test('a back-off doubles from its first wait to its longest, and stays there', () => {
  const waits = [0, 1, 2, 3, 1_000_000].map((retries) => backOffMs(retries, { fromMs: 200, toMs: 1_000 }))
  expect(waits).toEqual([200, 400, 800, 1_000, 1_000])
})
