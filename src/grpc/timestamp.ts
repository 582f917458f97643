// Checks the Timestamps of a request on the wire. Decoding makes a Date of each: it adds nanos of any size, and the sum
// no longer shows that they were out of range.

import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import type { MethodPath } from './method.ts'

const NANOS_FIELD = 2
const MAX_NANOS = 999_999_999

/** Field numbers from a message to a Timestamp in it. */
export type FieldPath = readonly number[]

/** Every Timestamp of every request. schema.test.ts compares this with the descriptors. */
export const REQUEST_TIMESTAMPS: Readonly<Partial<Record<MethodPath, readonly FieldPath[]>>> = {
  '/holdfast.v1.OrderService/ListOrders': [[6], [7]],
  '/holdfast.v1.PaymentAdminService/ListPayments': [
    [1, 8],
    [1, 9],
  ],
}
/** Those of the signed PaymentReport. */
export const REPORT_TIMESTAMPS: readonly FieldPath[] = [[3, 12]]

/** Are the nanos of all these Timestamps 0 to 999,999,999? Throws for bytes that are no message. */
export function hasValidNanos(bytes: Uint8Array, paths: readonly FieldPath[]): boolean {
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag()
    const inside = paths.filter(([first]) => first === field).map(([, ...rest]) => rest)
    if (inside.length === 0 || wireType !== WireType.LengthDelimited) reader.skip(wireType, field)
    else if (!isValidInside(reader.bytes(), inside)) return false
  }
  return true
}

const isValidInside = (bytes: Uint8Array, paths: readonly FieldPath[]): boolean =>
  paths.some(({ length }) => length === 0) ? isTimestampValid(bytes) : hasValidNanos(bytes, paths)

function isTimestampValid(bytes: Uint8Array): boolean {
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag()
    if (field !== NANOS_FIELD || wireType !== WireType.Varint) {
      reader.skip(wireType, field)
      continue
    }
    const nanos = reader.int32()
    if (nanos < 0 || nanos > MAX_NANOS) return false
  }
  return true
}
