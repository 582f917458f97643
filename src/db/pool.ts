// Connections, transactions and value types. Two doors to one database: slonik for everything, and constant
// statements prepared by name for an order's own path (docs/decisions/0003). Both read numeric and int8 exactly.

import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { createPool, SchemaValidationError, sql, type DatabasePool, type Interceptor } from 'slonik'
import { z } from 'zod'
import type { Actor } from '../domain/audit.ts'
import { DomainError } from '../domain/failure.ts'
import { withGate } from './gate.ts'
import {
  createSlowWatch,
  slowInterceptor,
  withSlowWatch,
  type Running,
  type SlowEvent,
  type SlowWatch,
} from './slow.ts'

/** A wait for a connection beyond this answers UNAVAILABLE (SR-9.3). */
const POOL_WAIT_MS = 1_000
/** Slonik's share of a process's connections; the order path has the rest. */
const SLONIK_SHARE = 0.4
const STATEMENT_TIMEOUT_MS = 2_000
const IDLE_IN_TRANSACTION_MS = 5_000
const MAX_ATTEMPTS = 6
const BACKOFF_FROM_MS = 10
const BACKOFF_TO_MS = 1_000
const RETRY_HINT_MS = 1_000

/**
 * The order path finds every row by a key. A plan that reads a whole table instead may look cheap while the table is
 * small, or before Postgres has counted it, and is then kept by a prepared statement while the table grows.
 */
const PLANS_BY_KEY = [
  'enable_seqscan',
  'enable_bitmapscan',
  'enable_hashjoin',
  'enable_mergejoin',
  'enable_material',
  'jit',
]

/** serialization failure, deadlock, lock not available: the transaction did nothing and may be run again. */
const RETRYABLE_STATES = new Set(['40001', '40P01', '55P03'])

export type Statement = { name: string; text: string }
export type Tx = {
  run: <Row>(statement: Statement, values?: readonly unknown[]) => Promise<Row[]>
  /**
   * An optional part: when it rejects, what it did is undone and the rest of the transaction stands; whoever can do
   * without it catches the error. One at a time.
   */
  savepoint: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
}

export type Database = {
  /** Everything that is not an order's own path. */
  sql: DatabasePool
  /** One prepared statement, one transaction of its own. */
  run: Tx['run']
  /** Runs `work` in one READ COMMITTED transaction; it must touch nothing but `tx`, since it may be run again. */
  transaction: <T>(work: (tx: Tx) => Promise<T>, options?: { deadline?: number }) => Promise<T>
  /** Sessions in use, waiting callers: for metrics and health. */
  stats: () => { total: number; idle: number; waiting: number }
  close: () => Promise<void>
}

export type DatabaseOptions = {
  url: string
  poolSize: number
  applicationName: string
  /** Who acts where a transaction names nobody: system processes only. Without it such a write is refused. */
  actor?: Actor
  /** Told of transactions that last for more than a second, and of locks that were not had. */
  report?: (event: SlowEvent) => void
  /** For pools whose statements are all by key: never plan again (design rule 23). */
  forceGenericPlan?: boolean
}

/** Names a constant statement; the name is what makes Postgres plan it once per connection. */
export const statement = (name: string, text: string): Statement => ({ name, text })

const INT8_OID = 20
const NUMERIC_OID = 1700
const typeOverrides = new pg.TypeOverrides()
typeOverrides.setTypeParser(INT8_OID, BigInt)
typeOverrides.setTypeParser(NUMERIC_OID, (text) => text)

/** Slonik's own default reads numeric as a float. */
const slonikParsers = [
  { name: 'int8', parse: (text: string) => BigInt(text) },
  { name: 'numeric', parse: (text: string) => text },
  { name: 'timestamptz', parse: (text: string) => new Date(text) },
]

const rowValidator: Interceptor = {
  name: 'row-validator',
  transformRowAsync: async ({ resultParser }, query, row) => {
    if (!resultParser) return row
    const result = await resultParser['~standard'].validate(row)
    if (result.issues) throw new SchemaValidationError(query, row, result.issues)
    return result.value as typeof row
  },
}

export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  // Sessions begin with it. JSON without spaces needs no quoting here.
  const actorOption = options.actor === undefined ? [] : [`-c holdfast.actor=${JSON.stringify(options.actor)}`]
  const slonikSize = Math.max(1, Math.round(options.poolSize * SLONIK_SHARE))
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: options.applicationName,
    max: Math.max(1, options.poolSize - slonikSize),
    connectionTimeoutMillis: POOL_WAIT_MS,
    // A session's plans are worth more than the session: the next one would have to make them all again.
    idleTimeoutMillis: 0,
    types: typeOverrides,
    options: [
      ...actorOption,
      ...PLANS_BY_KEY.map((method) => `-c ${method}=off`),
      ...(options.forceGenericPlan === true ? ['-c plan_cache_mode=force_generic_plan'] : []),
    ].join(' '),
  })
  // An idle session that the server closes is replaced on next use; without a listener it would end the process.
  pool.on('error', () => undefined)
  const slonikUrl = new URL(options.url)
  for (const option of actorOption) slonikUrl.searchParams.set('options', option)
  const slonikPool = await createPool(slonikUrl.href, {
    maxPoolSize: slonikSize,
    connectionTimeout: POOL_WAIT_MS,
    idleTimeout: 'DISABLE_TIMEOUT',
    connectionRetryLimit: 0,
    queryRetryLimit: 0,
    transactionRetryLimit: 0,
    statementTimeout: STATEMENT_TIMEOUT_MS,
    idleInTransactionSessionTimeout: IDLE_IN_TRANSACTION_MS,
    resetConnection: async () => undefined,
    typeParsers: slonikParsers,
    interceptors: [slowInterceptor, rowValidator],
  })
  const watch = createSlowWatch(options.report ?? (() => undefined))
  const slonik = withGate(withSlowWatch(slonikPool, watch, sqlStateOf), slonikSize, POOL_WAIT_MS)
  return {
    sql: slonik,
    run: (query, values) => alone(pool, watch, query, values),
    transaction: (work, { deadline } = {}) => retrying(() => once(pool, watch, work), deadline),
    stats: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    close: async () => {
      watch.close()
      await pool.end()
      await slonik.end()
    },
  }
}

