// Payment chaos: plays generated sequences in worlds, and shrinks the first one that differs from the oracle.

import fc from 'fast-check'
import { sequenceArbitraryOf, sequenceOf } from './sequence.ts'
import type { Difference } from './compare.ts'
import type { PaymentWorld, WorldRules } from './world.ts'

/** A world whose sources contradict each other is suspended for all its orders, so it has few. */
const SIZE_OF = { 1: 100, 2: 3 } as const
/** Of 50 sequences, how many live under other rules than one source and late money owed back. */
const PERIOD = 50
const ACCEPTING = 6
const TWO_SOURCES = 4

/** The rules that the sequence of this seed is played under. */
export function rulesOf(seed: number): WorldRules {
  const place = seed % PERIOD
  if (place < ACCEPTING) return { acceptsLate: true, sources: 1, requiredSources: 1 }
  if (place < ACCEPTING + TWO_SOURCES)
    return { acceptsLate: place % 4 === 3, sources: 2, requiredSources: place % 2 === 0 ? 1 : 2 }
  return { acceptsLate: false, sources: 1, requiredSources: 1 }
}

export type ChaosReport = { differences: Difference[]; sequences: number }

/** Plays the sequences of the seeds from `seed` on. Stops after the first world with a difference. */
export async function playChaos(
  world: Pick<PaymentWorld, 'play'>,
  { seed, sequences, onProgress }: { seed: number; sequences: number; onProgress?: (done: number) => void },
): Promise<ChaosReport> {
  const worlds = new Map<string, number[]>()
  let done = 0
  const play = async (rules: WorldRules, seeds: readonly number[]): Promise<Difference[]> => {
    const differences = await world.play(new Map(seeds.map((each) => [each, sequenceOf(each)])), rules)
    done += seeds.length
    onProgress?.(done)
    return differences
  }
  for (let at = 0; at < sequences; at += 1) {
    const rules = rulesOf(seed + at)
    const key = JSON.stringify(rules)
    const seeds = [...(worlds.get(key) ?? []), seed + at]
    const isFull = seeds.length === SIZE_OF[rules.sources]
    worlds.set(key, isFull ? [] : seeds)
    const differences = isFull ? await play(rules, seeds) : []
    if (differences.length > 0) return { differences, sequences: done }
  }
  for (const seeds of worlds.values()) {
    const differences = seeds[0] === undefined ? [] : await play(rulesOf(seeds[0]), seeds)
    if (differences.length > 0) return { differences, sequences: done }
  }
  return { differences: [], sequences: done }
}

/** Plays the sequence of this seed alone and shrinks it. @returns what fast-check says of it; undefined: no difference */
export async function shrinkChaos(world: Pick<PaymentWorld, 'play'>, seed: number): Promise<string | undefined> {
  const property = fc.asyncProperty(sequenceArbitraryOf(seed), async (sequence) => {
    const [difference] = await world.play(new Map([[seed, sequence]]), rulesOf(seed))
    if (difference !== undefined) throw new Error(JSON.stringify(difference, null, 2))
  })
  const result = await fc.check(property, { seed, numRuns: 1 })
  if (!result.failed) return undefined
  const error = result.errorInstance
  return `${fc.defaultReportMessage(result)}\n${error instanceof Error ? error.message : ''}`
}
