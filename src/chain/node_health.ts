// Which nodes of a list may be used: a circuit breaker per node. A node that fails is set aside, for longer each time it
// fails again (exponential back-off with jitter). Nodes are named by their place in the list, never by their URL.

import { backOffMs, type BackOff } from '../repeat.ts'

/** error: no credible answer. busy: it asked to wait. lag: behind the others. gap: it lacks a block up to its own tip. */
export const ASIDE_REASONS = ['error', 'busy', 'lag', 'gap'] as const
export type AsideReason = (typeof ASIDE_REASONS)[number]

/** Ends after the longest outage that a provider announces as a short one. */
const ASIDE: BackOff = { fromMs: 2_000, toMs: 300_000 }
/** Random part of a wait, so that watchers that lost a node together do not return together. */
const JITTER = 0.25
/** A node without a failure for so long begins again with the shortest wait. */
const FORGIVEN_AFTER_MS = 600_000

export type NodeHealthOptions = {
  /** Nodes in the list. */
  count: number
  /** Called when a node is set aside for a reason, and when it is back (undefined). */
  onChange: (index: number, reason: AsideReason | undefined) => void
  /** Monotonic milliseconds. */
  now: () => number
}

export type NodeHealth = ReturnType<typeof createNodeHealth>

type State = { reason: AsideReason | undefined; failures: number; failedAtMs: number; untilMs: number }

export function createNodeHealth({ count, onChange, now }: NodeHealthOptions) {
  const states = Array.from({ length: count }, (): State => ({
    ...{ reason: undefined, failures: 0 },
    ...{ failedAtMs: Number.NEGATIVE_INFINITY, untilMs: Number.NEGATIVE_INFINITY },
  }))
  const stateOf = (index: number): State => {
    const state = states[index]
    if (state === undefined) throw new Error(`there is no node ${index + 1}`)
    return state
  }
  const isUsable = (index: number): boolean => stateOf(index).reason === undefined
  const isDue = (index: number): boolean => !isUsable(index) && now() >= stateOf(index).untilMs

  return {
    isUsable,
    /** Set aside for as long as it should be: look whether it is well again. */
    isDue,
    /** @param waitMs the wait that the node asked for, instead of the back-off */
    setAside: (index: number, reason: AsideReason, waitMs?: number): void => {
      const state = stateOf(index)
      const before = state.reason
      if (now() - state.failedAtMs > FORGIVEN_AFTER_MS) state.failures = 0
      const wait = (waitMs ?? backOffMs(state.failures, ASIDE)) * (1 + Math.random() * JITTER)
      Object.assign(state, { reason, failedAtMs: now(), untilMs: now() + wait, failures: state.failures + 1 })
      if (before !== reason) onChange(index, reason)
    },
    restore: (index: number): void => {
      if (isUsable(index)) return
      stateOf(index).reason = undefined
      onChange(index, undefined)
    },
    /**
     * The order in which to try nodes: the preferred one, the other usable ones as listed, then those set aside, the
     * longest first. A node that asked to wait is left out until then.
     */
    candidates: (preferred: number | undefined): number[] => {
      const indexes = [...states.keys()]
      const rank = (index: number): number => (index === preferred ? -1 : index)
      const usable = indexes.filter(isUsable).toSorted((a, b) => rank(a) - rank(b))
      const aside = indexes.filter((index) => !isUsable(index) && (isDue(index) || stateOf(index).reason !== 'busy'))
      return [...usable, ...aside.toSorted((a, b) => stateOf(a).untilMs - stateOf(b).untilMs)]
    },
  }
}
