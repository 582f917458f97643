// The sealing key and all hashes of the audit: entries in their chains, leaves and nodes of the Merkle tree, and
// signatures of checkpoints. These functions and the public key are all that a verifier needs.

import { createHash } from 'node:crypto'
import { checkpointText, type Checkpoint, type CheckpointHead } from '../domain/checkpoint.ts'
import type { Hash, NodeHash } from '../domain/merkle.ts'
import { isTextSigned, loadPublicKeys, loadTextSigner, type PublicKeys } from './ed25519.ts'
import type { RunMode } from './secret.ts'

/** RFC 6962: domain separation, so that no leaf can be mistaken for a node. */
const LEAF_PREFIX = Buffer.of(0)
const NODE_PREFIX = Buffer.of(1)

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

/** The key never leaves the closure. */
export type Sealer = { keyId: string; seal: (head: Omit<CheckpointHead, 'keyId'>) => Checkpoint }

/** Reads an Ed25519 private key (PEM, PKCS #8: `openssl genpkey -algorithm ed25519`). Throws SecretError. */
export function loadSealer(name: string, pem: string, mode: RunMode): Sealer {
  const { keyId, sign } = loadTextSigner(name, pem, mode)
  return {
    keyId,
    seal: (head) => {
      const signed = { ...head, keyId }
      return { ...signed, signature: sign(checkpointText(signed)).toString('base64') }
    },
  }
}

/** Trusted public keys, by key id. */
export type SealerKeys = PublicKeys

/** Reads one or more Ed25519 public keys (PEM, `openssl pkey -pubout`), including old ones. Throws SecretError. */
export const loadSealerKeys = (name: string, pem: string): SealerKeys => loadPublicKeys(name, pem)

/** True if one of `keys` signed exactly this checkpoint. */
export const isSealed = (checkpoint: Checkpoint, keys: SealerKeys): boolean =>
  isTextSigned(checkpointText(checkpoint), checkpoint.keyId, Buffer.from(checkpoint.signature, 'base64'), keys)
