// Options that several commands share, and the parsers of their values.

import { randomUUID } from 'node:crypto'
import { InvalidArgumentError, Option } from 'commander'
import { ADDRESS_RULE, isAddress } from '../../domain/deployment.ts'
import { UUID_PATTERN } from '../../domain/identifier.ts'
import { UsageError } from './exit.ts'

/** The largest page that the API gives. */
export const MAX_PAGE = 100

export function parseUuid(text: string): string {
  const lower = text.toLowerCase()
  if (UUID_PATTERN.test(lower)) return lower
  throw new InvalidArgumentError('Not a UUID.')
}

/** A whole number, of any size. */
export function parseInteger(text: string): bigint {
  if (/^-?(0|[1-9][0-9]{0,77})$/.test(text)) return BigInt(text)
  throw new InvalidArgumentError('Not a whole number.')
}

const INT64_MAX = 2n ** 63n - 1n

/** A whole number that the API's 64-bit fields can hold. */
export function parseInt64(text: string): bigint {
  const value = parseInteger(text)
  if (value >= -INT64_MAX && value <= INT64_MAX) return value
  throw new InvalidArgumentError('Too large.')
}

/** A whole number above zero, such as a version or an id. */
export function parsePositive(text: string): bigint {
  const value = parseInt64(text)
  if (value > 0n) return value
  throw new InvalidArgumentError('Not a positive whole number.')
}

/** host:port, and the forms of gRPC with a scheme. */
export function parseAddress(text: string): string {
  if (isAddress(text)) return text
  throw new InvalidArgumentError(`It ${ADDRESS_RULE}.`)
}

/**
 * The password comes from the environment or a file: every user of a machine can read command lines. Not an error of
 * commander, which would print the value.
 */
export function parseDatabaseUrl(text: string): string {
  if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text))
    throw new UsageError('--database is not a postgres:// URL')
  const url = new URL(text)
  if (url.password === '' && !url.searchParams.has('password')) return text
  throw new UsageError('--database has a password: set it by DATABASE_PASSWORD_FILE, or the whole URL by DATABASE_URL')
}

/** A whole number within bounds. */
export const countArgument =
  (from: number, to: number) =>
  (text: string): number => {
    const value = parseInteger(text)
    if (value >= BigInt(from) && value <= BigInt(to)) return Number(value)
    throw new InvalidArgumentError(`Not from ${from} to ${to}.`)
  }

/** The idempotency key of this attempt: a command that failed in transport can be repeated safely with the same key. */
export const keyOption = (): Option =>
  new Option('--key <uuid>', 'idempotency key of this attempt').argParser(parseUuid).default(randomUUID(), 'a new one')

export const versionOption = (what: string): Option =>
  new Option('--expected-version <n>', `only if the ${what} still has this version`).argParser(parsePositive)
