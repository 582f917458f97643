// Failures put where they hurt: between the statements of a transaction, and behind every write that a statement makes.
// Our own code throws, or the server ends the session.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import { isDatabaseUnavailable, statement, type Database, type Tx } from '../../src/db/connection/pool.ts'
import { DomainError } from '../../src/domain/failure.ts'
import type { TestDatabase } from './database.ts'
import { until } from './until.ts'

export type FailureKind = 'exception' | 'killed backend'

export class InjectedFailure extends Error {
  override readonly name = 'InjectedFailure'
}

/** Jest runs tests in a realm of their own, whose errors Node's emitters take for something else, and wrap. */
export const unwrapped = (error: unknown): unknown => (error as { context?: unknown }).context ?? error

/** What a caller is told that is no answer: it asks again under the same key. */
const TRY_AGAIN: ReadonlySet<string> = new Set(['DATABASE_UNAVAILABLE', 'STOCK_BEING_RELEASED'])

/** The caller cannot know whether what it asked was done. */
export const isAnswerLost = (error: unknown): boolean =>
  isDatabaseUnavailable(unwrapped(error)) ||
  (error instanceof DomainError && TRY_AGAIN.has(error.reason)) ||
  /^(ECONN|EPIPE)/.test(String((error as { code?: unknown }).code))

const MY_PID = statement('failpoint_pid', 'select pg_backend_pid() as pid')
const PID = z.object({ pid: z.number() })

/** Ends a session, and returns when it is gone with its transaction. */
export async function killSession(test: TestDatabase, pid: number): Promise<void> {
  await test.query('select pg_terminate_backend($1)', [pid])
  await until(async () => (await test.query('select from pg_stat_activity where pid = $1', [pid])).length === 0)
}

/** Methods of slonik's transaction that send one statement. */
const ASKING = new Set<PropertyKey>([
  ...['any', 'anyFirst', 'exists', 'many', 'manyFirst', 'maybeOne', 'maybeOneFirst', 'one', 'oneFirst', 'query'],
])

export type Failpoint = {
  /** The same database, whose transactions fail as told, through either door. */
  database: Database
  /** Statements that the last transaction had sent. */
  sent: () => number
}

/**
 * @param at fails when so many statements have been answered: 0 is before the first, and all of them before the commit;
 *   undefined only counts
 */
export function createFailpoint(
  database: Database,
  test: TestDatabase,
  at?: number,
  kind: FailureKind = 'exception',
): Failpoint {
  let sent = 0
  const pass = async (pidOf: () => Promise<number>): Promise<void> => {
    if (sent !== at) return
    if (kind === 'exception') throw new InjectedFailure(`after ${at} statements`)
    await killSession(test, await pidOf())
  }
  const begin = async (pidOf: () => Promise<number>): Promise<void> => {
    sent = 0
    await pass(pidOf)
  }

  const transaction: Database['transaction'] = (work, options) =>
    database.transaction(async (tx) => {
      const pidOf = async (): Promise<number> => (await tx.run<{ pid: number }>(MY_PID))[0]?.pid ?? 0
      const run: Tx['run'] = async (query, values) => {
        const rows = await tx.run<never>(query, values)
        sent += 1
        await pass(pidOf)
        return rows
      }
      await begin(pidOf)
      return work({ ...tx, run })
    }, options)

  const watched = (tx: DatabaseTransactionConnection, pidOf: () => Promise<number>): DatabaseTransactionConnection =>
    new Proxy(tx, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name)
        if (typeof member !== 'function' || !ASKING.has(name)) return member
        return async (...args: unknown[]): Promise<unknown> => {
          const answer: unknown = await Reflect.apply(member, target, args)
          sent += 1
          await pass(pidOf)
          return answer
        }
      },
    })
  const slonik = new Proxy(database.sql, {
    get: (target, name) => {
      if (name !== 'transaction') return Reflect.get(target, name) as unknown
      return <T>(work: (tx: DatabaseTransactionConnection) => Promise<T>): Promise<T> =>
        target.transaction(async (tx) => {
          const pidOf = async (): Promise<number> => (await tx.one(sql.type(PID)`select pg_backend_pid() as pid`)).pid
          await begin(pidOf)
          return work(watched(tx, pidOf))
        })
    },
  })
  return { database: { ...database, sql: slonik, transaction }, sent: () => sent }
}

/**
 * The same database, whose sessions are ended while a single statement runs: a little later, the greater `at`. Nobody can
 * say whether it took effect before.
 */
export const createStrike = (database: Database, test: TestDatabase, at: number): Database => ({
  ...database,
  run: async (query, values) => {
    const answer = database.run<never>(query, values)
    // It may fail before anybody waits for it.
    answer.catch(() => undefined)
    for (let tick = 0; tick < at; tick += 1) await nextTurn()
    await test.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and state = 'active' and application_name like 'test-%'`,
    )
    return answer
  },
})

export type WriteFailpoint = {
  /** The nth write from now on fails; 0 only counts. Across all sessions: one call at a time. */
  arm: (nth: number, kind?: FailureKind) => Promise<void>
  /** Writes since it was armed. */
  written: () => Promise<number>
}

/** SQLSTATE of the exception: none that anybody tries again for. */
export const INJECTED_STATE = 'HF999'

/** Puts a trigger behind every write to every table, those made inside functions and at the commit included. */
export async function createWriteFailpoint(test: TestDatabase): Promise<WriteFailpoint> {
  await test.query('create schema failpoint')
  await test.query('create table failpoint.plan (nth bigint not null, is_kill boolean not null)')
  await test.query('insert into failpoint.plan values (0, false)')
  // A sequence counts on although the transaction is undone.
  await test.query('create sequence failpoint.written minvalue 0 start 1')
  await test.query(
    `create function failpoint.strike() returns trigger language plpgsql security definer as $$
     declare
       v_plan failpoint.plan;
     begin
       select * into v_plan from failpoint.plan;
       if nextval('failpoint.written') = v_plan.nth then
         if not v_plan.is_kill then raise exception 'injected' using errcode = '${INJECTED_STATE}'; end if;
         perform pg_terminate_backend(pg_backend_pid());
         perform pg_sleep(10);
       end if;
       return null;
     end $$`,
  )
  const tables = await test.query<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'holdfast' and c.relkind in ('r', 'p') and not c.relispartition`,
  )
  for (const { name } of tables)
    await test.query(
      `create trigger zz_failpoint after insert or update or delete on ${name}
       for each statement execute function failpoint.strike()`,
    )
  return {
    arm: async (nth, kind = 'exception') => {
      await test.query('update failpoint.plan set nth = $1, is_kill = $2', [nth, kind === 'killed backend'])
      await test.query(`select setval('failpoint.written', 0)`)
    },
    written: async () =>
      Number((await test.query<{ n: bigint }>('select last_value as n from failpoint.written'))[0]?.n ?? 0n),
  }
}
