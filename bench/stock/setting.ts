// What the systems of the stock benchmark have in common.

export const IN_FLIGHT = 64
/** More than any run can sell. */
export const PLENTY = 1_000_000_000n
export const warmUpOf = (isSmoke: boolean): number => (isSmoke ? 1 : 3)

/** Ours decides what waits together; the peer gives each order a statement and a commit of its own. */
export type Combining = 'combined' | 'one by one'
