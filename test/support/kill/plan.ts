// What one run of kill chaos does, from its seed: how each order is paid, and when which process is killed.

import { randomOf } from '../scale.ts'

/** Ways in which an order is paid. The number of outputs, and whether money is owed back. */
export const WAYS = {
  exact: { outputs: 1, isOwed: false },
  split: { outputs: 2, isOwed: false },
  over: { outputs: 1, isOwed: true },
  under: { outputs: 1, isOwed: true },
  /** Cancelled once it was paid. */
  cancelled: { outputs: 1, isOwed: true },
  /** Cancelled while its money is on the way. */
  overtaken: { outputs: 1, isOwed: true },
  /** Paid after it expired: it buys the order again, or is owed back. */
  late: { outputs: 1, isOwed: false },
  unpaid: { outputs: 0, isOwed: false },
} as const
export type Way = keyof typeof WAYS

export const VICTIMS = ['watcher', 'api', 'worker', 'payer', 'anvil'] as const
export type Victim = (typeof VICTIMS)[number]

export type Kill = {
  victim: Victim
  /** Killed with it. */
  other: Victim | undefined
  /** From the kill before it. */
  afterMs: number
}
export type KillPlan = { seed: number; ways: readonly Way[]; kills: readonly Kill[] }
export type KillSize = { payments: number; refunds: number; kills: number }

/** Of the payments without a refund: those that come late, and those of orders that are paid in two parts. */
const LATE_SHARE = 0.1
const SPLIT_SHARE = 0.3
const OWED_SHARES = [
  ['over', 0.3],
  ['cancelled', 0.3],
  ['overtaken', 0.2],
] as const
const UNPAID_SHARE = 0.05
const MAX_PAUSE_MS = 4_000
const DOUBLE_SHARE = 0.2

export function planOf(seed: number, { payments, refunds, kills }: KillSize): KillPlan {
  const random = randomOf('kill of everything', seed)
  const shuffle = <T>(options: readonly T[]): T[] =>
    options
      .map((option) => ({ option, place: random() }))
      .toSorted((a, b) => a.place - b.place)
      .map(({ option }) => option)
  const ways = shuffle(waysOf(payments, refunds))
  const rounds = Array.from({ length: Math.ceil(kills / VICTIMS.length) }, () => shuffle(VICTIMS)).flat()
  return {
    seed,
    ways,
    // Each process once before any of them a second time.
    kills: rounds.slice(0, kills).map((victim) => ({
      victim,
      other: random() < DOUBLE_SHARE ? shuffle(VICTIMS)[0] : undefined,
      afterMs: Math.floor(random() * MAX_PAUSE_MS),
    })),
  }
}

function waysOf(payments: number, refunds: number): Way[] {
  const ways: Way[] = []
  const add = (way: Way, times: number): void => void ways.push(...Array.from({ length: times }, () => way))
  for (const [way, share] of OWED_SHARES) add(way, Math.round(refunds * share))
  add('under', refunds - ways.length)
  const rest = payments - refunds
  const late = Math.round(rest * LATE_SHARE)
  const split = Math.round((rest * SPLIT_SHARE) / WAYS.split.outputs)
  add('late', late)
  add('split', split)
  add('exact', rest - late - split * WAYS.split.outputs)
  add('unpaid', Math.ceil(payments * UNPAID_SHARE))
  return ways
}
