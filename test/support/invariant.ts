// The product's own consistency check, asked by tests of their databases: what must hold in a shop must hold in them.

import { compareTables, type Difference } from '../../src/db/consistency.ts'
import { openDatabase } from '../../src/db/connection/pool.ts'
import type { TestDatabase } from './database.ts'

/** Empty when all is well. May be asked while others work. */
export async function findViolations(test: Pick<TestDatabase, 'urlOf'>): Promise<readonly Difference[]> {
  const database = await openDatabase({ url: test.urlOf('auditor'), poolSize: 2, applicationName: 'test-auditor' })
  try {
    return (await compareTables({ database })).differences
  } finally {
    await database.close()
  }
}
