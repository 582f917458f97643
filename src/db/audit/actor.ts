// The audit actor, set by a transaction in its first statement. Triggers write the entries: a change without an actor
// is rejected, and a change without an entry cannot commit.

import type { Actor } from '../../domain/audit.ts'

/** For `holdfast.actor`. */
export const actorText = (by: Actor): string => JSON.stringify(by)

/** For `holdfast.actors`: the actor per aggregate, if one transaction serves many callers. */
export const actorsText = (actors: Iterable<readonly [id: string, by: Actor]>): string =>
  JSON.stringify(Object.fromEntries(actors))
