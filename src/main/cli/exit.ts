// Maps failures to the CLI's message and to the exit code that programs act on.

import { ConfigError } from '../../config.ts'
import { isDatabaseDown } from '../../db/connection/pool.ts'
import { DomainError, type FailureKind, type FailureReason } from '../../domain/failure.ts'
import { TransportError } from '../../grpc/client.ts'

export const EXIT = { ok: 0, unexpected: 1, usage: 2, refused: 3, denied: 4, unavailable: 5 } as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export const EXIT_HELP = `Exit codes:
  0  done
  1  verification found a problem; or an internal error (one of the server has an incident id)
  2  wrong usage, or a value that the server does not accept; or verify could not complete
  3  refused: stock, price, or the state of the order or the chain does not allow it
  4  denied: no valid token, or not allowed with it
  5  unavailable or limited: the same command may work later`

/** The command line is invalid; the message says how to correct it. */
export class UsageError extends Error {}
/** Nothing answers at the address used; the message says what to do. */
export class UnavailableError extends Error {}
/** The current state does not allow the command; the message says what to do. */
export class RefusedError extends Error {}
/** Verification found a problem; the findings have been printed. */
export class FoundError extends Error {}
/** There is no verdict: callers must take it neither for success nor for a finding. */
export class UnverifiedError extends Error {}

const CODE_OF_KIND: Readonly<Record<FailureKind, ExitCode>> = {
  invalid: EXIT.usage,
  unauthenticated: EXIT.denied,
  denied: EXIT.denied,
  not_found: EXIT.refused,
  wrong_state: EXIT.refused,
  conflict: EXIT.refused,
  limited: EXIT.unavailable,
  too_large: EXIT.usage,
  deadline: EXIT.unavailable,
  unavailable: EXIT.unavailable,
  unimplemented: EXIT.refused,
  bug: EXIT.unexpected,
}

const CODE_OF_STATUS: Readonly<Record<string, ExitCode>> = {
  UNAUTHENTICATED: EXIT.denied,
  PERMISSION_DENIED: EXIT.denied,
  UNAVAILABLE: EXIT.unavailable,
  DEADLINE_EXCEEDED: EXIT.unavailable,
  RESOURCE_EXHAUSTED: EXIT.unavailable,
}

const ADVICE: Readonly<Partial<Record<FailureReason, string>>> = {
  OUT_OF_STOCK: 'Order fewer units, or add stock: holdfast stock adjust PRODUCT --delta N',
  PRICE_CHANGED: 'Check the price and order again: holdfast product get PRODUCT',
  PRODUCT_UNKNOWN: 'List the products on sale: holdfast product list',
  ORDER_STATUS: "Check the order's status: holdfast order get ORDER",
  ORDER_ON_HOLD: 'Remove the hold first; see: holdfast order get ORDER',
  VERSION_MISMATCH: 'It has changed: read it again, then decide again.',
  STOCK_BELOW_RESERVED: 'Those units are reserved for orders; see: holdfast stock get PRODUCT',
  REFUND_STATUS: 'See how far it is: holdfast refund list --order ORDER',
  REFUND_TOO_LARGE: 'See what was promised before: holdfast refund list --order ORDER',
  IDEMPOTENCY_KEY_REUSED: 'Use a new --key for a new attempt.',
  PERMISSION_DENIED: "Check --role and --user; a customer gets this answer for another customer's order too.",
  CREDENTIALS_INVALID: 'Tokens expire within minutes: get a new one with holdfast token, or leave --token-file out.',
  ADDRESS_POOL_EMPTY: 'The keys process creates more; try again in a moment.',
}

export type Ending = { code: ExitCode; message: string }

/** Converts any failure to a message and an exit code. */
export function endingOf(error: unknown): Ending {
  if (error instanceof DomainError) return { code: codeOf(error), message: describe(error) }
  if (error instanceof TransportError) {
    const code = CODE_OF_STATUS[error.code] ?? EXIT.unexpected
    return { code, message: [`${error.code}: ${error.message}`, ...adviceOn(code, error.message)].join('\n') }
  }
  if (error instanceof UsageError || error instanceof UnverifiedError || error instanceof ConfigError)
    return { code: EXIT.usage, message: error.message }
  if (isDatabaseDown(error)) return { code: EXIT.unavailable, message: unreachable(error) }
  if (error instanceof RefusedError) return { code: EXIT.refused, message: error.message }
  if (error instanceof UnavailableError) return { code: EXIT.unavailable, message: error.message }
  return { code: EXIT.unexpected, message: error instanceof Error ? error.message : 'unknown error' }
}

/** What says when to try again may work then, whatever its kind. */
const codeOf = ({ kind, retryAfterMs }: DomainError): ExitCode =>
  retryAfterMs === undefined ? CODE_OF_KIND[kind] : EXIT.unavailable

function adviceOn(code: ExitCode, message: string): string[] {
  if (code !== EXIT.unavailable) return []
  return [
    /SSL|certificate|altnames/i.test(message)
      ? 'Does the server speak TLS, with a certificate for this address from the CA in HOLDFAST_API_CA_FILE?'
      : 'Is the stack running? Start it with npm start, or name it with --api.',
  ]
}

const unreachable = (error: unknown): string =>
  `Postgres cannot be reached (${error instanceof Error ? error.message : 'unknown error'}): check --database or DATABASE_URL`

function describe(error: DomainError): string {
  const { reason, message, violations, metadata, retryAfterMs } = error
  const details =
    violations.length > 0
      ? violations.map(({ field, description }) => `  ${field}: ${description}`)
      : Object.entries(metadata).map(([name, value]) => `  ${name}: ${value}`)
  const advice = ADVICE[reason]
  return [
    `${reason}: ${message}`,
    ...details,
    ...(advice === undefined ? [] : [advice]),
    ...(retryAfterMs === undefined ? [] : [`Try again in ${Math.ceil(retryAfterMs / 1_000)} s.`]),
  ].join('\n')
}
