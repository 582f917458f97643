// Concurrent calls, limited to what a connection pool serves: a caller that waits a second for a connection is refused.

const WIDTH = 6

/** Calls `act` with 0, 1, … from `width` concurrent callers. Returns the answers in the order of the calls. */
export async function callConcurrently<T>(times: number, act: (at: number) => Promise<T>, width = WIDTH): Promise<T[]> {
  const answers: T[] = []
  const queue = Array.from({ length: times }, (_, at) => at).values()
  const caller = async (): Promise<void> => {
    for (const at of queue) answers[at] = await act(at)
  }
  await Promise.all(Array.from({ length: width }, caller))
  return answers
}

/** Calls each of `acts` once, as `callConcurrently` does. */
export const callEachConcurrently = <T>(acts: readonly (() => Promise<T>)[], width = WIDTH): Promise<T[]> =>
  callConcurrently(acts.length, (at) => (acts[at] as () => Promise<T>)(), width)
