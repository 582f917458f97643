// What an order asks of the database: transactions and statements, counted by name. Exact, on any machine.

import type { Database, Statement, Tx } from '../../src/db/connection/pool.ts'

export type Costs = {
  /** Transactions that write, those of a single statement included. */
  commits: number
  /** Names of the statements sent, in the order they were first sent; each with how often. */
  statements: Record<string, number>
}

/** Statements that only look, outside of any transaction. */
const READS = /^(read_|idempotency_find$)/
/** A relay's claim that finds nothing and settles nothing is the price of waiting, not of an order. */
const CLAIMS = /^relay_claim_/

export type Meter = {
  /** Stands between whoever uses a database and the database. */
  observe: (database: Database) => Database
  /** How often a statement was counted since the last reading. */
  count: (statement: string) => number
  /** What was counted since the last reading. */
  read: () => Costs
}

export function createMeter(): Meter {
  let costs: Costs = { commits: 0, statements: {} }
  const note = ({ name }: Statement): void => void (costs.statements[name] = (costs.statements[name] ?? 0) + 1)

  const run: (database: Database) => Database['run'] = (database) => async (query, values) => {
    const rows = await database.run<never>(query, values)
    const settles = values?.some((value) => Array.isArray(value) && value.length > 0) ?? false
    if (rows.length === 0 && !settles && CLAIMS.test(query.name)) return rows
    note(query)
    if (!READS.test(query.name)) costs.commits += 1
    return rows
  }

  const transaction: (database: Database) => Database['transaction'] = (database) => async (work, options) => {
    const counted = (tx: Tx): Tx => ({
      run: (query, values) => {
        note(query)
        return tx.run(query, values)
      },
      savepoint: (part) => tx.savepoint((inner) => part(counted(inner))),
    })
    const result = await database.transaction((tx) => work(counted(tx)), options)
    costs.commits += 1
    return result
  }

  return {
    observe: (database) => ({ ...database, run: run(database), transaction: transaction(database) }),
    count: (statement) => costs.statements[statement] ?? 0,
    read: () => {
      const seen = costs
      costs = { commits: 0, statements: {} }
      return seen
    },
  }
}
