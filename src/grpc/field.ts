// Validation rules of request fields. Each rule has an error text for the caller that never contains the value, and
// returns the domain's type.

import { z } from 'zod'
import { UUID_PATTERN } from '../domain/identifier.ts'
import { parseFiat, parseUnits } from '../domain/money.ts'
import { ASSETS } from '../domain/payment.ts'
import { MAX_QUANTITY_PER_LINE, PRODUCT_ID_PATTERN } from '../domain/stock.ts'
import type { Codec } from './enum.ts'
import { plainText } from './text.ts'

export const MAX_ADDRESS_CHARACTERS = 500
export const MAX_INT64 = 2n ** 63n - 1n
const MAX_INT32 = 2 ** 31 - 1
const MAX_LIMIT = 100
const DEFAULT_LIMIT = 20
const MAX_OFFSET = 10_000
const MAX_CURSOR_CHARACTERS = 256

/** Where the goods go. Line breaks are allowed, HTML tags are removed. */
export const shippingAddress = plainText(MAX_ADDRESS_CHARACTERS, { isMultiline: true })

export const uuid = z.string().regex(UUID_PATTERN, 'must be a UUID in lower case')

export const productId = z
  .string()
  .regex(
    PRODUCT_ID_PATTERN,
    'must be 1 to 64 letters, digits, dots, underscores or dashes, and begin with a letter or digit',
  )

export const userId = z.bigint().refine((id) => id > 0n && id <= MAX_INT64, `must be 1 to ${MAX_INT64}`)

/**
 * A repeated field. Its length is checked before its entries are: the 64 KiB of a request hold 32,000 empty entries,
 * and each of them could break several rules.
 */
export const listOf = <Entry extends z.ZodType>(entry: Entry, max: number, { min = 1 }: { min?: number } = {}) =>
  z
    .array(z.unknown())
    .refine((entries) => entries.length >= min && entries.length <= max, {
      error: `must have ${min} to ${max} entries`,
      abort: true,
    })
    .pipe(z.array(entry))

export const lineQuantity = whole(1, MAX_QUANTITY_PER_LINE)

/** An integer of a 32-bit field. */
export function whole(min: number, max: number = MAX_INT32) {
  return z
    .number()
    .refine((value) => Number.isInteger(value) && value >= min && value <= max, `must be ${min} to ${max}`)
}

/** An integer of a 64-bit field. */
export function whole64(min: bigint, max: bigint) {
  return z.bigint().refine((value) => value >= min && value <= max, `must be ${min} to ${max}`)
}

/** "12.5" -> 1250n. */
export const fiat = z.string().transform((value, context) => {
  const minor = parseFiat(value)
  if (minor !== undefined) return minor
  context.addIssue('must be a plain decimal number with at most 12 digits and two places')
  return z.NEVER
})

/** Base units of a coin, more than zero. */
export const units = z.string().transform((value, context) => {
  const amount = parseUnits(value)
  if (amount !== undefined && amount > 0n) return amount
  context.addIssue('must be a whole number of base units above zero')
  return z.NEVER
})

export const asset = z.enum(ASSETS, `must be one of ${ASSETS.join(', ')}`)

/** Proto enums are open: an unknown number is rejected. */
export function word<Word extends string>(codec: Codec<Word, number>) {
  return z.number().transform((code, context) => {
    const found = codec.wordOf(code)
    if (found !== undefined) return found
    context.addIssue(`must be one of ${codec.names.join(', ')}`)
    return z.NEVER
  })
}

/** The same, where the unspecified value means "any". */
export function wordOrAny<Word extends string>(codec: Codec<Word, number>) {
  return z.union([z.literal(0).transform(() => undefined), word(codec)], {
    error: `must be absent or one of ${codec.names.join(', ')}`,
  })
}

/** The range of google.protobuf.Timestamp. Postgres knows no time before 4714 BC, and writes years of four digits. */
const FIRST_INSTANT_MS = Date.parse('0001-01-01T00:00:00Z')
const LAST_INSTANT_MS = Date.parse('9999-12-31T23:59:59.999Z')

/** A timestamp beyond JavaScript's range becomes an Invalid Date, which zod rejects too. */
export const instant = z
  .date('must be a time in the years 1 to 9999')
  .refine((value) => value.getTime() >= FIRST_INSTANT_MS && value.getTime() <= LAST_INSTANT_MS, {
    error: 'must be a time in the years 1 to 9999',
    abort: true,
  })

/** The version that the caller read. JavaScript must count it exactly. */
export const expectedVersion = whole64(1n, BigInt(Number.MAX_SAFE_INTEGER)).transform(Number).optional()

/** Fields of every request for a page; use them together with `hasOnePosition`. */
export const page = {
  limit: whole(1, MAX_LIMIT).default(DEFAULT_LIMIT),
  offset: whole(0, MAX_OFFSET).default(0),
  cursor: z
    .string()
    .max(MAX_CURSOR_CHARACTERS, 'must be the next_cursor of an earlier page')
    .regex(/^[A-Za-z0-9_-]*$/, 'must be the next_cursor of an earlier page'),
}
export type Page = { limit: number; offset: number; cursor: string }

export const hasOnePosition = (value: { offset: number; cursor: string }): boolean =>
  value.offset === 0 || value.cursor === ''
export const ONE_POSITION = { error: 'must not be given together with cursor', path: ['offset'] }
