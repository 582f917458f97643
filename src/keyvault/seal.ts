// AES-256-GCM: a new random nonce for each encryption, a full-length tag for each decryption, and a context whose parts
// are length-prefixed, so that different lists never encode to the same bytes.

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const CIPHER = 'aes-256-gcm'
export const KEY_BYTES = 32
export const NONCE_BYTES = 12
export const TAG_BYTES = 16
const LENGTH_BYTES = 4

export type Sealed = { nonce: Buffer; tag: Buffer; ciphertext: Buffer }

/** The value was not sealed under this key and context, or was changed. */
export class SealError extends Error {
  override readonly name = 'SealError'
}

/** The authenticated context: each part prefixed with its length. */
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

/** Decrypts. The caller fills the answer with zeros after use. Throws SealError if anything was changed. */
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
    throw new SealError('the sealed value cannot be decrypted', { cause })
  }
}

/** nonce | tag | ciphertext, for columns that store a sealed value in one field. */
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
