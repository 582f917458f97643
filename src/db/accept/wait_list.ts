// Wait lists: the orders that wait for a product while its expired holds are released or its stock row is locked.
// Invariant: no order is decided before an earlier one that waits for the same product, unless it takes nothing from it.
// That is so when the reclaim makes no progress and the order fits the free units, or when it wants more than can ever
// be released, for which it is refused.

import type { AcceptVerdict, ProposedOrder, VerdictRow } from './verdict.ts'

export type Entry = {
  readonly order: ProposedOrder
  /** Aborted when the caller no longer waits for the answer. */
  readonly signal: AbortSignal | undefined
  readonly resolve: (verdict: AcceptVerdict) => void
  readonly reject: (error: unknown) => void
  /** Units wanted by product. */
  readonly wants: ReadonlyMap<string, number>
  /** Its position in the order of arrival. */
  readonly seq: number
  /** Milliseconds since the epoch, set when it first waits for a product: after it, it is refused with «try again». */
  waitsUntil: number | undefined
  /** Products that were short in its last decision. */
  missing: ReadonlySet<string>
  /** A failed statement may have written it: its address must not be used again. */
  mayBeWritten: boolean
  /** Wait lists that it is in now. */
  waitLists: readonly WaitList[]
  /** While it is decided: wait lists whose turn it took. */
  leads: readonly WaitList[]
}

/** Orders that wait for one product. */
export type WaitList = {
  readonly productId: string
  length: number
  /** How many of its orders are being decided in their turn. */
  leading: number
  /** A reclaim, or a wait for its lock, is running. */
  isBusy: boolean
  isLocked: boolean
  /** The last reclaim released nothing: one order at a time is decided to find out whether that has changed. */
  isStalled: boolean
  /** Free units by the last decision, minus those of orders that passed since. */
  free: number
  /** Units that were free or could be released by the last decision. */
  attainable: number
}

export type Shortfall = NonNullable<NonNullable<VerdictRow['detail']>['shortages']>[number]

/** How an order stands to the wait lists of its products: whose turn it takes, which it passes, which stop it. */
type Standing = {
  turns: readonly WaitList[]
  passes: readonly { list: WaitList; wants: number }[]
  stops: readonly WaitList[]
}
const UNHINDERED: Standing = { turns: [], passes: [], stops: [] }

export type WaitListDeps = {
  /** Releases a product's expired holds. Resolves to whether any was released, if none after a pause; never rejects. */
  reclaim: (productId: string) => Promise<boolean>
  /** Resolves after a pause to whether another session has a product's stock locked; never rejects. */
  isLockedStill: (productId: string) => Promise<boolean>
  /** Called when an order may be decided that had to wait before. */
  onReady: () => void
}

export function createWaitLists(deps: WaitListDeps) {
  const waitLists = new Map<string, WaitList>()
  const waitListsOf = ({ wants }: Entry): WaitList[] =>
    [...wants.keys()].flatMap((productId) => waitLists.get(productId) ?? [])
  const waitListOf = (productId: string): WaitList => {
    const list = waitLists.get(productId) ?? createWaitList(productId)
    waitLists.set(productId, list)
    return list
  }
  const endIfEmpty = (list: WaitList): void => {
    if (list.length === 0 && list.leading === 0 && waitLists.get(list.productId) === list)
      waitLists.delete(list.productId)
  }

  async function look(list: WaitList): Promise<void> {
    list.isBusy = true
    let isBack = false
    if (!list.isLocked) isBack = await deps.reclaim(list.productId)
    // Each round, orders of cancelled calls are dropped.
    else for (; !isBack && list.length > 0; deps.onReady()) isBack = !(await deps.isLockedStill(list.productId))
    Object.assign(list, { isStalled: !isBack, isLocked: false, isBusy: false })
    deps.onReady()
  }

  return {
    count: (): number => waitLists.size,
    /** Stores what the database said about products that are short now. */
    noteShort: (shortfalls: readonly Shortfall[]): void => {
      for (const { p, available, returning = 0 } of shortfalls)
        Object.assign(waitListOf(p), { free: available, attainable: available + returning })
    },
    noteLocked: (productIds: ReadonlySet<string>): void => {
      for (const productId of productIds) waitListOf(productId).isLocked = true
    },
    join: (entry: Entry): void => {
      entry.waitLists = waitListsOf(entry)
      for (const list of entry.waitLists) list.length += 1
    },
    leave: (entry: Entry): void => {
      const left = entry.waitLists
      entry.waitLists = []
      for (const list of left) list.length -= 1
      for (const list of left) endIfEmpty(list)
    },
    /** Starts a reclaim, or a wait for the lock, for each product that the order waits for. */
    lookAfter: (entry: Entry, awaited: ReadonlySet<string>): void => {
      for (const list of entry.waitLists) if (awaited.has(list.productId) && !list.isBusy) void look(list)
    },
    /** Ends the turns that an order took: it was decided, or has left. */
    settled: (entry: Entry, isDecided: boolean): void => {
      const led = entry.leads
      entry.leads = []
      for (const list of led) {
        list.leading -= 1
        if (isDecided) list.isStalled = false
        endIfEmpty(list)
      }
    },

    /**
     * The wait lists in which it is the order's turn, those that it may pass, and those that stop it.
     * @param held products that an earlier order waits for
     * @param led products whose turn other orders of the same batch took
     */
    standingOf: ({ wants: wanted, missing }: Entry, held: ReadonlySet<string>, led: ReadonlySet<string>): Standing => {
      const turns: WaitList[] = []
      const passes: { list: WaitList; wants: number }[] = []
      const stops: WaitList[] = []
      for (const [productId, wants] of wanted) {
        const list = waitLists.get(productId)
        if (list === undefined) continue
        // It will be refused for lack of stock. Decided at once, since the numbers may have changed.
        if (missing.size === 0 && wants > list.attainable) return UNHINDERED
        const isOpen = !list.isBusy && (led.has(productId) ? !list.isStalled : list.leading === 0)
        if (isOpen && !held.has(productId)) turns.push(list)
        // Not in one batch with an order that takes its turn: there, the database lets all others wait behind that one.
        else if (list.isStalled && !led.has(productId) && wants <= list.free) passes.push({ list, wants })
        else stops.push(list)
      }
      return { turns, passes, stops }
    },
  }
}

const createWaitList = (productId: string): WaitList => ({
  productId,
  length: 0,
  leading: 0,
  isBusy: false,
  isLocked: false,
  isStalled: false,
  free: 0,
  attainable: Infinity,
})

/** Marks in the wait lists that the order is being decided. */
export function takeTurns(entry: Entry, { turns, passes }: Standing, led: Set<string>): void {
  for (const list of turns) {
    list.leading += 1
    led.add(list.productId)
  }
  for (const { list, wants } of passes) list.free -= wants
  entry.leads = turns
}
