// The descriptors of proto/ against the rules of requests: no field without one, however deep it lies.

import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { z } from 'zod'
import {
  findMessage,
  fullOf,
  placesOf,
  requestOf,
  type Kind,
  type Message,
  type Place,
} from '../../test/support/descriptor.ts'
import { sampleOf } from '../../test/support/sample.ts'
import { DomainError } from '../domain/failure.ts'
import { ListOrdersRequest } from './gen/holdfast/v1/order.ts'
import { METHODS, type MethodPath } from './method.ts'
import { PAYMENT_REPORT } from './report.ts'
import { SCHEMAS } from './schema.ts'
import { hasValidNanos, REPORT_TIMESTAMPS, REQUEST_TIMESTAMPS } from './timestamp.ts'
import { parseMessage } from './validate.ts'

/** What the rule of a field of each type must refuse. */
const HOSTILE: Readonly<Record<Kind, readonly unknown[]>> = {
  string: [
    ...[
      'a\u0000b',
      'a\u001b[31mb',
      'a\ufffdb',
      'a\u202eb',
      'a\u{e0041}b',
      'a\u00adb',
      'e\u0301',
      '\ud800',
      ' ',
      '\u3164',
    ],
    ...['x'.repeat(65_536), '茶'.repeat(20_000), null, 7, {}, ['x']],
  ],
  int32: [-1, -(2 ** 31), 0.5, Number.NaN, '1', null],
  int64: [-(2n ** 63n), 2n ** 63n, 1, '1', null],
  bool: [1, 'true', null],
  bytes: ['text', [1], null],
  enum: [-1, 9_999, '1', null],
  timestamp: [
    ...[new Date(Number.NaN), new Date('0000-12-31T23:59:59.999Z'), new Date('-004714-01-01T00:00:00Z')],
    ...[new Date('+010000-01-01T00:00:00Z'), new Date(8.64e15), '2026-01-01T00:00:00Z', 0, null],
  ],
  list: [Array.from({ length: 32_000 }, () => ({})), {}, null],
  oneof: [undefined, null, {}, { $case: 'other', value: 1n }, { $case: '__proto__', value: 1n }],
  message: [],
}

const CASES: readonly { path: string; schema: z.ZodType; places: Place[]; full: Message }[] = [
  ...METHODS.map(({ path }) => ({ path, schema: SCHEMAS[path as MethodPath] as z.ZodType, message: requestOf(path) })),
  { path: 'PaymentReport', schema: PAYMENT_REPORT, message: findMessage('holdfast.v1.PaymentReport') },
].map(({ path, schema, message }) => ({
  path,
  schema,
  places: placesOf(message, sampleOf),
  full: fullOf(message, sampleOf),
}))

/** The failure of a message that breaks a rule. */
function failureOf(schema: z.ZodType, message: unknown): DomainError | undefined {
  try {
    parseMessage(schema, message)
    return undefined
  } catch (error) {
    if (!(error instanceof DomainError)) throw error
    return error
  }
}

/** The fields that break a rule. */
const brokenBy = (schema: z.ZodType, message: unknown): string[] =>
  failureOf(schema, message)?.violations.map(({ field }) => field) ?? []

/** A rule that a caller can follow has bounds, the allowed values or characters, or says what goes with what. */
const RULE = /^must .*(?:\d|one of |: |given|\bnot\b|without|contain|above zero|form C|UUID|next_cursor|true)/
const NO_RULE = /\b(?:invalid|wrong|known)\b/i

