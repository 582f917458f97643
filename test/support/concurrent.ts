// Many callers at once, but no more than a pool has connections: whoever waits a second for one is turned away.

const WIDTH = 6

/** Calls `act` with 0, 1, … as soon as one of `width` callers is free. Answers in the order of the calls. */
export async function crowd<T>(times: number, act: (at: number) => Promise<T>, width = WIDTH): Promise<T[]> {
  const answers: T[] = []
  const queue = Array.from({ length: times }, (_, at) => at).values()
  const caller = async (): Promise<void> => {
    for (const at of queue) answers[at] = await act(at)
  }
  await Promise.all(Array.from({ length: width }, caller))
  return answers
}

/** Calls each once, as `crowd` does. */
export const crowdOf = <T>(acts: readonly (() => Promise<T>)[], width = WIDTH): Promise<T[]> =>
  crowd(acts.length, (at) => (acts[at] as () => Promise<T>)(), width)
