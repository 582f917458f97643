// Compares what watched addresses hold with what was reported of them, so that money which leaves no transfer behind is
// found: coins that a contract sent, a withdrawal of the chain itself.

import { findUnchecked, saveBalances } from '../db/chain_balance.ts'
import type { FollowOptions } from './follow.ts'
import type { Tip } from './client.ts'

/** Five messages of a hundred questions at each new block. */
const MAX_ADDRESSES = 500

/**
 * Compares balances at the tip's own block, which is the last one scanned. Returns whether all orders that may expire by
 * its time were looked at: only then may it be vouched for.
 */
export async function checkBalances({ client, database, logger }: FollowOptions, tip: Tip): Promise<boolean> {
  if (client.findBalances === undefined) return true
  const { network } = client
  const unchecked = await findUnchecked(database, network, tip.chainTime, MAX_ADDRESSES)
  if (unchecked.length === 0) return true
  const balances = await client.findBalances(
    unchecked.map(({ address }) => address),
    tip.hash,
  )
  const { isSaved, found } = await saveBalances(database, network, tip, balances)
  for (const { amount } of found)
    logger.warn({ network, height: tip.height, amount: String(amount) }, 'an address holds money that nothing explains')
  // Due ones come first: where they fill the whole list, others may be left.
  return isSaved && !(unchecked.length === MAX_ADDRESSES && unchecked.at(-1)?.isDue === true)
}
