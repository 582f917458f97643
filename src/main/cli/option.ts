// Options that several commands share, and the parsers of their values.

import { randomUUID } from 'node:crypto'
import { InvalidArgumentError, Option } from 'commander'

/** The largest page that the API gives. */
export const MAX_PAGE = 100

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

export function parseUuid(text: string): string {
  if (UUID.test(text)) return text.toLowerCase()
  throw new InvalidArgumentError('Not a UUID.')
}

/** A whole number, of any size. */
export function parseInteger(text: string): bigint {
  if (/^-?(0|[1-9][0-9]{0,77})$/.test(text)) return BigInt(text)
  throw new InvalidArgumentError('Not a whole number.')
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
  new Option('--expected-version <n>', `only if the ${what} still has this version`).argParser(parseInteger)
