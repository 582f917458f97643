// The meaning of database errors: one table of SQLSTATEs, and the driver errors that have none. All readers of database
// errors use it (grpc/status.ts, activities/failure.ts, the relays), so that they agree.

import pg from 'pg'
import { KEY_IN_PROGRESS } from '../../domain/command.ts'
import { DomainError, RETRY_HINT_MS } from '../../domain/failure.ts'

/**
 * down: the server refuses, restarts, is full or read-only: UNAVAILABLE. busy: the server ended this one transaction,
 * which the caller may repeat: UNAVAILABLE. bug: the statement is at fault: INTERNAL, unless the caller of the
 * statement handles it.
 */
type Meaning = {
  outcome: 'down' | 'busy' | 'bug'
  /** The transaction had no effect and may be retried immediately. */
  isRetryable?: true
  /** The server closes the session, or it is unusable: it must be discarded. */
  isSessionSpent?: true
}

export const LOCK_NOT_AVAILABLE = '55P03'
export const STATEMENT_TIMEOUT = '57014'
export const TRANSACTION_TIMEOUT = '25P04'
/** Raised by record_report. */
export const REPORT_CONFLICT_STATE = 'HF036'
/** Raised by record_report. */
export const SOURCE_RETIRED_STATE = 'HF076'
/** Raised by guard_refund for refunds above the money of their order. */
export const REFUND_CEILING_STATE = 'HF042'

/** By SQLSTATE, else by its class: the first two characters. Everything else is a bug. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  // Connection exception.
  '08': { outcome: 'down', isSessionSpent: true },
  // Feature not supported; this includes a prepared statement whose result type a migration has changed.
  '0A': { outcome: 'bug', isSessionSpent: true },
  // Read-only transaction: a standby, or a primary that was demoted. The next session may reach the new primary.
  '25006': { outcome: 'down', isSessionSpent: true },
  // Idle in transaction, or in one transaction, for too long: this process or its host is overloaded.
  '25P03': { outcome: 'busy', isSessionSpent: true },
  [TRANSACTION_TIMEOUT]: { outcome: 'busy', isSessionSpent: true },
  // A prepared statement that the session does not have.
  '26': { outcome: 'bug', isSessionSpent: true },
  // Login rejected: a password is being changed.
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

/** Error codes of the network. */
const NETWORK = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST|ENET)/
/** Messages of pg and slonik, without a code, for lost connections. */
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

/** The SQLSTATE of an error of pg or slonik, if it has one. */
export const sqlStateOf = (error: unknown): string | undefined => databaseErrorOf(error)?.code

/** The constraint of an error of pg or slonik, if Postgres named one. */
export const violatedConstraintOf = (error: unknown): string | undefined => databaseErrorOf(error)?.constraint

/** The detail that one of our functions raised an error with. */
export const errorDetailOf = (error: unknown): string | undefined => databaseErrorOf(error)?.detail

function databaseErrorOf(error: unknown): pg.DatabaseError | undefined {
  for (const cause of causesOf(error)) if (cause instanceof pg.DatabaseError) return cause
  return undefined
}

/** Longest chain of causes that is followed: a chain may be a circle. */
const MAX_CAUSES = 8

/** The error and its causes. */
function* causesOf(error: unknown): Generator<Error> {
  let cause = error
  for (let depth = 0; depth < MAX_CAUSES && Error.isError(cause); depth += 1, cause = cause.cause) yield cause
}

/** True if the server itself fails: unreachable, silent, restarting, full, or a standby. */
export function isDatabaseDown(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === undefined ? isConnectionLost(error) : meaningOf(state).outcome === 'down'
}

/** True if the request is not at fault: the server is down, or it ended one transaction that ran or waited too long. */
export function isDatabaseUnavailable(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === undefined ? isConnectionLost(error) : meaningOf(state).outcome !== 'bug'
}

/**
 * True if the lock that was not available is the row of an idempotency key: another call with this key is running.
 * Postgres names the table in the context of the error.
 */
export const isKeyHeld = (error: unknown): boolean =>
  sqlStateOf(error) === LOCK_NOT_AVAILABLE && /\bidempotency\b/.test(databaseErrorOf(error)?.where ?? '')

/** True if the transaction had no effect and may be retried immediately. The caller repeats one whose key is held. */
export const isRetryable = (error: unknown): boolean =>
  meaningOf(sqlStateOf(error) ?? '').isRetryable === true && !isKeyHeld(error)

/** Errors of acquiring a session: nothing was sent. */
const unsent = new WeakSet<object>()

/** Marks an error as raised before anything was sent, and returns it. */
export function markUnsent(error: unknown): unknown {
  if (typeof error === 'object' && error !== null) unsent.add(error)
  return error
}

/**
 * SQLSTATEs of statements that Postgres rolled back: rejected, cancelled by a timeout, or raised by a function. States
 * that end the session or report a full disk are excluded: they may arrive after the commit was written.
 */
const UNDONE_STATES =
  /^(0A000|2[0-46-8BDF]\w{3}|25006|3[489BDF]\w{3}|40001|40002|40P01|42\w{3}|44000|55\w{3}|57014|HF\w{3}|P0\w{3})$/

/** True if a statement has certainly written nothing, so that its resources are free again. */
export function isUndone(error: unknown): boolean {
  if (typeof error === 'object' && error !== null && unsent.has(error)) return true
  return UNDONE_STATES.test(sqlStateOf(error) ?? '')
}

/** True if the session that raised this error must not be used again. */
export function isSessionSpent(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === undefined ? isConnectionLost(error) : meaningOf(state).isSessionSpent === true
}

function isConnectionLost(error: unknown): boolean {
  for (const cause of causesOf(error)) {
    const { code } = cause as { code?: unknown }
    if (typeof code === 'string' && NETWORK.test(code)) return true
    if (DRIVER.test(`${cause.name} ${cause.message}`)) return true
  }
  return false
}

/** Converts an infrastructure error to the DomainError for callers; returns anything else unchanged. */
export function databaseFailure(error: unknown): unknown {
  // Its cause may be an error of the database: the failure was named where that was known.
  if (error instanceof DomainError) return error
  const detail = { retryAfterMs: RETRY_HINT_MS.outage, cause: error }
  if (isKeyHeld(error))
    return new DomainError(KEY_IN_PROGRESS.reason, KEY_IN_PROGRESS.message, {
      ...detail,
      retryAfterMs: RETRY_HINT_MS.contention,
    })
  if (!isDatabaseUnavailable(error)) return error
  return new DomainError('DATABASE_UNAVAILABLE', 'The database cannot be reached; try again.', detail)
}
