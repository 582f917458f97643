// AES-256-GCM in one place: a fresh random nonce for each sealing, a whole tag at each opening, and a context that is
// a list with lengths, so that no two lists read the same.

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const CIPHER = 'aes-256-gcm'
export const KEY_BYTES = 32
export const NONCE_BYTES = 12
export const TAG_BYTES = 16
const LENGTH_BYTES = 4

export type Sealed = { nonce: Buffer; tag: Buffer; ciphertext: Buffer }

/** What was to be opened is not what was sealed here under this key and context. */
export class SealError extends Error {
  override readonly name = 'SealError'
}

/** The authenticated context: each part behind its length. */
export const contextOf = (parts: readonly (string | number | bigint)[]): Buffer =>
  Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(String(part))
      const length = Buffer.alloc(LENGTH_BYTES)
      length.writeUInt32BE(bytes.length)
      return [length, bytes]
    }),
  )

export function seal(key: Buffer, plaintext: Buffer, context: Buffer): Sealed {
  assertLength('key', key, KEY_BYTES)
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES }).setAAD(context)
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return { nonce, tag: cipher.getAuthTag(), ciphertext }
}

/** The caller fills the answer with zeros after use. Throws SealError when anything was changed. */
export function open(key: Buffer, sealed: Sealed, context: Buffer): Buffer {
  assertLength('key', key, KEY_BYTES)
  assertLength('nonce', sealed.nonce, NONCE_BYTES)
  // Node alone would accept a tag of four bytes.
  assertLength('tag', sealed.tag, TAG_BYTES)
  const decipher = createDecipheriv(CIPHER, key, sealed.nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(context).setAuthTag(sealed.tag)
  const plaintext = decipher.update(sealed.ciphertext)
  try {
    decipher.final()
    return plaintext
  } catch (cause) {
    plaintext.fill(0)
    throw new SealError('the sealed value does not open', { cause })
  }
}

/** nonce | tag | ciphertext, for columns that hold a sealed value whole. */
export const packSealed = ({ nonce, tag, ciphertext }: Sealed): Buffer => Buffer.concat([nonce, tag, ciphertext])

export function unpackSealed(packed: Buffer): Sealed {
  const tagEnd = NONCE_BYTES + TAG_BYTES
  return {
    nonce: packed.subarray(0, NONCE_BYTES),
    tag: packed.subarray(NONCE_BYTES, tagEnd),
    ciphertext: packed.subarray(tagEnd),
  }
}

function assertLength(what: string, bytes: Buffer, length: number): void {
  if (bytes.length !== length) throw new SealError(`a ${what} has ${length} bytes`)
}
