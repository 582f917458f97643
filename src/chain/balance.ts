// Compares what watched addresses hold with what was reported of them, so that money which leaves no transfer behind is
// found: coins that a contract sent, a withdrawal of the chain itself.

import { findDue, findOpen, findUnexplained, saveBalances } from '../db/chain_balance.ts'
import type { Tip } from './client.ts'
import type { FollowOptions } from './follow.ts'

/** Questions at each new block, by kind: at most a dozen messages of a hundred. */
const MAX_DUE = 500
const MAX_UNEXPLAINED = 100
/** More than one batch of accepted orders has lines, whose holds all end at the same instant. */
const MAX_OPEN = 600
const FIRST = new Date(0)

/**
 * Makes the function that compares balances at a tip which is the last block scanned: those of orders that may expire by
 * its time, those that hold unexplained money, and the next of a round over all open ones. It returns whether the first
 * are all done: only then may the tip's time be vouched for. What it keeps in memory may be lost: it is compared again.
 */
export function createBalanceCheck({ client, database, logger }: FollowOptions): (tip: Tip) => Promise<boolean> {
  const { network, findBalances } = client
  let doneHash: string | undefined
  /** Where the round stands: an end of holds. */
  let place = FIRST

  async function nextOpen(): Promise<string[]> {
    const open = await findOpen(database, network, place, MAX_OPEN)
    const last = open.length === MAX_OPEN ? open.at(-1)?.heldUntil : undefined
    // Never the same place twice, whatever ends there.
    place = last === undefined ? FIRST : new Date(Math.max(last.getTime(), place.getTime() + 1))
    return open.map(({ address }) => address)
  }

  return async (tip) => {
    if (findBalances === undefined || doneHash === tip.hash) return true
    const due = await findDue(database, network, tip.chainTime, MAX_DUE)
    const others = await findUnexplained(database, network, tip.chainTime, MAX_UNEXPLAINED)
    const addresses = [...new Set([...due, ...others, ...(await nextOpen())])]
    if (addresses.length > 0) {
      const { isSaved, found } = await saveBalances(database, network, tip, await findBalances(addresses, tip.hash))
      for (const { amount } of found)
        logger.warn(
          { network, height: tip.height, amount: String(amount) },
          'an address holds money that nothing explains',
        )
      if (!isSaved || due.length === MAX_DUE) return false
    }
    doneHash = tip.hash
    return true
  }
}
