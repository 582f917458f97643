// Who acts, as a transaction tells the database with its first statement. The entries themselves are written by triggers
// (migrations/0010): a change by nobody is refused, and one that no entry covers does not commit.

import type { Actor } from '../../domain/audit.ts'

/** For `holdfast.actor`. */
export const actorText = (by: Actor): string => JSON.stringify(by)

/** For `holdfast.actors`: who acts on which aggregate, where one transaction serves many callers. */
export const actorsText = (actors: Iterable<readonly [id: string, by: Actor]>): string =>
  JSON.stringify(Object.fromEntries(actors))
