// Runs the product's own consistency check on a test database: tests must leave the same invariants intact.

import { compareTables, type Difference } from '../../src/db/consistency.ts'
import { openTestDatabase, type TestDatabase } from './database.ts'

/** Violated invariants; empty when there are none. Safe to call while others write. */
export async function findViolations(test: Pick<TestDatabase, 'urlOf'>): Promise<readonly Difference[]> {
  const database = await openTestDatabase({ url: test.urlOf('auditor'), poolSize: 2, applicationName: 'test-auditor' })
  try {
    return (await compareTables({ database })).differences
  } finally {
    await database.close()
  }
}
