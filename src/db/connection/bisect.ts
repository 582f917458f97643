// Work on many rows in one statement, one of which may spoil it for all: it is done again by halves.

/** Postgres tells of an error before it has let go of the locks of the transaction: asked at once, all would look locked. */
export const UNLOCK_MS = 20

/** The first half is the larger one. */
export const halvesOf = <T>(items: readonly T[]): [readonly T[], readonly T[]] => {
  const middle = Math.ceil(items.length / 2)
  return [items.slice(0, middle), items.slice(middle)]
}
