// Encryption of personal data at rest. Each customer has their own data key, wrapped by the `pii` ring, so that
// destroying the key erases the customer's data (requirement D-17). A ciphertext can be decrypted only for its own
// customer and order.

import { createHmac, randomBytes } from 'node:crypto'
import type { CustomerKey } from '../db/key.ts'
import { createExpiringCache } from './cache.ts'
import { expandKey } from './derive.ts'
import type { Ring } from './ring.ts'
import { contextOf, KEY_BYTES, open, packSealed, seal, SealError, unpackSealed } from './seal.ts'

const FORMAT = 1
/** Texts are padded to a multiple of this: the length of a ciphertext tells next to nothing about the text's. */
const PADDED_TO_BYTES = 512
const SALT_BYTES = 32
/** The customer's key is random already: HKDF needs no salt. */
const NO_SALT = Buffer.alloc(0)
/** With the cache's sweep of five seconds, no decrypted key is in memory for more than a minute. */
const KEY_LIFE_MS = 55_000
const OPEN_KEYS = 10_000

export type PiiVault = {
  /**
   * Version byte, nonce, tag, ciphertext: the text's UTF-8 bytes, padded, and 29 more. Creates the customer's key if
   * there is none. Throws RangeError for a text that ends with a space: spaces are the padding.
   */
  seal: (userId: bigint, orderId: string, text: string) => Promise<Buffer>
  /** Throws SealError if the value was changed or moved to another order, or its customer's key is gone. */
  open: (userId: bigint, orderId: string, sealed: Buffer) => Promise<string>
  /**
   * HMAC-SHA-256 of a request under a key derived from the customer's. Without that key no guess of the request can be
   * confirmed, so it ends with the customer's data. Throws SealError if the customer has no key; `seal` creates one.
   */
  hashRequest: (userId: bigint, path: string, request: Buffer) => Promise<Buffer>
}

export type PiiVaultOptions = {
  ring: Ring
  findCustomerKey: (userId: bigint) => Promise<CustomerKey | undefined>
  /** Also inserts the customer's row; false if there already is a key. */
  insertCustomerKey: (userId: bigint, key: CustomerKey) => Promise<boolean>
}

export function createPiiVault({ ring, findCustomerKey, insertCustomerKey }: PiiVaultOptions): PiiVault {
  const openKeys = createExpiringCache<Buffer>({
    capacity: OPEN_KEYS,
    now: () => performance.now(),
    onEvict: (key) => void key.fill(0),
  })

  // Uses the key in the same turn as the lookup: later it may be evicted and filled with zeros.
  async function withKey<T>(userId: bigint, load: () => Promise<Buffer>, use: (key: Buffer) => T): Promise<T> {
    const name = userId.toString()
    const known = openKeys.find(name)
    if (known !== undefined) return use(known)
    const key = await load()
    openKeys.put(name, key, performance.now() + KEY_LIFE_MS)
    return use(key)
  }

  const loadKey = async (userId: bigint): Promise<Buffer> => {
    const found = await findCustomerKey(userId)
    if (found === undefined) throw new SealError('the customer has no data key')
    return unwrapKey(ring, userId, found)
  }

  const loadOrMakeKey = async (userId: bigint): Promise<Buffer> => {
    const found = await findCustomerKey(userId)
    if (found !== undefined) return unwrapKey(ring, userId, found)
    const key = randomBytes(KEY_BYTES)
    if (await insertCustomerKey(userId, wrapKey(ring, userId, key))) return key
    // Another call created the customer's key first: that one counts.
    key.fill(0)
    return loadKey(userId)
  }

  return {
    seal: (userId, orderId, text) =>
      withKey(
        userId,
        () => loadOrMakeKey(userId),
        (key) => Buffer.concat([Buffer.of(FORMAT), packSealed(seal(key, pad(text), textContext(userId, orderId)))]),
      ),
    open: async (userId, orderId, sealed) => {
      if (sealed[0] !== FORMAT) throw new SealError('unknown format')
      return withKey(
        userId,
        () => loadKey(userId),
        (key) => unpad(open(key, unpackSealed(sealed.subarray(1)), textContext(userId, orderId))),
      )
    },
    hashRequest: (userId, path, request) =>
      withKey(
        userId,
        () => loadKey(userId),
        (key) => {
          const hashing = expandKey(key, NO_SALT, contextOf(['holdfast pii', FORMAT, 'request hash', userId, path]))
          const hash = createHmac('sha256', hashing).update(request).digest()
          hashing.fill(0)
          return hash
        },
      ),
  }
}

const SPACE = 0x20

/** Padded with spaces, not by a format of its own: an older process reads the text too, with spaces behind it. */
function pad(text: string): Buffer {
  if (text.endsWith(' ')) throw new RangeError('a text that ends with a space cannot be sealed')
  const bytes = Buffer.from(text)
  const padding = (PADDED_TO_BYTES - (bytes.length % PADDED_TO_BYTES)) % PADDED_TO_BYTES
  return Buffer.concat([bytes, Buffer.alloc(padding, SPACE)])
}

const unpad = (bytes: Buffer): string => bytes.toString('utf8', 0, bytes.findLastIndex((byte) => byte !== SPACE) + 1)

const textContext = (userId: bigint, orderId: string): Buffer =>
  contextOf(['holdfast pii', FORMAT, 'order text', userId, orderId])

const keyContext = (userId: bigint, ringVersion: number): Buffer =>
  contextOf(['holdfast pii', FORMAT, 'customer key', userId, ringVersion])

/** Version byte, salt, nonce, tag, ciphertext. */
function wrapKey(ring: Ring, userId: bigint, key: Buffer): CustomerKey {
  const ringVersion = ring.primary
  const context = keyContext(userId, ringVersion)
  const salt = randomBytes(SALT_BYTES)
  const wrapping = expandKey(ring.secretOf(ringVersion), salt, context)
  const wrappedKey = Buffer.concat([Buffer.of(FORMAT), salt, packSealed(seal(wrapping, key, context))])
  wrapping.fill(0)
  return { ringVersion, wrappedKey }
}

function unwrapKey(ring: Ring, userId: bigint, { ringVersion, wrappedKey }: CustomerKey): Buffer {
  if (wrappedKey[0] !== FORMAT) throw new SealError('unknown format')
  const context = keyContext(userId, ringVersion)
  const salt = wrappedKey.subarray(1, 1 + SALT_BYTES)
  const wrapping = expandKey(ring.secretOf(ringVersion), salt, context)
  try {
    return open(wrapping, unpackSealed(wrappedKey.subarray(1 + SALT_BYTES)), context)
  } finally {
    wrapping.fill(0)
  }
}
