// Counts the statements that are sent through a database's pool, within transactions too.

import type { Database } from '../../src/db/connection/pool.ts'

/** The same pool; `count` returns the statements sent since the last call. */
export function countStatements(database: Database): { database: Database; count: () => number } {
  let sent = 0
  const counted = <T extends object>(target: T): T =>
    new Proxy(target, {
      get: (object, name) => {
        const member: unknown = Reflect.get(object, name)
        if (typeof member !== 'function') return member
        return async (...args: unknown[]) => {
          if (name !== 'transaction') {
            sent += 1
            return Reflect.apply(member, object, args) as unknown
          }
          const [work] = args as [(tx: object) => unknown]
          return Reflect.apply(member, object, [(tx: object) => work(counted(tx))]) as unknown
        }
      },
    })
  return {
    database: { ...database, sql: counted(database.sql) },
    count: () => {
      const count = sent
      sent = 0
      return count
    },
  }
}
