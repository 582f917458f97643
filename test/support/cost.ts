// A meter of database work: counts an order's transactions and statements by name. Exact on any machine.

import type { Database, Statement, Tx } from '../../src/db/connection/pool.ts'

export type Costs = {
  /** Writing transactions, including single statements outside of a transaction. */
  commits: number
  /** Statements sent, by name in the order they were first sent, each with its count. */
  statements: Record<string, number>
}

/** Statements that only read, outside of any transaction. */
const READS = /^(read_|idempotency_find$)/
/** A relay's claim that finds and settles nothing is the cost of polling, not of an order. */
const CLAIMS = /^relay_claim_/

export type Meter = {
  /** Wraps a database so that everything sent to it is counted. */
  observe: (database: Database) => Database
  /** How often a statement was sent since the last reading. */
  count: (statement: string) => number
  /** The counts since the last reading; resets them. */
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
