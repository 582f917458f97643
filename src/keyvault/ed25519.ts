// Ed25519 signatures over texts, with keys from PEM files: the sealing key of the audit and the quote key. A key is named
// by its own hash, so that a rotation needs no numbering: the new public key is published beside the older ones.

import { createHash, createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { SecretError, type RunMode } from './secret.ts'

const KEY_ID_CHARACTERS = 16
const SEED_BYTES = 32
/** The first bytes of a development key, written by servers/secret.ts. */
const DEVELOPMENT_MARK = Buffer.from('development-')
const PEM_BLOCK = /-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g

/** The key never leaves the closure. */
export type TextSigner = { keyId: string; sign: (text: string) => Buffer }
/** Trusted public keys, by key id. */
export type PublicKeys = ReadonlyMap<string, KeyObject>

const idOf = (publicKey: KeyObject): string =>
  createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, KEY_ID_CHARACTERS)

/** Reads an Ed25519 private key (PEM, PKCS #8: `openssl genpkey -algorithm ed25519`). Throws SecretError. */
export function loadTextSigner(name: string, pem: string, mode: RunMode): TextSigner {
  const key = readKey(name, () => createPrivateKey(pem))
  const seed = key.export({ type: 'pkcs8', format: 'der' }).subarray(-SEED_BYTES)
  if (mode === 'production' && seed.subarray(0, DEVELOPMENT_MARK.length).equals(DEVELOPMENT_MARK))
    throw new SecretError(`${name} is a development key: create another one for production`)
  return { keyId: idOf(createPublicKey(key)), sign: (text) => sign(null, Buffer.from(text), key) }
}

/** Reads one or more Ed25519 public keys (PEM, `openssl pkey -pubout`), including old ones. Throws SecretError. */
export function loadPublicKeys(name: string, pem: string): PublicKeys {
  const blocks = pem.match(PEM_BLOCK) ?? []
  if (blocks.length === 0) throw new SecretError(`${name} contains no public key`)
  const keys = blocks.map((block) => readKey(name, () => createPublicKey(block)))
  return new Map(keys.map((key) => [idOf(key), key]))
}

function readKey(name: string, read: () => KeyObject): KeyObject {
  let key: KeyObject | undefined
  try {
    key = read()
  } catch {
    // Without the cause: a parser's message may quote its input.
  }
  if (key?.asymmetricKeyType !== 'ed25519') throw new SecretError(`${name} is not an Ed25519 key in PEM`)
  return key
}

/** True if the key of that id is trusted and signed exactly this text. */
export function isTextSigned(text: string, keyId: string, signature: Uint8Array, keys: PublicKeys): boolean {
  const key = keys.get(keyId)
  return key !== undefined && verify(null, Buffer.from(text), key, signature)
}
