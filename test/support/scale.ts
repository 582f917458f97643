// How much a test does. `npm test` runs a seeded part of every large count, `npm run test:full` all of it.

const isFull = process.env['HOLDFAST_TEST_FULL'] === '1'

/** The number of rounds, calls or cases: `part` in `npm test`, `full` in `npm run test:full`. */
export const count = (part: number, full: number): number => (isFull ? full : part)

/** How long a test that counts may take: jest's own limit fits the part alone. */
export const COUNT_WITHIN_MS = count(600_000, 1_800_000)

/** What generators start from, so that a failure can be seen again: `npm test -- --seed N` chooses another. */
export const seed = Number(process.env['HOLDFAST_TEST_SEED'] ?? '20251122')

/** Numbers in [0, 1) that are the same on every run with this seed (mulberry32). */
export function randomOf(name: string, from = seed): () => number {
  let state = [...name].reduce((hash, letter) => Math.imul(hash, 31) + letter.charCodeAt(0), from) | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
