// A value that may be a little old: loaded by the first who asks, shared by all who ask meanwhile.

/** A function that answers from one load for `forMs` after it began. A load that fails is not kept. */
export function freshFor<Value>(forMs: number, load: () => Promise<Value>): () => Promise<Value> {
  let loading: { value: Promise<Value>; beganAt: number } | undefined
  return () => {
    const now = performance.now()
    if (loading !== undefined && now - loading.beganAt < forMs) return loading.value
    const mine = { value: load(), beganAt: now }
    loading = mine
    mine.value.catch(() => {
      if (loading === mine) loading = undefined
    })
    return mine.value
  }
}
