// A linearizability checker after Wing and Gong: finds a serial order of concurrent calls that explains all answers.
// A call may come next if no other remaining call ended before it began.

export type Observed<Call> = {
  call: Call
  /** When the call began and ended, on one clock. */
  from: number
  to: number
}

export type Rules<State, Call> = {
  /** The state after a call; undefined where the call could not have had its answer. */
  apply: (state: State, call: Call) => State | undefined
  /** Whether this is the state that was found at the end. */
  isEnd: (state: State) => boolean
}

/** With more calls, a search may never end. */
const MOST_CALLS = 64

/** A serial order that explains all answers and the end state; undefined if there is none. */
export function findSerialOrder<State, Call>(
  calls: readonly Observed<Call>[],
  initial: State,
  { apply, isEnd }: Rules<State, Call>,
): readonly Call[] | undefined {
  if (calls.length > MOST_CALLS) throw new Error(`${calls.length} calls are too many to search`)
  const sorted = calls.toSorted((a, b) => a.to - b.to)
  const everything = (1n << BigInt(sorted.length)) - 1n
  /** Visited search nodes: the calls done, and the state they led to. */
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
