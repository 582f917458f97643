// Bisection: if one row makes a statement on many rows fail, the work is repeated by halves until that row is found.

/**
 * Postgres reports an error before it has released the transaction's locks: without a pause, all rows would look
 * locked.
 */
export const UNLOCK_MS = 20

/** The first half is the larger one. */
export const halvesOf = <T>(items: readonly T[]): [readonly T[], readonly T[]] => {
  const middle = Math.ceil(items.length / 2)
  return [items.slice(0, middle), items.slice(middle)]
}
