// Page cursors: the place of a page's last row with an HMAC over the place and its context (caller, method, filter).
// Every process with the same secret reads them. A cursor is proof that the server made it, and grants nothing.

import { createHmac, timingSafeEqual } from 'node:crypto'
import { expandKey } from './derive.ts'
import { contextOf } from './seal.ts'

/** The secret has other uses: this purpose gives cursors a key of their own. */
const PURPOSE = Buffer.from('holdfast page cursor 1')
const NO_SALT = Buffer.alloc(0)
/** 128 bits cannot be guessed, and keep a cursor short. */
const TAG_BYTES = 16

export type CursorSeal = {
  /** The cursor for a place, base64url. One place has one cursor per context. */
  sealPlace: (place: string, context: readonly string[]) => string
  /** The place; undefined for a cursor that was forged, altered or made for another context. */
  openPlace: (cursor: string, context: readonly string[]) => string | undefined
}

export function createCursorSeal(secret: Buffer): CursorSeal {
  const key = expandKey(secret, NO_SALT, PURPOSE)
  const sealPlace = (place: string, context: readonly string[]): string => {
    const mac = createHmac('sha256', key)
      .update(contextOf([place, ...context]))
      .digest()
    return Buffer.concat([mac.subarray(0, TAG_BYTES), Buffer.from(place)]).toString('base64url')
  }
  return {
    sealPlace,
    openPlace: (cursor, context) => {
      const place = Buffer.from(cursor, 'base64url').subarray(TAG_BYTES).toString()
      // The texts are compared, not the bytes: base64 has several spellings of one value, and one is right.
      return isSame(cursor, sealPlace(place, context)) ? place : undefined
    },
  }
}

const isSame = (given: string, expected: string): boolean => {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}
