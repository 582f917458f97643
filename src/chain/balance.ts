// Compares what watched addresses hold with what was reported of them, so that money which leaves no transfer behind is
// found: coins that a contract sent, a withdrawal of the chain itself.

import { findDue, findOpen, findToReread, findUnheld, saveBalances } from '../db/chain/balance.ts'
import type { Tip } from './client.ts'
import type { FollowOptions } from './follow.ts'

/** Questions at a look, by kind: those of orders that are due at most in so many rounds of five messages of a hundred. */
const MAX_DUE = 500
const MAX_DUE_ROUNDS = 4
/** Questions at each new block besides. */
const MAX_UNEXPLAINED = 100
const MAX_PENDING = 500
/** More than one batch of accepted orders has lines, whose holds all end at the same instant. */
const MAX_OPEN = 600
const FIRST = new Date(0)

/**
 * Makes the function that compares balances at a tip which is the last block scanned. It returns whether those of all
 * orders that may expire by the tip's time are done: only then may that time be vouched for. What became due since is
 * found at each look, also at the same tip: a hold may have ended sooner. Once at each tip come those that hold
 * unexplained money or were read in a block that is lost, the next of a round over all open orders, and of another over
 * those without a hold. What it keeps in memory may be lost: it is compared again.
 */
export function createBalanceCheck({ client, database, logger }: FollowOptions): (tip: Tip) => Promise<boolean> {
  const { network, findBalances } = client
  let doneHash: string | undefined
  /** Where the rounds stand: an end of holds, and when an order was made. */
  let openPlace = FIRST
  let pendingPlace = FIRST

  async function nextOpen(): Promise<string[]> {
    const open = await findOpen(database, network, openPlace, MAX_OPEN)
    openPlace = placeAfter(openPlace, open.length === MAX_OPEN ? open.at(-1)?.heldUntil : undefined)
    return open.map(({ address }) => address)
  }

  async function nextUnheld(tip: Tip): Promise<string[]> {
    const pending = await findUnheld(database, network, tip.chainTime, { from: pendingPlace, limit: MAX_PENDING })
    pendingPlace = placeAfter(pendingPlace, pending.length === MAX_PENDING ? pending.at(-1)?.createdAt : undefined)
    return pending.filter(({ isDue }) => isDue).map(({ address }) => address)
  }

  /** @returns whether the balances were stored */
  async function compare(tip: Tip, addresses: readonly string[]): Promise<boolean> {
    if (addresses.length === 0 || findBalances === undefined) return true
    const balances = await findBalances([...new Set(addresses)], tip.hash)
    const { isSaved, found } = await saveBalances(database, network, tip, balances)
    for (const { amount } of found)
      logger.warn(
        { network, height: tip.height, amount: String(amount) },
        'an address holds money that nothing explains',
      )
    return isSaved
  }

  return async (tip) => {
    if (findBalances === undefined) return true
    for (let round = 0; ; round += 1) {
      const due = await findDue(database, network, tip.chainTime, MAX_DUE)
      const isLast = due.length < MAX_DUE
      const isNew = isLast && doneHash !== tip.hash
      const others = isNew
        ? [
            ...(await findToReread(database, network, tip.chainTime, MAX_UNEXPLAINED)),
            ...(await nextOpen()),
            ...(await nextUnheld(tip)),
          ]
        : []
      if (!(await compare(tip, [...due, ...others]))) return false
      if (isLast) {
        doneHash = tip.hash
        return true
      }
      // The next look goes on with the others.
      if (round + 1 === MAX_DUE_ROUNDS) return false
    }
  }
}

/** Never the same place twice, whatever is there; from the start again after the last. */
const placeAfter = (place: Date, last: Date | undefined): Date =>
  last === undefined ? FIRST : new Date(Math.max(last.getTime(), place.getTime() + 1))
