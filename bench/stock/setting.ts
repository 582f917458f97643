// Settings shared by the systems of the stock benchmark.

export const IN_FLIGHT = 64
/** Stock that no run can sell out. */
export const PLENTY = 1_000_000_000n
export const warmUpOf = (isSmoke: boolean): number => (isSmoke ? 1 : 3)

/** `combined` batches waiting orders, as ours does; `one by one` uses one statement and one commit per order. */
export type Combining = 'combined' | 'one by one'
