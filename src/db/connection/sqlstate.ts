// What a failure of Postgres means: one table of SQLSTATEs, and the errors of the driver that have none. Every reader of
// a database error asks here (grpc/status.ts, activities/failure.ts, the relays), so that no two of them disagree.

import pg from 'pg'
import { DomainError, RETRY_HINT_MS } from '../../domain/failure.ts'

/**
 * down: the server refuses, restarts, is full or only reads: UNAVAILABLE.
 * busy: the server ended this one transaction, which may be repeated by the caller: UNAVAILABLE.
 * bug: the statement is at fault: INTERNAL, unless the caller of the statement knows better.
 */
type Meaning = {
  outcome: 'down' | 'busy' | 'bug'
  /** The transaction did nothing and may be run again at once. */
  isRetryable?: true
  /** The session is closed by the server, or is worth nothing from now on: it goes to no other caller. */
  isSessionSpent?: true
}

export const LOCK_NOT_AVAILABLE = '55P03'
export const STATEMENT_TIMEOUT = '57014'
export const TRANSACTION_TIMEOUT = '25P04'

/** By SQLSTATE, else by its class: the first two characters. All that is not here is a bug. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  // Connection exception.
  '08': { outcome: 'down', isSessionSpent: true },
  // Feature not supported; among them a prepared statement whose result type a migration has changed.
  '0A': { outcome: 'bug', isSessionSpent: true },
  // Read-only transaction: a standby, or a primary that was demoted. The next session may reach the new primary.
  '25006': { outcome: 'down', isSessionSpent: true },
  // Idle in transaction, or in one transaction, for too long: this process or its neighbours are overloaded.
  '25P03': { outcome: 'busy', isSessionSpent: true },
  [TRANSACTION_TIMEOUT]: { outcome: 'busy', isSessionSpent: true },
  // A prepared statement that the session does not have.
  '26': { outcome: 'bug', isSessionSpent: true },
  // Login refused: a password is being changed.
  '28': { outcome: 'down', isSessionSpent: true },
  // The database does not exist: it is being restored.
  '3D': { outcome: 'down', isSessionSpent: true },
  // Serialisation failure, deadlock, lock not available in time.
  '40001': { outcome: 'busy', isRetryable: true },
  '40P01': { outcome: 'busy', isRetryable: true },
  [LOCK_NOT_AVAILABLE]: { outcome: 'busy', isRetryable: true },
  // Statement completion unknown.
  '40003': { outcome: 'down', isSessionSpent: true },
  // Out of disk, memory or sessions.
  '53': { outcome: 'down' },
  // Statement cancelled or out of time.
  [STATEMENT_TIMEOUT]: { outcome: 'busy' },
  // Operator intervention: shut down, crashed, starting up, database dropped, idle for too long.
  '57': { outcome: 'down', isSessionSpent: true },
  // The server's own disk or files fail.
  '58': { outcome: 'down', isSessionSpent: true },
}
const BUG: Meaning = { outcome: 'bug' }
const CLASS_CHARACTERS = 2

/** What the network says. */
const NETWORK = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST|ENET)/
/** What pg and slonik say, without any code, of connections that are not there. */
const DRIVER = new RegExp(
  [
    'Connection terminated',
    'ConnectionError',
    'Backend has been terminated',
    'timeout exceeded when trying to connect',
    'timeout expired',
    'Client has encountered',
    'Client was closed',
    'Client is (pending destroy|destroyed)',
  ].join('|'),
)

const meaningOf = (state: string): Meaning => MEANINGS[state] ?? MEANINGS[state.slice(0, CLASS_CHARACTERS)] ?? BUG

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

/** True when the server as such fails: unreachable, silent, restarting, full, or a standby. */
export function isDatabaseDown(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === undefined ? isConnectionLost(error) : meaningOf(state).outcome === 'down'
}

/** True when not the request is at fault: the server is down, or it ended one transaction that lasted or waited too long. */
export function isDatabaseUnavailable(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === undefined ? isConnectionLost(error) : meaningOf(state).outcome !== 'bug'
}

/** True when the transaction did nothing and may be run again at once. */
export const isRetryable = (error: unknown): boolean => meaningOf(sqlStateOf(error) ?? '').isRetryable === true

/** Errors of getting a session: nothing was sent by it. */
const unsent = new WeakSet<object>()

/** Notes that an error came before anything was sent, and returns it. */
export function markUnsent(error: unknown): unknown {
  if (typeof error === 'object' && error !== null) unsent.add(error)
  return error
}

/**
 * States with which Postgres answers a statement it has undone: refused, cancelled by its time limit, or raised by a
 * function. Not those that end the session, nor those of a full disk: they may come when the commit is already written.
 */
const UNDONE_STATES =
  /^(0A000|2[0-46-8BDF]\w{3}|25006|3[489BDF]\w{3}|40001|40002|40P01|42\w{3}|44000|55\w{3}|57014|HF\w{3}|P0\w{3})$/

/** True when a statement has certainly written nothing, so that what it was given is free again. */
export function isUndone(error: unknown): boolean {
  if (typeof error === 'object' && error !== null && unsent.has(error)) return true
  return UNDONE_STATES.test(sqlStateOf(error) ?? '')
}

/** True when the session that gave this error must not be used again. */
export function isSessionSpent(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === undefined ? isConnectionLost(error) : meaningOf(state).isSessionSpent === true
}

function isConnectionLost(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown }
    if (typeof code === 'string' && NETWORK.test(code)) return true
    if (DRIVER.test(`${cause.name} ${cause.message}`)) return true
  }
  return false
}

/** Turns an infrastructure error into the DomainError callers know; anything else is returned unchanged. */
export const databaseFailure = (error: unknown): unknown =>
  isDatabaseUnavailable(error)
    ? new DomainError('DATABASE_UNAVAILABLE', 'The database cannot be reached; try again.', {
        retryAfterMs: RETRY_HINT_MS.outage,
        cause: error,
      })
    : error
