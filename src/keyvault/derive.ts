// Key derivation: thin wrappers of the two standard functions. Their callers document which keys and contexts they use.

import { hkdfSync, pbkdf2 } from 'node:crypto'
import { promisify } from 'node:util'
import { KEY_BYTES } from './seal.ts'

/** HKDF-SHA-256 to a 256-bit key. The caller fills it with zeros after use. */
export const expandKey = (secret: Buffer, salt: Buffer, context: Buffer): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, salt, context, KEY_BYTES))

/** PBKDF2-HMAC-SHA-512 to a 256-bit key, outside the event loop: 0.1-0.4 s at 210,000 iterations. */
export const stretchKey = (secret: Buffer, salt: Buffer, iterations: number): Promise<Buffer> =>
  promisify(pbkdf2)(secret, salt, iterations, KEY_BYTES, 'sha512')
