// Session settings for every kind of connection: value formats, dead-peer detection, and the answer timeout. A hung
// server or a half-open connection ends a call; it never blocks it.

import type pg from 'pg'
import { cutOnceEnded } from './ended.ts'
import { sqlStateOf } from './sqlstate.ts'

/** A longer wait for a connection answers UNAVAILABLE (SR-9.3). */
export const POOL_WAIT_MS = 1_000
/**
 * Longer than the server's own statement timeout of two seconds, by what the network and a busy process need. If it
 * were shorter, slow answers would be discarded; if longer, a hung server would block its callers.
 */
export const ANSWER_WITHIN_MS = 4_000
/**
 * How long a statement may run on after its call has ended. Then its session is cut off, which costs a new one: more often
 * than a slow statement should need it, callers with short deadlines could ask for that.
 */
const RUN_ON_MS = 250
/** How soon the server notices that a session was cut off, and ends its statement. It looks at the socket only. */
const CLIENT_CHECK_MS = 250
/** Idle time before the kernel probes the peer once a second; it gives up after ten probes. */
const KEEPALIVE_AFTER_MS = 10_000
/** For connections outside a request: migrations and set-up. */
const CONNECT_WITHIN_MS = 10_000
/** The first version whose `returning` can read the old row. */
const OLDEST_SERVER = 18
/** 180004 is 18.4. */
const MINOR_VERSIONS = 10_000
/** The server is read-only. */
const READ_ONLY_STATE = '25006'

/**
 * The formats in which Postgres writes values. Our decoders know these formats only. A server, database or role may
 * have other defaults; the settings of the session override them.
 */
export const VALUE_FORMS: Readonly<Record<string, string>> = {
  datestyle: 'ISO,MDY',
  intervalstyle: 'postgres',
  timezone: 'UTC',
  bytea_output: 'hex',
  extra_float_digits: '1',
  lc_monetary: 'C',
}

/**
 * The isolation level that our statements are written for: at a stricter level, concurrent updates of a row would fail
 * instead of waiting.
 */
const ISOLATION = { default_transaction_isolation: 'read committed' } as const

const CLIENT_CHECK = { client_connection_check_interval: String(CLIENT_CHECK_MS) } as const

export type SessionOptions = {
  url: string
  applicationName: string
  /** Additional settings of the session. */
  settings?: Readonly<Record<string, string>>
}

/**
 * Configuration of every `pg.Client` and `pg.Pool`. Settings in the url's `options` apply unless ours override them.
 */
export function sessionConfig({ url, applicationName, settings = {} }: SessionOptions): pg.ClientConfig {
  const own = new URL(url)
  const given = own.searchParams.get('options')
  // Options in the url would replace the options beside it.
  own.searchParams.delete('options')
  return {
    connectionString: own.href,
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_WITHIN_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_AFTER_MS,
    options: [
      ...(given === null ? [] : [given]),
      ...Object.entries({ ...VALUE_FORMS, ...ISOLATION, ...CLIENT_CHECK, ...settings }).map(
        ([name, value]) => `-c ${name}=${escapeOption(value)}`,
      ),
    ].join(' '),
  }
}

/** The server is older than the statements require. */
export class ServerVersionError extends Error {
  override readonly name = 'ServerVersionError'
}

/** @throws {ServerVersionError} at start, before a statement fails with a syntax error in the middle of something */
export async function assertServerVersion(ask: (text: string) => Promise<pg.QueryResult>): Promise<void> {
  const { rows } = await ask(`select current_setting('server_version_num')::int as number`)
  const [{ number }] = rows as [{ number: number }]
  const major = Math.floor(number / MINOR_VERSIONS)
  if (major < OLDEST_SERVER)
    throw new ServerVersionError(
      `DATABASE_URL: the server is Postgres ${major}, and ${OLDEST_SERVER} or newer is needed: upgrade it first`,
    )
}

/** A space would start the next option. */
const escapeOption = (value: string): string => value.replaceAll(/[\\\s]/g, String.raw`\$&`)

/** The sessions of one database, of both pools. */
export type Sessions = {
  /**
   * Sends one statement. If the answer takes too long, the session is destroyed, and so are the idle ones: they use the
   * same server and network. If the server is read-only, the idle ones are destroyed too.
   * `endsWithCall`: if the call on whose behalf it runs ends, the session is destroyed soon after.
   */
  ask: (client: pg.Client, query: pg.QueryConfig | string, endsWithCall?: boolean) => Promise<pg.QueryResult>
  setIdle: (client: pg.Client, isIdle: boolean) => void
}

/** The answer did not arrive. Whether the statement was executed is unknown. */
class SilentServerError extends Error {
  override readonly name = 'SilentServerError'
  readonly code = 'ETIMEDOUT'
}

/** The call ended while its statement ran. Whether that was executed is unknown; no one waits for it. */
class CallEndedError extends Error {
  override readonly name = 'CallEndedError'
  readonly code = 'ETIMEDOUT'
}

export function createSessions(answerWithinMs: number): Sessions {
  const idle = new Set<pg.Client>()
  const cutIdle = (cause: Error): void => {
    for (const client of idle) {
      // This makes the pools drop the session at once; they would see the closed socket later.
      client.emit('error', cause)
      client.connection.stream.destroy()
    }
  }

  const ask: Sessions['ask'] = async (client, query, endsWithCall = false) => {
    let isWaiting = true
    const cut = (): void => void client.connection.stream.destroy(new CallEndedError('the call ended'))
    const keep = endsWithCall ? cutOnceEnded(cut, RUN_ON_MS) : undefined
    const giveUp = (): void => {
      if (!isWaiting) return
      const cause = new SilentServerError(`no answer within ${answerWithinMs} ms`)
      client.connection.stream.destroy(cause)
      cutIdle(cause)
    }
    // Answers that arrived while this process was busy are read before the check phase.
    const timer = setTimeout(() => setImmediate(giveUp), answerWithinMs)
    try {
      return await client.query(query)
    } catch (error) {
      if (sqlStateOf(error) === READ_ONLY_STATE) cutIdle(error as Error)
      throw error
    } finally {
      isWaiting = false
      clearTimeout(timer)
      keep?.()
    }
  }

  return {
    ask,
    setIdle: (client, isIdle) => void (isIdle ? idle.add(client) : idle.delete(client)),
  }
}
