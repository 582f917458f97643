// Compares the nodes of one network. At each new tip of the node in use, the others are asked for their tip and for one
// block that the node in use calls final. A node that is set aside is asked in the background, so that one that hangs
// delays no step.

import type { Header } from '../domain/chain.ts'
import { NodesDifferError, type ChainClient } from './client.ts'
import type { NodeChoice } from './node_choice.ts'
import type { NodeMetrics } from './node_metrics.ts'

/** Also without a new tip: the node in use may be stuck, while the others are not. */
const SURVEY_EVERY_MS = 15_000
/** A node that stopped at a block which the others replaced soon after is behind, and contradicts no other node. */
const SETTLING_BLOCKS = 2

/** What the other nodes are compared by. */
export type SurveyRules = {
  /** Depth at which a transfer is final; its own block counts as 1. */
  confirmations: number
  /** A node whose tip is further behind the newest one is not used. */
  maxLagBlocks: number
}

export type SurveyDeps = SurveyRules &
  Pick<NodeChoice<ChainClient>, 'health' | 'askNode' | 'noteFailure'> & {
    /** How many nodes there are. */
    count: number
    metrics: NodeMetrics
    now: () => number
  }

/** A node's tip, and its header at the height that is compared. */
type Look = { index: number; tip: Header; header: Header | undefined }

/**
 * Makes the function that compares the node in use, by its tip, with all others. It returns whether that node is behind
 * them. Rejects with NodesDifferError, and with the node's own failure.
 */
export function createNodeSurvey(deps: SurveyDeps): (index: number, tip: Header) => Promise<boolean> {
  const { count, confirmations, maxLagBlocks, askNode, health, metrics, now } = deps
  let last = { index: -1, hash: '', atMs: Number.NEGATIVE_INFINITY }
  const rechecking = new Set<number>()
  const rechecked = new Map<number, Look>()

  async function look(index: number, finalHeight: number): Promise<Look | undefined> {
    try {
      const tip = await askNode(index, (node) => node.getTip())
      const height = Math.min(finalHeight, tip.height - SETTLING_BLOCKS)
      const header = height < 0 ? undefined : await askNode(index, (node) => node.findHeader(height))
      return { index, tip, header }
    } catch (error) {
      deps.noteFailure(index, error)
      return undefined
    }
  }

  async function recheck(index: number, finalHeight: number): Promise<void> {
    if (rechecking.has(index)) return
    rechecking.add(index)
    const found = await look(index, finalHeight)
    rechecking.delete(index)
    if (found === undefined) rechecked.delete(index)
    else rechecked.set(index, found)
  }

  /** @throws {NodesDifferError} */
  async function assertSame(index: number, tip: Header, looks: readonly Look[]): Promise<void> {
    const own = new Map<number, Header | undefined>([[tip.height, tip]])
    for (const { index: other, header } of looks) {
      if (header === undefined) continue
      const { height, hash } = header
      if (!own.has(height)) own.set(height, await askNode(index, (node) => node.findHeader(height)))
      const found = own.get(height)
      if (found !== undefined && found.hash !== hash)
        throw new NodesDifferError(
          `nodes ${index + 1} and ${other + 1} have different blocks at the final height ${height}`,
        )
    }
  }

  return async (index, tip) => {
    const isSame = index === last.index && tip.hash === last.hash
    if (isSame && now() - last.atMs < SURVEY_EVERY_MS) return false
    const finalHeight = tip.height - confirmations + 1
    const others = Array.from({ length: count }, (_, each) => each).filter((each) => each !== index)
    for (const other of others.filter(health.isDue)) void recheck(other, finalHeight)
    const answers = await Promise.all(others.filter(health.isUsable).map((other) => look(other, finalHeight)))
    const looks = answers.filter((found) => found !== undefined)
    const returned = [...rechecked.values()].filter((found) => found.index !== index)
    await assertSame(index, tip, [...looks, ...returned])
    // Only then: what contradicts in the background stops every step until it does no more.
    rechecked.clear()
    const credible = await keepCredible(deps, tip, [...looks, ...returned])
    const newest = Math.max(
      tip.height,
      ...credible.filter((found) => health.isUsable(found.index)).map((found) => found.tip.height),
    )
    metrics.noteLag(index, newest - tip.height)
    for (const { index: other, tip: theirs } of credible) {
      const lagBlocks = newest - theirs.height
      metrics.noteLag(other, lagBlocks)
      if (lagBlocks > maxLagBlocks) health.setAside(other, 'lag')
      else health.restore(other)
    }
    last = { index, hash: tip.hash, atMs: now() }
    return newest - tip.height > maxLagBlocks
  }
}

/** Without nodes that name a tip far above this one, and have no block in between. */
async function keepCredible(deps: SurveyDeps, { height }: Header, looks: readonly Look[]): Promise<Look[]> {
  const { maxLagBlocks, askNode, health, noteFailure } = deps
  const isCredible = async ({ index, tip }: Look): Promise<boolean> => {
    if (tip.height <= height + maxLagBlocks) return true
    try {
      if ((await askNode(index, (node) => node.findHeader(height + maxLagBlocks + 1))) !== undefined) return true
      health.setAside(index, 'gap')
    } catch (error) {
      noteFailure(index, error)
    }
    return false
  }
  const kept = await Promise.all(looks.map(async (found) => ((await isCredible(found)) ? [found] : [])))
  return kept.flat()
}
