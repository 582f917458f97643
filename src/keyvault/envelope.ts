// Envelope encryption of private keys, in three levels (requirement D-10). PBKDF2 derives an epoch's KEK from the
// ring's master secret. HKDF derives a key's wrapping key from the KEK and the key's own salt. The wrapping key wraps a
// random data key, which encrypts the private key. Every level is bound to the key's identity, so no part of one
// envelope can be decrypted in another.

import { randomBytes } from 'node:crypto'
import type { Epoch, PaymentKey } from '../db/key.ts'
import { expandKey, stretchKey } from './derive.ts'
import type { Ring } from './ring.ts'
import { contextOf, KEY_BYTES, open, seal, SealError } from './seal.ts'

const FORMAT_VERSION = 1
export const SALT_BYTES = 32
/** The minimum of SR-1.3; the database rejects less as well. */
const MIN_ITERATIONS = 100_000

/** Takes 0.1-0.4 s, outside the event loop. The caller fills the answer with zeros after use. */
export async function deriveEpochKek(ring: Ring, epoch: Epoch): Promise<Buffer> {
  if (epoch.iterations < MIN_ITERATIONS) throw new SealError(`an epoch has at least ${MIN_ITERATIONS} iterations`)
  if (epoch.salt.length !== SALT_BYTES) throw new SealError(`an epoch's salt has ${SALT_BYTES} bytes`)
  return stretchKey(ring.secretOf(epoch.masterVersion), epoch.salt, epoch.iterations)
}

export type KeyIdentity = Pick<PaymentKey, 'keyId' | 'network' | 'asset' | 'address'>

export type SealKeyOptions = {
  epoch: Epoch
  /** The result of deriveEpochKek for that epoch. */
  kek: Buffer
  identity: KeyIdentity
  /** 1 when the key is created, plus one each time it is resealed. */
  envelopeVersion: number
  /** Not changed here: the caller fills it with zeros. */
  privateKey: Buffer
}

/** Encrypts a private key with a new salt, data key and nonces. */
export function sealKey({ epoch, kek, identity, envelopeVersion, privateKey }: SealKeyOptions): PaymentKey {
  const { keyId, network, asset, address } = identity
  const { epochId, masterVersion } = epoch
  const head = {
    keyId,
    network,
    asset,
    address,
    formatVersion: FORMAT_VERSION,
    envelopeVersion,
    epochId,
    masterVersion,
  }
  const salt = randomBytes(SALT_BYTES)
  const dataKey = randomBytes(KEY_BYTES)
  const wrappingKey = expandKey(kek, salt, contextFor('wrapping key', head))
  try {
    const wrapped = seal(wrappingKey, dataKey, contextFor('data key', head))
    const sealed = seal(dataKey, privateKey, contextFor('private key', head))
    return {
      ...head,
      salt,
      wrapNonce: wrapped.nonce,
      wrapTag: wrapped.tag,
      wrappedKey: wrapped.ciphertext,
      ...sealed,
    }
  } finally {
    dataKey.fill(0)
    wrappingKey.fill(0)
  }
}

/** Decrypts an envelope with its epoch's KEK. The caller fills the answer with zeros after use. Throws SealError. */
export function openKey(kek: Buffer, key: PaymentKey): Buffer {
  if (key.formatVersion !== FORMAT_VERSION) throw new SealError('unknown format')
  if (key.salt.length !== SALT_BYTES) throw new SealError(`a key's salt has ${SALT_BYTES} bytes`)
  const wrappingKey = expandKey(kek, key.salt, contextFor('wrapping key', key))
  try {
    const wrapped = { nonce: key.wrapNonce, tag: key.wrapTag, ciphertext: key.wrappedKey }
    const dataKey = open(wrappingKey, wrapped, contextFor('data key', key))
    try {
      return open(dataKey, key, contextFor('private key', key))
    } finally {
      dataKey.fill(0)
    }
  } finally {
    wrappingKey.fill(0)
  }
}

type EnvelopeHead = KeyIdentity & Pick<PaymentKey, 'formatVersion' | 'envelopeVersion' | 'masterVersion'>

const contextFor = (purpose: 'wrapping key' | 'data key' | 'private key', head: EnvelopeHead): Buffer =>
  contextOf([
    head.formatVersion,
    purpose,
    head.keyId,
    head.network,
    head.address,
    head.envelopeVersion,
    head.masterVersion,
  ])
