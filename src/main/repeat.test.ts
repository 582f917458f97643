import { expect, test } from '@jest/globals'
import { persist } from './repeat.ts'

class Away extends Error {}
const isPassing = (error: unknown): boolean => error instanceof Away

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
  await expect(persist(act, { signal, isPassing, onRetry, fromMs: 1 })).resolves.toBe('done')
  expect(retries).toEqual(failures)
})

test('what does not pass by itself is thrown at once', async () => {
  const failure = new TypeError('wrong')
  const { act, onRetry, retries } = createAct([failure])
  const { signal } = new AbortController()
  await expect(persist(act, { signal, isPassing, onRetry })).rejects.toBe(failure)
  expect(retries).toEqual([])
})

test('a stop ends the tries, during a pause as well', async () => {
  const stopping = new AbortController()
  const act = async (): Promise<never> => {
    throw new Away()
  }
  const onRetry = (): void => void setImmediate(() => stopping.abort())
  const outcome = persist(act, { signal: stopping.signal, isPassing, onRetry, fromMs: 60_000 })
  await expect(outcome).rejects.toMatchObject({ name: 'AbortError' })
})
