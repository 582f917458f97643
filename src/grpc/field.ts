// Validation rules of request fields. Each rule has an error text for the caller that never contains the value, and
// returns the domain's type.

import { z } from 'zod'
import { parseFiat, parseUnits } from '../domain/money.ts'
import { ASSETS, type Asset } from '../domain/payment.ts'
import { MAX_QUANTITY_PER_LINE, PRODUCT_ID_PATTERN } from '../domain/stock.ts'
import type { Codec } from './enum.ts'

export const MAX_ADDRESS_CHARACTERS = 500
export const MAX_INT64 = 2n ** 63n - 1n
const MAX_INT32 = 2 ** 31 - 1
const MAX_LIMIT = 100
const DEFAULT_LIMIT = 20
const MAX_OFFSET = 10_000
const MAX_CURSOR_CHARACTERS = 256

/** Control characters except line feed, the replacement character of decoders, and marks that hide or reorder text. */
const UNPRINTABLE = /[\p{Cc}\ufffd\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/u
const HTML_TAG = /<[^<>]*>|&(?:lt|gt|#0*6[02]|#x0*3[ce]);/giu

/** Text of 1 to `max` code points, in NFC. */
export function text(max: number, { isMultiline = false } = {}) {
  const isPrintable = (value: string): boolean => !UNPRINTABLE.test(isMultiline ? value.replaceAll('\n', '') : value)
  return (
    z
      .string()
      // A code point has at most two UTF-16 units, so longer values need not be counted.
      .refine((value) => value !== '' && value.length <= 2 * max && Array.from(value).length <= max, {
        error: `must have 1 to ${max} characters`,
        abort: true,
      })
      .refine(isPrintable, { error: 'must not contain control or invisible characters', abort: true })
      .refine((value) => value.normalize('NFC') === value, 'must be in Unicode normalization form C')
  )
}

/** Free text without HTML tags. Tags are removed until none is left, however they are nested or encoded. */
export const shippingAddress = text(MAX_ADDRESS_CHARACTERS, { isMultiline: true })
  .transform(stripTags)
  .refine((value) => value !== '', 'must contain more than HTML tags')

function stripTags(value: string): string {
  const stripped = value.replaceAll(HTML_TAG, '')
  return stripped === value ? value.trim() : stripTags(stripped)
}

/** UUIDs in one spelling only, so that equal requests have equal hashes. */
export const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
export const uuid = z.string().regex(UUID_PATTERN, 'must be a UUID in lower case')

export const productId = z
  .string()
  .regex(
    PRODUCT_ID_PATTERN,
    'must be 1 to 64 letters, digits, dots, underscores or dashes, and begin with a letter or digit',
  )

export const userId = z.bigint().refine((id) => id > 0n && id <= MAX_INT64, 'must be a positive number')

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
  context.addIssue('must be a plain decimal number with at most two places')
  return z.NEVER
})

/** Base units of a coin, more than zero. */
export const units = z.string().transform((value, context) => {
  const amount = parseUnits(value)
  if (amount !== undefined && amount > 0n) return amount
  context.addIssue('must be a whole number of base units above zero')
  return z.NEVER
})

export const asset = z
  .string()
  .refine(
    (value): value is Asset => (ASSETS as readonly string[]).includes(value),
    `must be one of ${ASSETS.join(', ')}`,
  )

/** Proto enums are open: an unknown number is rejected. */
export function word<Word extends string>(codec: Codec<Word, number>) {
  return z.number().transform((code, context) => {
    const found = codec.wordOf(code)
    if (found !== undefined) return found
    context.addIssue('is not a known value')
    return z.NEVER
  })
}

/** The same, where the unspecified value means "any". */
export function wordOrAny<Word extends string>(codec: Codec<Word, number>) {
  return z.union([z.literal(0).transform(() => undefined), word(codec)], { error: 'is not a known value' })
}

/** A protobuf timestamp out of range becomes an Invalid Date, which zod rejects too. */
export const instant = z.date('must be a valid time')

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
