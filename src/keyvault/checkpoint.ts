// The sealing key and all hashes of the audit: entries in their chains, leaves and nodes of the Merkle tree, and
// signatures of checkpoints. These functions and the public key are all that a verifier needs.

import { createHash, createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { checkpointText, type Checkpoint, type CheckpointHead } from '../domain/checkpoint.ts'
import type { Hash, NodeHash } from '../domain/merkle.ts'
import { SecretError, type RunMode } from './secret.ts'

/** RFC 6962: domain separation, so that no leaf can be mistaken for a node. */
const LEAF_PREFIX = Buffer.of(0)
const NODE_PREFIX = Buffer.of(1)
const KEY_ID_CHARACTERS = 16
const SEED_BYTES = 32
/** The first bytes of a development key, written by servers/secret.ts. */
const DEVELOPMENT_MARK = Buffer.from('development-')
const PEM_BLOCK = /-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g

const sha256 = (...parts: (Uint8Array | string)[]): Buffer =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()

export const nodeHash: NodeHash = (left, right) => sha256(NODE_PREFIX, left, right)

/** The hash of an entry: over the previous entry's hash in its chain, if any, and the entry's text. */
export const entryHash = (previous: Uint8Array | undefined, body: string): Hash => sha256(previous ?? Buffer.of(), body)

/** The leaf of an entry: its id and transaction, and its hash, which covers everything else. */
export function leafHash(entry: { entryId: bigint; txid: bigint; hash: Uint8Array }): Hash {
  const place = Buffer.alloc(16)
  place.writeBigUInt64BE(entry.entryId, 0)
  place.writeBigUInt64BE(entry.txid, 8)
  return sha256(LEAF_PREFIX, place, entry.hash)
}

/** The value of `previous` in the next checkpoint. */
export const checkpointHash = (checkpoint: CheckpointHead | undefined): string =>
  sha256(checkpoint === undefined ? '' : checkpointText(checkpoint)).toString('hex')

const idOf = (publicKey: KeyObject): string =>
  sha256(publicKey.export({ type: 'spki', format: 'der' }))
    .toString('hex')
    .slice(0, KEY_ID_CHARACTERS)

/** The key never leaves the closure. */
export type Sealer = { keyId: string; seal: (head: Omit<CheckpointHead, 'keyId'>) => Checkpoint }

/** Reads an Ed25519 private key (PEM, PKCS #8: `openssl genpkey -algorithm ed25519`). Throws SecretError. */
export function loadSealer(name: string, pem: string, mode: RunMode): Sealer {
  const key = readKey(name, () => createPrivateKey(pem))
  const seed = key.export({ type: 'pkcs8', format: 'der' }).subarray(-SEED_BYTES)
  if (mode === 'production' && seed.subarray(0, DEVELOPMENT_MARK.length).equals(DEVELOPMENT_MARK))
    throw new SecretError(`${name} is a development key: create another one for production`)
  const keyId = idOf(createPublicKey(key))
  return {
    keyId,
    seal: (head) => {
      const signed = { ...head, keyId }
      return { ...signed, signature: sign(null, Buffer.from(checkpointText(signed)), key).toString('base64') }
    },
  }
}

/** Trusted public keys, by key id. */
export type SealerKeys = ReadonlyMap<string, KeyObject>

/** Reads one or more Ed25519 public keys (PEM, `openssl pkey -pubout`), including old ones. Throws SecretError. */
export function loadSealerKeys(name: string, pem: string): SealerKeys {
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

/** True if one of `keys` signed exactly this checkpoint. */
export function isSealed(checkpoint: Checkpoint, keys: SealerKeys): boolean {
  const key = keys.get(checkpoint.keyId)
  if (key === undefined) return false
  return verify(null, Buffer.from(checkpointText(checkpoint)), key, Buffer.from(checkpoint.signature, 'base64'))
}
