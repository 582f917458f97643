// Random requests and raw HTTP/2 garbage against both ports. `npm run fuzz` plays many more.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { TARGETS } from './support/fuzz/call.ts'
import { runFuzz } from './support/fuzz/fuzz.ts'
import { count, seed } from './support/scale.ts'

const CASES = count(50_000, 1_000_000)
/** A minute of one core for 50,000, where nothing else runs. */
const WITHIN_MS = count(900_000, 3_600_000)
/** Nothing that a call leaves behind: at a byte for each case, it would be more. */
const MAX_GROWTH_BYTES = 8_000_000
/** Answers of calls that were refused before their handler ran. */
const REFUSED_EARLY = ['INVALID_ARGUMENT', 'UNAUTHENTICATED', 'PERMISSION_DENIED', 'RESOURCE_EXHAUSTED']

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

test(
  'whatever is sent, every answer is documented, nothing leaks and the memory stays flat',
  async () => {
    const { problems, answers, bytesBefore, bytesAfter } = await runFuzz({ database, seed, count: CASES })
    expect(problems).toEqual([])
    expect(bytesAfter - bytesBefore).toBeLessThan(MAX_GROWTH_BYTES)
    // Or the fuzzer would test validation alone.
    const unreached = TARGETS.map(({ method }) => method.path).filter((path) =>
      [...(answers.get(path)?.keys() ?? [])].every((answer) => REFUSED_EARLY.includes(answer)),
    )
    expect(unreached).toEqual([])
  },
  WITHIN_MS,
)
