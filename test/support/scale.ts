// How much a test does. `npm test` runs a seeded part of every large count, `npm run test:full` all of it.

const isFull = process.env['HOLDFAST_TEST_FULL'] === '1'

/** The number of rounds, calls or cases: `part` in `npm test`, `full` in `npm run test:full`. */
export const count = (part: number, full: number): number => (isFull ? full : part)

/** What generators start from, so that a failure can be seen again: `npm test -- --seed N` chooses another. */
export const seed = Number(process.env['HOLDFAST_TEST_SEED'] ?? '20251122')