describe.each(CASES)('$path', ({ schema, places, full }) => {
  test('has a rule for every field, and takes a message with all of them', () => {
    expect(brokenBy(schema, full)).toEqual([])
    // One after another, so that each member of a oneof has its turn.
    const single = places.filter(({ kind }) => kind !== 'list' && kind !== 'oneof')
    for (const place of single) expect(brokenBy(schema, place.put(sampleOf(place.name)))).toEqual([])
  })

  test('refuses at each field what its type does not rule out', () => {
    const accepted = places.flatMap((place) =>
      HOSTILE[place.kind]
        .filter((value) => !brokenBy(schema, place.put(value)).some((field) => field.startsWith(place.path)))
        .map((value) => `${place.path}: ${String(value).slice(0, 20)}`),
    )
    expect(accepted).toEqual([])
  })

  test('says at each refusal what the rule is, first of all in the message', () => {
    const failures = places.flatMap((place) =>
      HOSTILE[place.kind].map((value) => failureOf(schema, place.put(value))).filter((each) => each !== undefined),
    )
    const texts = failures.flatMap(({ violations }) => violations.map(({ description }) => description))
    expect([...new Set(texts)].filter((text) => !RULE.test(text) || NO_RULE.test(text))).toEqual([])
    for (const { message, violations } of failures) {
      const [first] = violations
      expect(message.startsWith(`${first?.field || 'message'}: ${first?.description}`)).toBe(true)
    }
  })

  test('never throws but for a field, whatever several fields hold', () => {
    const hostile = Object.values(HOSTILE).flat()
    const other = fc.oneof(fc.constantFrom(...hostile), fc.anything(), fc.bigInt(), fc.string())
    const keys = Object.keys(full)
    if (keys.length === 0) return
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(places.length - 1), other), { maxLength: 5 }), (changes) => {
        const merged = changes.reduce<Message>((message, [at, value]) => {
          const changed = places[at]?.put(value) ?? {}
          return Object.assign(
            {},
            message,
            ...keys.filter((key) => changed[key] !== full[key]).map((key) => ({ [key]: changed[key] })),
          )
        }, full)
        expect(Array.isArray(brokenBy(schema, merged))).toBe(true)
      }),
      { numRuns: 200 },
    )
  })
})

test('no request has a field for a card: payment is in coins', () => {
  const names = CASES.flatMap(({ places }) => places.map(({ name }) => name))
  expect(names.length).toBeGreaterThan(50)
  expect(names.filter((name) => /card|^pan$|cvv|cvc|iban/i.test(name))).toEqual([])
})

describe('the times of a request', () => {
  const timesIn = (message: Parameters<typeof placesOf>[0]) =>
    placesOf(message, sampleOf).flatMap(({ kind, numbers }) => (kind === 'timestamp' ? [numbers] : []))

  test('are all known to the check of their nanos', () => {
    const found = METHODS.map(({ path }) => [path, timesIn(requestOf(path))] as const)
    expect(REQUEST_TIMESTAMPS).toEqual(Object.fromEntries(found.filter(([, times]) => times.length > 0)))
    expect(REPORT_TIMESTAMPS).toEqual(timesIn(findMessage('holdfast.v1.PaymentReport')))
  })

  /** ListOrdersRequest with these bytes as the Timestamp of field 6. */
  const withTime = (...timestamp: number[]): Buffer => Buffer.from([0x32, timestamp.length, ...timestamp])
  test.each<[string, Buffer, boolean]>([
    ['none', Buffer.of(), true],
    ['no nanos', withTime(0x08, 0x01), true],
    ['the most nanos', withTime(0x10, 0xff, 0x93, 0xeb, 0xdc, 0x03), true],
    ['one more', withTime(0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03), false],
    ['negative nanos', withTime(0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), false],
    ['the last of two', Buffer.concat([withTime(0x08, 0x01), withTime(0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03)]), false],
    [
      'behind other fields',
      Buffer.concat([
        ListOrdersRequest.encode(ListOrdersRequest.create({ cursor: 'a', userId: 7n })).finish(),
        withTime(0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03),
      ]),
      false,
    ],
  ])('are looked at: %s', (_name, bytes, isValid) => {
    expect(hasValidNanos(bytes, REQUEST_TIMESTAMPS['/holdfast.v1.OrderService/ListOrders'] ?? [])).toBe(isValid)
  })

  test('are found inside the observations of a report', () => {
    const observation = [0x62, 0x06, 0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03]
    expect(hasValidNanos(Buffer.from([0x1a, observation.length, ...observation]), REPORT_TIMESTAMPS)).toBe(false)
    expect(hasValidNanos(Buffer.from([0x1a, 0x04, 0x62, 0x02, 0x08, 0x01]), REPORT_TIMESTAMPS)).toBe(true)
  })
})
