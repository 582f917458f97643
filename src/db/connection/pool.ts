// Connections, transactions and value types. Two doors to one database: slonik for everything, and constant
// statements prepared by name for an order's own path (docs/decisions/0003). Both read numeric and int8 exactly.

import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { createPool, SchemaValidationError, sql, type DatabasePool, type Interceptor } from 'slonik'
import { z } from 'zod'
import type { Actor } from '../../domain/audit.ts'
import { createDriver } from './driver.ts'
import { withGate } from './semaphore.ts'
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

/** Slonik's share of a process's connections; the order path has the rest. */
const SLONIK_SHARE = 0.4
const STATEMENT_TIMEOUT_MS = 2_000
const IDLE_IN_TRANSACTION_MS = 5_000
const MAX_ATTEMPTS = 6
const BACKOFF_FROM_MS = 10
const BACKOFF_TO_MS = 1_000
/** A session that is thrown away says goodbye to the server for no longer. */
const GOODBYE_MS = 500

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
  /** How long an answer of the server may take. */
  answerWithinMs?: number
}

/** Names a constant statement; the name is what makes Postgres plan it once per connection. */
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

/** Rejects when the server cannot be reached. */
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
  // It tells of sessions that ended here too, besides failing the call.
  slonikPool.on('error', ignore)
  const watch = createSlowWatch(options.report ?? (() => undefined))
  const slonik = withGate(withSlowWatch(slonikPool, watch, sqlStateOf), slonikSize, POOL_WAIT_MS)
  const door: Door = { pool, sessions, watch }
  return {
    sql: slonik,
    run: (query, values) => alone(door, query, values),
    transaction: (work, { deadline } = {}) => retrying(() => once(door, work), deadline),
    stats: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    close: async () => {
      watch.close()
      await pool.end()
      await slonik.end()
    },
  }
}

const sessionOf = ({ url, applicationName, actor }: DatabaseOptions, settings = {}): pg.ClientConfig => ({
  ...sessionConfig({
    url,
    applicationName,
    settings: { ...(actor !== undefined && { 'holdfast.actor': JSON.stringify(actor) }), ...settings },
  }),
  connectionTimeoutMillis: POOL_WAIT_MS,
  types: typeOverrides,
})

/** An address, a login, a database or a server that is wrong is told at once, not with the first call. */
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
    // A session's plans are worth more than the session: the next one would have to make them all again.
    idleTimeoutMillis: 0,
  })
  // An idle session that the server closes is replaced on next use; without a listener it would end the process.
  pool.on('error', ignore)
  pool.on('acquire', (client) => sessions.setIdle(client, false))
  pool.on('release', (_error, client) => sessions.setIdle(client, true))
  pool.on('remove', (client) => sessions.setIdle(client, false))
  return pool
}

/** What the order path needs of its pool. */
type Door = { pool: pg.Pool; sessions: Sessions; watch: SlowWatch }

async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect()
  } catch (error) {
    throw markUnsent(error)
  }
}

/** A session that fails in any way is not used again. */
async function alone<Row>(
  { pool, sessions, watch }: Door,
  query: Statement,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  const client = await connect(pool)
  const running = watch.begin()
  running.at(query)
  // A session that ends meanwhile says so here too, besides failing the statement: unheard, it would end the process.
  client.on('error', ignore)
  try {
    const { rows } = await sessions.ask(client, { ...query, values: [...values] })
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

async function once<T>({ pool, sessions, watch }: Door, work: (tx: Tx) => Promise<T>): Promise<T> {
  const client = await connect(pool)
  const running = watch.begin()
  let broken: Error | undefined
  let state: string | undefined
  // A session killed between two statements reports it here; the next statement fails and the client is discarded.
  const onError = (error: Error): void => void (broken = error)
  client.on('error', onError)
  const ask: Ask = (query) => sessions.ask(client, query)
  try {
    await ask('begin isolation level read committed')
    const result = await work(txOf(ask, running))
    running.at({ name: 'commit', text: '' })
    // Postgres answers the commit of a transaction in which a statement failed by rolling it back.
    const { command } = await ask('commit')
    if (command !== 'COMMIT') throw new Error('rolled back: a failure within the transaction was swallowed')
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
        // Where the session is gone this fails too; what the part failed with says more.
        await ask('rollback to savepoint part; release savepoint part').catch(() => undefined)
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
      if (tried >= MAX_ATTEMPTS || !isRetryable(error) || Date.now() + waitMs > deadline) throw error
      await delay(waitMs)
    }
  }
}

/** True when every migration of this build has been applied. */
export async function findSchemaVersion(database: Database): Promise<number> {
  const rows = await database.sql.any(sql.type(z.object({ version: z.number() }))`
    select coalesce(max(version), 0)::int as version from schema_version`)
  return rows[0]?.version ?? 0
}
