// Order ids: deterministic per user and attempt, and not guessable (requirement D-3). A stored id takes precedence, so
// the secret may change.

import { createHmac } from 'node:crypto'
import { contextOf } from './seal.ts'

const UUID_BYTES = 16
const VERSION_BYTE = 6
const VARIANT_BYTE = 8

/** Creates `orderIdOf(userId, idempotencyKey)`: a UUID of version 8. The key is a UUID in upper or lower case. */
export const createOrderIds =
  (secret: Buffer) =>
  (userId: bigint, key: string): string => {
    const attempt = contextOf(['holdfast order id', userId, key.toLowerCase()])
    return uuidOf(createHmac('sha256', secret).update(attempt).digest())
  }

function uuidOf(digest: Buffer): string {
  const bytes = digest.subarray(0, UUID_BYTES)
  bytes.writeUInt8((bytes.readUInt8(VERSION_BYTE) & 0x0f) | 0x80, VERSION_BYTE)
  bytes.writeUInt8((bytes.readUInt8(VARIANT_BYTE) & 0x3f) | 0x80, VARIANT_BYTE)
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
