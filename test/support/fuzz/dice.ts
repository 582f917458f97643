// Seeded random choices. Each fuzz case has dice of its own, so that one case can be played again without the others.

export type Dice = {
  /** A whole number from 0 to `below` - 1. */
  int: (below: number) => number
  /** True with this probability. */
  isLucky: (probability: number) => boolean
  pick: <T>(from: readonly [T, ...T[]]) => T
  bytes: (length: number) => Buffer
  uuid: () => string
}

/** The dice of case `index` in the run of this seed (mulberry32). */
export function createDice(seed: number, index: number): Dice {
  let state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) + Math.imul(index + 1, 0xc2b2ae35)) | 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  const int = (below: number): number => Math.floor((next() / 2 ** 32) * below)
  const bytes = (length: number): Buffer => Buffer.from(Array.from({ length }, () => int(256)))
  return {
    int,
    bytes,
    isLucky: (probability) => next() < probability * 2 ** 32,
    pick: (from) => from[int(from.length)] ?? from[0],
    uuid: () =>
      bytes(16)
        .toString('hex')
        .replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5'),
  }
}
