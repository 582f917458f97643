// Connections, transactions and value types. Each process has two pools for one database: slonik for everything, and
// prepared constant statements for the order path (docs/decisions/0003). Both read numeric and int8 exactly.

import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { createPool, SchemaValidationError, sql, type DatabasePool, type Interceptor } from 'slonik'
import { z } from 'zod'
import type { Actor } from '../../domain/audit.ts'
import { createDriver } from './driver.ts'
import { assertNotEnded } from './ended.ts'
import { withSemaphore } from './semaphore.ts'
import {
  ANSWER_WITHIN_MS,
  assertServerVersion,
  createSessions,
  POOL_WAIT_MS,
  sessionConfig,
  type Sessions,
} from './session.ts'
import {
  createSlowWatch,
  slowInterceptor,
  withSlowWatch,
  type Running,
  type SlowEvent,
  type SlowWatch,
} from './slow.ts'
import { isRetryable, isSessionSpent, markUnsent, sqlStateOf } from './sqlstate.ts'

export {
  databaseFailure,
  isDatabaseDown,
  isDatabaseUnavailable,
  isUndone,
  sqlStateOf,
  violatedConstraintOf,
} from './sqlstate.ts'

/** Slonik's share of a process's connections; the rest is for the order path. */
const SLONIK_SHARE = 0.4
const STATEMENT_TIMEOUT_MS = 2_000
const IDLE_IN_TRANSACTION_MS = 5_000
const MAX_ATTEMPTS = 6
const BACKOFF_FROM_MS = 10
const BACKOFF_TO_MS = 1_000
/** How long a discarded session may take to close properly. */
const GOODBYE_MS = 500

/**
 * The order path finds every row by a key. A plan that scans a table may look cheap while the table is small or has no
 * statistics, and a prepared statement would keep it while the table grows.
 */
const PLANS_BY_KEY = [
  'enable_seqscan',
  'enable_bitmapscan',
  'enable_hashjoin',
  'enable_mergejoin',
  'enable_material',
  'jit',
]

export type Statement = { name: string; text: string }
export type Tx = {
  run: <Row>(statement: Statement, values?: readonly unknown[]) => Promise<Row[]>
  /**
   * Savepoint for an optional part: when it rejects, only that part is rolled back. A caller that can continue without
   * it catches the error. One at a time.
   */
  savepoint: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
}

export type Database = {
  /** For everything outside the order path. */
  sql: DatabasePool
  /** One prepared statement in a transaction of its own. */
  run: Tx['run']
  /** Runs `work` in one READ COMMITTED transaction. It must use nothing but `tx`, since it may be run again. */
  transaction: <T>(work: (tx: Tx) => Promise<T>, options?: { deadline?: number }) => Promise<T>
  /** Session counts and waiting callers, for metrics and health. */
  stats: () => { total: number; idle: number; waiting: number }
  close: () => Promise<void>
}

export type DatabaseOptions = {
  url: string
  poolSize: number
  applicationName: string
  /** The actor of transactions that set none: for system processes only. Without it such a write is rejected. */
  actor?: Actor
  /** The source whose rows of the watchers' tables the sessions read and write (own_source). Without it they write none. */
  source?: string
  /** Called for transactions of more than a second, and for lock waits that timed out. */
  report?: (event: SlowEvent) => void
  /** For pools whose statements all search by key: always use the generic plan (design rule 23). */
  forceGenericPlan?: boolean
  /** Answer timeout of the server. */
  answerWithinMs?: number
  /** How long a call waits for a session, a new one or one that is taken. */
  poolWaitMs?: number
}

/** Defines a named constant statement; the name makes Postgres plan it once per connection. */
export const statement = (name: string, text: string): Statement => ({ name, text })

const { INT8, NUMERIC } = pg.types.builtins
const typeOverrides = new pg.TypeOverrides()
typeOverrides.setTypeParser(INT8, BigInt)
typeOverrides.setTypeParser(NUMERIC, (text) => text)

const rowValidator: Interceptor = {
  name: 'row-validator',
  transformRowAsync: async ({ resultParser }, query, row) => {
    if (!resultParser) return row
    const result = await resultParser['~standard'].validate(row)
    if (result.issues) throw new SchemaValidationError(query, row, result.issues)
    return result.value as typeof row
  },
}

/** Opens both pools. Rejects if the server cannot be reached. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const slonikSize = Math.max(1, Math.round(options.poolSize * SLONIK_SHARE))
  const sessions = createSessions(options.answerWithinMs ?? ANSWER_WITHIN_MS)
  await reach(sessionOf(options), sessions)
  const pool = openPool(options, Math.max(1, options.poolSize - slonikSize), sessions)
  const slonikPool = await createPool(options.url, {
    driverFactory: createDriver(
      {
        ...sessionOf(options),
        statement_timeout: STATEMENT_TIMEOUT_MS,
        idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
      },
      sessions,
    ),
    maxPoolSize: slonikSize,
    idleTimeout: 'DISABLE_TIMEOUT',
    gracefulTerminationTimeout: GOODBYE_MS,
    connectionRetryLimit: 0,
    queryRetryLimit: 0,
    transactionRetryLimit: 0,
    resetConnection: async () => undefined,
    interceptors: [slowInterceptor, rowValidator],
  })
  // The pool also emits the errors of sessions whose calls already fail.
  slonikPool.on('error', ignore)
  const watch = createSlowWatch(options.report ?? (() => undefined))
  const slonik = withSemaphore(
    withSlowWatch(slonikPool, watch, sqlStateOf),
    slonikSize,
    options.poolWaitMs ?? POOL_WAIT_MS,
  )
  const orderPath: OrderPath = { pool, sessions, watch }
  return {
    sql: slonik,
    run: (query, values) => alone(orderPath, query, values),
    transaction: (work, { deadline } = {}) => retrying(() => once(orderPath, work), deadline),
    stats: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    close: async () => {
      watch.close()
      await pool.end()
      await slonik.end()
    },
  }
}

const sessionOf = (
  { url, applicationName, actor, source, poolWaitMs = POOL_WAIT_MS }: DatabaseOptions,
  settings = {},
): pg.ClientConfig => ({
  ...sessionConfig({
    url,
    applicationName,
    settings: {
      ...(actor !== undefined && { 'holdfast.actor': JSON.stringify(actor) }),
      ...(source !== undefined && { 'holdfast.source': source }),
      ...settings,
    },
  }),
  connectionTimeoutMillis: poolWaitMs,
  types: typeOverrides,
})

/** Connects once, so that a wrong address, login, database or server fails now and not at the first call. */
async function reach(config: pg.ClientConfig, { ask }: Sessions): Promise<void> {
  const client = new pg.Client(config)
  client.on('error', ignore)
  await client.connect()
  try {
    await assertServerVersion((text) => ask(client, text))
  } finally {
    await client.end()
  }
}

