// Was what many callers saw at once the work of some order of their calls? A search after Wing and Gong: a call may come
// next if no other one, still to come, was over before it began.

export type Observed<Call> = {
  call: Call
  /** When it was asked and when it was answered, on one clock. */
  from: number
  to: number
}

export type Rules<State, Call> = {
  /** What a call makes of a state; undefined where it could not have had its answer. */
  apply: (state: State, call: Call) => State | undefined
  /** The state that was found at the end. */
  isEnd: (state: State) => boolean
}

/** Beyond this a search may never end. */
const MOST_CALLS = 64

/** An order of the calls that explains all their answers and the end, or undefined if there is none. */
export function findSerialOrder<State, Call>(
  calls: readonly Observed<Call>[],
  initial: State,
  { apply, isEnd }: Rules<State, Call>,
): readonly Call[] | undefined {
  if (calls.length > MOST_CALLS) throw new Error(`${calls.length} calls are too many to search`)
  const sorted = calls.toSorted((a, b) => a.to - b.to)
  const everything = (1n << BigInt(sorted.length)) - 1n
  /** Where the search has been: what is done, and the state that left. */
  const seen = new Set<string>()

  function search(done: bigint, state: State): readonly Call[] | undefined {
    if (done === everything) return isEnd(state) ? [] : undefined
    const place = `${done} ${JSON.stringify(state, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value))}`
    if (seen.has(place)) return undefined
    seen.add(place)
    const open = sorted.flatMap((one, at) => ((done >> BigInt(at)) & 1n ? [] : [{ ...one, bit: 1n << BigInt(at) }]))
    const firstEnd = open[0]?.to ?? 0
    for (const { call, from, bit } of open) {
      if (from > firstEnd) continue
      const next = apply(state, call)
      const rest = next === undefined ? undefined : search(done | bit, next)
      if (rest !== undefined) return [call, ...rest]
    }
    return undefined
  }
  return search(0n, initial)
}