/** A session that fails in any way is not used again. */
async function alone<Row>(
  pool: pg.Pool,
  watch: SlowWatch,
  query: Statement,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  const client = await pool.connect()
  const running = watch.begin()
  running.at(query)
  // A session that ends meanwhile says so here too, besides failing the statement: unheard, it would end the process.
  client.on('error', ignore)
  try {
    const { rows } = await client.query({ ...query, values: [...values] })
    client.release()
    running.end()
    return rows
  } catch (error) {
    client.release(error as Error)
    running.end(sqlStateOf(error))
    throw error
  } finally {
    client.off('error', ignore)
  }
}

const ignore = (): void => undefined

async function once<T>(pool: pg.Pool, watch: SlowWatch, work: (tx: Tx) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  const running = watch.begin()
  let broken: Error | undefined
  let state: string | undefined
  // A session killed between two statements reports it here; the next statement fails and the client is discarded.
  const onError = (error: Error): void => void (broken = error)
  client.on('error', onError)
  try {
    await client.query('begin isolation level read committed')
    const result = await work(txOf(client, running))
    running.at({ name: 'commit', text: '' })
    // Postgres answers the commit of a transaction in which a statement failed by rolling it back.
    const { command } = await client.query('commit')
    if (command !== 'COMMIT') throw new Error('rolled back: a failure within the transaction was swallowed')
    return result
  } catch (error) {
    state = sqlStateOf(error)
    await client.query('rollback').catch((failure: Error) => (broken ??= failure))
    throw error
  } finally {
    client.off('error', onError)
    client.release(broken)
    running.end(state)
  }
}

function txOf(client: pg.PoolClient, running: Running): Tx {
  const tx: Tx = {
    run: async (query, values = []) => {
      running.at(query)
      return (await client.query({ ...query, values: [...values] })).rows
    },
    savepoint: async (work) => {
      await client.query('savepoint part')
      try {
        const result = await work(tx)
        await client.query('release savepoint part')
        return result
      } catch (error) {
        // Where the session is gone this fails too; what the part failed with says more.
        await client.query('rollback to savepoint part; release savepoint part').catch(() => undefined)
        throw error
      }
    },
  }
  return tx
}

/**
 * Runs a transaction again when Postgres says it did nothing, with full jitter, inside the caller's deadline
 * (SR-7.4). A lost connection is never retried here: its commit is ambiguous.
 */
export async function retrying<T>(attempt: () => Promise<T>, deadline = Number.POSITIVE_INFINITY): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await attempt()
    } catch (error) {
      const waitMs = Math.random() * Math.min(BACKOFF_TO_MS, BACKOFF_FROM_MS * 2 ** tried)
      if (tried >= MAX_ATTEMPTS || !RETRYABLE_STATES.has(sqlStateOf(error) ?? '') || Date.now() + waitMs > deadline)
        throw error
      await delay(waitMs)
    }
  }
}

/** The SQLSTATE behind an error of pg or slonik, if Postgres gave one. */
export const sqlStateOf = (error: unknown): string | undefined => databaseErrorOf(error)?.code

/** The constraint that Postgres named behind an error of pg or slonik. */
export const violatedConstraintOf = (error: unknown): string | undefined => databaseErrorOf(error)?.constraint

function databaseErrorOf(error: unknown): pg.DatabaseError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof pg.DatabaseError) return cause
  }
  return undefined
}

/** True when the database, not the request, is what failed: unreachable, restarting, full, or out of time. */
export function isDatabaseDown(error: unknown): boolean {
  const state = sqlStateOf(error)
  if (state !== undefined)
    return /^(08|28|53|57)/.test(state) || RETRYABLE_STATES.has(state) || state === '25P03' || state === '25P04'
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown }
    if (typeof code === 'string' && /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN)/.test(code)) return true
    if (
      /Connection terminated|timeout exceeded when trying to connect|ConnectionError|Client has encountered/.test(
        `${cause.name} ${cause.message}`,
      )
    )
      return true
  }
  return false
}

/** Turns an infrastructure error into the DomainError callers know; anything else is returned unchanged. */
export const databaseFailure = (error: unknown): unknown =>
  isDatabaseDown(error)
    ? new DomainError('DATABASE_UNAVAILABLE', 'The database cannot be reached; try again.', {
        retryAfterMs: RETRY_HINT_MS,
        cause: error,
      })
    : error

/** True when every migration of this build has been applied. */
export async function findSchemaVersion(database: Database): Promise<number> {
  const rows = await database.sql.any(sql.type(z.object({ version: z.number() }))`
    select coalesce(max(version), 0)::int as version from schema_version`)
  return rows[0]?.version ?? 0
}
