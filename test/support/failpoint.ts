// Failpoints: fault injection between the statements of a transaction, and after every write that a statement makes.
// Either our code throws, or the server terminates the session.

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

/** The original error: Jest runs tests in a separate realm, and Node's emitters wrap errors of another realm. */
export const unwrapped = (error: unknown): unknown => (error as { context?: unknown }).context ?? error

/** Reasons for which a caller repeats its call under the same key. */
const TRY_AGAIN: ReadonlySet<string> = new Set(['DATABASE_UNAVAILABLE', 'STOCK_BEING_RELEASED'])

/** Whether the result is unknown to the caller: the call may have taken effect. */
export const isAnswerLost = (error: unknown): boolean =>
  isDatabaseUnavailable(unwrapped(error)) ||
  (error instanceof DomainError && TRY_AGAIN.has(error.reason)) ||
  /^(ECONN|EPIPE)/.test(String((error as { code?: unknown }).code))

const MY_PID = statement('failpoint_pid', 'select pg_backend_pid() as pid')
const PID = z.object({ pid: z.number() })

/** Terminates a session, and returns once it has ended and its transaction is rolled back. */
export async function killSession(test: TestDatabase, pid: number): Promise<void> {
  await test.query('select pg_terminate_backend($1)', [pid])
  await until(async () => (await test.query('select from pg_stat_activity where pid = $1', [pid])).length === 0)
}

/** Methods of slonik's transaction that send one statement. */
const ASKING = new Set<PropertyKey>([
  ...['any', 'anyFirst', 'exists', 'many', 'manyFirst', 'maybeOne', 'maybeOneFirst', 'one', 'oneFirst', 'query'],
])

export type Failpoint = {
  /** The same database; its transactions fail as configured, through slonik or through prepared statements. */
  database: Database
  /** Statements that the last transaction sent. */
  sent: () => number
}

/**
 * @param at fails after this many answered statements: 0 is before the first, the total is before the commit;
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
 * The same database, but its session is terminated while a single statement runs, later for a greater `at`. Whether the
 * statement took effect before is unknown.
 */
export const createStrike = (database: Database, test: TestDatabase, at: number): Database => ({
  ...database,
  run: async (query, values) => {
    const answer = database.run<never>(query, values)
    // It may fail before it is awaited.
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
  /** Makes the nth write from now on fail; 0 only counts. Counts across all sessions, so make one call at a time. */
  arm: (nth: number, kind?: FailureKind) => Promise<void>
  /** Writes since the last `arm`. */
  written: () => Promise<number>
}

/** SQLSTATE of the injected exception: one that no code retries. */
export const INJECTED_STATE = 'HF999'

/** Adds a trigger after every write to every table, including writes inside functions and at commit. */
export async function createWriteFailpoint(test: TestDatabase): Promise<WriteFailpoint> {
  await test.query('create schema failpoint')
  await test.query('create table failpoint.plan (nth bigint not null, is_kill boolean not null)')
  await test.query('insert into failpoint.plan values (0, false)')
  // A sequence keeps counting when the transaction is rolled back.
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
