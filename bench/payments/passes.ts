// Passes over the same blocks, of one system or of several by turns: what is compared closely is measured in the same
// moments, because another process's work then slows all of them.

import type { Measurement, System } from '../benchmark.ts'

const MS_PER_S = 1_000
const US_PER_MS = 1_000

export const BLOCKS_PER_S = 'blocks/s'

/** What is measured: a pass, and what prepares the next one, which is not measured. */
export type Passes = { pass: () => Promise<void>; prepare: () => Promise<void>; close: () => Promise<void> }

/** A system before it is measured. */
export type Follower = Pick<System, 'name' | 'about'> & { open: () => Promise<Passes> }

type Measuring = Passes & { passes: number; spentMs: number; cpuUs: number }

/**
 * Systems that are measured by turns, pass by pass, in the slot of the one that comes first. The slots of the others are
 * then over at once. @param seconds of each
 */
export function byTurns(followers: readonly Follower[], { seconds, blocks }: { seconds: number; blocks: number }) {
  const measured = new Map<string, Measurement>()
  return followers.map(({ name, about }): System => ({
    name,
    about,
    measure: async () => {
      if (!measured.has(name)) await measureInto(measured, followers, seconds, blocks)
      const own = measured.get(name)
      measured.delete(name)
      if (own === undefined) throw new Error(`${name} was not measured`)
      return own
    },
  }))
}

async function measureInto(
  measured: Map<string, Measurement>,
  followers: readonly Follower[],
  seconds: number,
  blocks: number,
): Promise<void> {
  const open: (Measuring & { name: string })[] = []
  try {
    for (const { name, open: start } of followers)
      open.push({ name, ...(await start()), passes: 0, spentMs: 0, cpuUs: 0 })
    for (const { pass, prepare } of open) {
      await pass()
      await prepare()
    }
    const spentMs = (): number => open.reduce((sum, each) => sum + each.spentMs, 0)
    while (spentMs() < open.length * seconds * MS_PER_S) for (const each of open) await measurePass(each)
    for (const each of open) measured.set(each.name, measurementOf(each, blocks))
  } finally {
    for (const { close } of open) await close()
  }
}

async function measurePass(measuring: Measuring): Promise<void> {
  const [startedAt, cpu] = [performance.now(), process.cpuUsage()]
  await measuring.pass()
  measuring.spentMs += performance.now() - startedAt
  const { user, system } = process.cpuUsage(cpu)
  measuring.cpuUs += user + system
  measuring.passes += 1
  await measuring.prepare()
}

function measurementOf({ passes, spentMs, cpuUs }: Measuring, blocks: number): Measurement {
  const read = passes * blocks
  return {
    figures: {
      [BLOCKS_PER_S]: (read * MS_PER_S) / spentMs,
      'ms/block': spentMs / read,
      'own CPU ms/block': cpuUs / US_PER_MS / read,
    },
    errors: 0,
    messages: [],
  }
}
