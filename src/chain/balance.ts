// Balance check: compares the balances of the shop's addresses with the reported outputs. It finds money that comes
// without a readable output, such as coins sent by a contract, or withdrawals made by the chain itself.

import {
  findDueAddresses,
  findHeldAddresses,
  findAddressesToReread,
  findUnheldOrders,
  saveBalances,
} from '../db/chain/balance.ts'
import type { Header } from '../domain/chain.ts'
import type { FollowOptions } from './follow.ts'

/** Due addresses per query, and queries per check. A query's addresses are read in five messages of a hundred. */
const MAX_DUE = 500
const MAX_DUE_ROUNDS = 4
/** Further addresses at each new tip, by kind. */
const MAX_UNEXPLAINED = 100
const MAX_PENDING = 500
/** More than the lines of one batch of accepted orders, whose holds all end at the same instant. */
const MAX_HELD = 600
const FIRST = new Date(0)

/**
 * Makes the function that compares balances at a tip, which is the last scanned block. It returns whether the addresses of
 * all orders that may expire by the tip's chain time are compared: only then may that time be vouched for. Each call
 * compares the due addresses, also at the same tip, because a hold may have ended early. The first call at a tip also
 * compares addresses with unexplained money or a balance from a lost block, the next part of a round over all open
 * orders, and the next part of a round over orders without a hold. A restart loses the places of the rounds: they begin
 * again.
 */
export function createBalanceCheck(options: FollowOptions): (tip: Header) => Promise<boolean> {
  const { client, database } = options
  const { network, findBalances } = client
  let doneHash: string | undefined
  /** The places of the two rounds: by the end of a hold, and by an order's creation. */
  let heldPlace = FIRST
  let pendingPlace = FIRST

  async function nextHeld(): Promise<string[]> {
    const held = await findHeldAddresses(database, network, heldPlace, MAX_HELD)
    heldPlace = placeAfter(heldPlace, held.length === MAX_HELD ? held.at(-1)?.heldUntil : undefined)
    return held.map(({ address }) => address)
  }

  async function nextUnheld(tip: Header): Promise<string[]> {
    const pending = await findUnheldOrders(database, network, tip.chainTime, { from: pendingPlace, limit: MAX_PENDING })
    pendingPlace = placeAfter(pendingPlace, pending.length === MAX_PENDING ? pending.at(-1)?.createdAt : undefined)
    return pending.filter(({ isDue }) => isDue).map(({ address }) => address)
  }

  return async (tip) => {
    if (findBalances === undefined) return true
    for (let round = 0; ; round += 1) {
      const due = await findDueAddresses(database, network, tip.chainTime, MAX_DUE)
      const isLast = due.length < MAX_DUE
      const isNew = isLast && doneHash !== tip.hash
      const others = isNew
        ? [
            ...(await findAddressesToReread(database, network, tip.chainTime, MAX_UNEXPLAINED)),
            ...(await nextHeld()),
            ...(await nextUnheld(tip)),
          ]
        : []
      if (!(await saveFoundBalances(options, tip, [...due, ...others]))) return false
      if (isLast) {
        doneHash = tip.hash
        return true
      }
      // The next call goes on with the rest.
      if (round + 1 === MAX_DUE_ROUNDS) return false
    }
  }
}

/** Always later than the place before, so that a round ends; from the start again after the last. */
const placeAfter = (place: Date, last: Date | undefined): Date =>
  last === undefined ? FIRST : new Date(Math.max(last.getTime(), place.getTime() + 1))

/** Compares the balances of addresses at a tip, the last scanned block. @returns whether they were stored */
export async function saveFoundBalances(
  { client, database, logger }: FollowOptions,
  tip: Header,
  addresses: readonly string[],
): Promise<boolean> {
  if (addresses.length === 0 || client.findBalances === undefined) return true
  const { network } = client
  const balances = await client.findBalances([...new Set(addresses)], tip.hash)
  const { isSaved, found } = await saveBalances(database, network, tip, balances)
  for (const { amount } of found)
    logger.warn({ network, height: tip.height, amount: String(amount) }, 'an address holds money that nothing explains')
  return isSaved
}
