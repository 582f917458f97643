// Sessions of Postgres, the same for every kind of connection: how values are written, how a dead peer is noticed, and
// how long an answer may take. A hung server or a half-open connection ends a call; it never holds one.

import type pg from 'pg'
import { sqlStateOf } from './sqlstate.ts'

/** A wait for a connection beyond this answers UNAVAILABLE (SR-9.3). */
export const POOL_WAIT_MS = 1_000
/**
 * Above the two seconds after which the server itself ends a statement, by what the network and a busy process take.
 * Lower, and slow answers are thrown away; higher, and a hung server holds its callers.
 */
export const ANSWER_WITHIN_MS = 4_000
/** Then the kernel asks once a second whether the peer is there, and gives up after ten. */
const KEEPALIVE_AFTER_MS = 10_000
/** For connections that wait for nobody: a migration, a set-up. */
const CONNECT_WITHIN_MS = 10_000
/** The first whose `returning` knows the row of before. */
const OLDEST_SERVER = 18
/** 180004 is 18.4. */
const MINOR_VERSIONS = 10_000
/** The server only reads. */
const READ_ONLY_STATE = '25006'

/**
 * How Postgres writes values. What reads them knows these forms only; a server, database or role may be set to others,
 * which a session's own settings override.
 */
export const VALUE_FORMS: Readonly<Record<string, string>> = {
  datestyle: 'ISO,MDY',
  intervalstyle: 'postgres',
  timezone: 'UTC',
  bytea_output: 'hex',
  extra_float_digits: '1',
  lc_monetary: 'C',
}

/** What our statements are written for: at a stricter level, taking turns at a row would fail instead of waiting. */
const ISOLATION = { default_transaction_isolation: 'read committed' } as const

export type SessionOptions = {
  url: string
  applicationName: string
  /** Further settings that the session begins with. */
  settings?: Readonly<Record<string, string>>
}

/** For every `pg.Client` and `pg.Pool`. Settings in the url's `options` hold unless ours say otherwise. */
export function sessionConfig({ url, applicationName, settings = {} }: SessionOptions): pg.ClientConfig {
  const own = new URL(url)
  const given = own.searchParams.get('options')
  // What stands in the url would replace the options beside it.
  own.searchParams.delete('options')
  return {
    connectionString: own.href,
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_WITHIN_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_AFTER_MS,
    options: [
      ...(given === null ? [] : [given]),
      ...Object.entries({ ...VALUE_FORMS, ...ISOLATION, ...settings }).map(
        ([name, value]) => `-c ${name}=${escapeOption(value)}`,
      ),
    ].join(' '),
  }
}

/** The server is older than the statements are written for. */
export class ServerVersionError extends Error {
  override readonly name = 'ServerVersionError'
}

/** @throws {ServerVersionError} before a statement fails in the middle of something, by a syntax error */
export async function assertServerVersion(ask: (text: string) => Promise<pg.QueryResult>): Promise<void> {
  const { rows } = await ask(`select current_setting('server_version_num')::int as number`)
  const [{ number }] = rows as [{ number: number }]
  const major = Math.floor(number / MINOR_VERSIONS)
  if (major < OLDEST_SERVER)
    throw new ServerVersionError(
      `DATABASE_URL: the server is Postgres ${major}, and ${OLDEST_SERVER} or newer is needed: upgrade it first`,
    )
}

/** A space would begin the next option. */
const escapeOption = (value: string): string => value.replaceAll(/[\\\s]/g, String.raw`\$&`)

/** The sessions of one database, of either door. */
export type Sessions = {
  /**
   * Sends one statement. Where the answer is owed for too long, the session is cut, and the idle ones with it: they go
   * to the same server by the same network. A server that only reads loses them too.
   */
  ask: (client: pg.Client, query: pg.QueryConfig | string) => Promise<pg.QueryResult>
  setIdle: (client: pg.Client, isIdle: boolean) => void
}

/** The answer did not come. Whether the statement was carried out is not known. */
class SilentServerError extends Error {
  override readonly name = 'SilentServerError'
  readonly code = 'ETIMEDOUT'
}

export function createSessions(answerWithinMs: number): Sessions {
  const idle = new Set<pg.Client>()
  const cutIdle = (cause: Error): void => {
    for (const client of idle) {
      // By it the pools let go of a session at once; the closing of the socket would be heard later.
      client.emit('error', cause)
      client.connection.stream.destroy()
    }
  }

  async function ask(client: pg.Client, query: pg.QueryConfig | string): Promise<pg.QueryResult> {
    let isWaiting = true
    const giveUp = (): void => {
      if (!isWaiting) return
      const cause = new SilentServerError(`no answer within ${answerWithinMs} ms`)
      client.connection.stream.destroy(cause)
      cutIdle(cause)
    }
    // What came while this process was busy is read before the check phase.
    const timer = setTimeout(() => setImmediate(giveUp), answerWithinMs)
    try {
      return await client.query(query)
    } catch (error) {
      if (sqlStateOf(error) === READ_ONLY_STATE) cutIdle(error as Error)
      throw error
    } finally {
      isWaiting = false
      clearTimeout(timer)
    }
  }

  return {
    ask,
    setIdle: (client, isIdle) => void (isIdle ? idle.add(client) : idle.delete(client)),
  }
}
