// Bisection: a batch in one statement that fails because of one row is run again in halves.

/** Postgres reports an error before it releases the transaction's locks: queried at once, its own rows would look locked. */
export const UNLOCK_MS = 20

/** The first half is the larger one. */
export const halvesOf = <T>(items: readonly T[]): [readonly T[], readonly T[]] => {
  const middle = Math.ceil(items.length / 2)
  return [items.slice(0, middle), items.slice(middle)]
}