function openPool(options: DatabaseOptions, max: number, sessions: Sessions): pg.Pool {
  const pool = new pg.Pool({
    ...sessionOf(options, {
      ...Object.fromEntries(PLANS_BY_KEY.map((method) => [method, 'off'])),
      ...(options.forceGenericPlan === true && { plan_cache_mode: 'force_generic_plan' }),
    }),
    max,
    // Sessions are kept when idle: a new one would have to plan all statements again.
    idleTimeoutMillis: 0,
  })
  // An idle session that the server closes is replaced at the next use; an error without a listener would end the
  // process.
  pool.on('error', ignore)
  pool.on('acquire', (client) => sessions.setIdle(client, false))
  pool.on('release', (_error, client) => sessions.setIdle(client, true))
  pool.on('remove', (client) => sessions.setIdle(client, false))
  return pool
}

/** The pool of the order path and its guards. */
type OrderPath = { pool: pg.Pool; sessions: Sessions; watch: SlowWatch }

async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  let client: pg.PoolClient | undefined
  try {
    client = await pool.connect()
    assertNotEnded()
    return client
  } catch (error) {
    client?.release()
    throw markUnsent(error)
  }
}

/** Runs one statement. A session that fails in any way is discarded. */
async function alone<Row>(
  { pool, sessions, watch }: OrderPath,
  query: Statement,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  const client = await connect(pool)
  const running = watch.begin()
  running.at(query)
  // The client also emits the error of a session that ends during the statement; an error without a listener would end
  // the process.
  client.on('error', ignore)
  try {
    const { rows } = await sessions.ask(client, { ...query, values: [...values] }, true)
    client.release()
    running.end()
    return rows as Row[]
  } catch (error) {
    client.release(error as Error)
    running.end(sqlStateOf(error))
    throw error
  } finally {
    client.off('error', ignore)
  }
}

const ignore = (): void => undefined

async function once<T>({ pool, sessions, watch }: OrderPath, work: (tx: Tx) => Promise<T>): Promise<T> {
  const client = await connect(pool)
  const running = watch.begin()
  let broken: Error | undefined
  let state: string | undefined
  // The error of a session killed between two statements; the next statement fails and the client is discarded.
  const onError = (error: Error): void => void (broken = error)
  client.on('error', onError)
  const ask: Ask = (query) => sessions.ask(client, query)
  try {
    await ask('begin isolation level read committed')
    const result = await work(txOf(ask, running))
    running.at({ name: 'commit', text: '' })
    // Postgres answers a commit with ROLLBACK if a statement of the transaction failed.
    const { command } = await ask('commit')
    if (command !== 'COMMIT') throw new Error('rolled back: an error within the transaction was ignored')
    return result
  } catch (error) {
    state = sqlStateOf(error)
    if (isSessionSpent(error)) broken ??= error as Error
    if (broken === undefined) await ask('rollback').catch((failure: Error) => (broken = failure))
    throw error
  } finally {
    client.off('error', onError)
    client.release(broken)
    running.end(state)
  }
}

type Ask = (query: pg.QueryConfig | string) => Promise<pg.QueryResult>

function txOf(ask: Ask, running: Running): Tx {
  const tx: Tx = {
    run: async (query, values = []) => {
      running.at(query)
      return (await ask({ ...query, values: [...values] })).rows
    },
    savepoint: async (work) => {
      await ask('savepoint part')
      try {
        const result = await work(tx)
        await ask('release savepoint part')
        return result
      } catch (error) {
        // This fails too if the session is gone; the error of the part is more useful.
        await ask('rollback to savepoint part; release savepoint part').catch(() => undefined)
        throw error
      }
    },
  }
  return tx
}

/**
 * Retries a transaction that had no effect according to Postgres, with full jitter, until the caller's deadline
 * (SR-7.4). A lost connection is never retried here: whether its commit happened is unknown.
 */
export async function retrying<T>(attempt: () => Promise<T>, deadline = Number.POSITIVE_INFINITY): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await attempt()
    } catch (error) {
      const waitMs = Math.random() * Math.min(BACKOFF_TO_MS, BACKOFF_FROM_MS * 2 ** tried)
      if (tried >= MAX_ATTEMPTS || !isRetryable(error) || Date.now() + waitMs > deadline) throw error
      await delay(waitMs)
    }
  }
}

/** The newest migration applied to the database. */
export async function findSchemaVersion(database: Database): Promise<number> {
  const rows = await database.sql.any(sql.type(z.object({ version: z.number() }))`
    select coalesce(max(version), 0)::int as version from schema_version`)
  return rows[0]?.version ?? 0
}
