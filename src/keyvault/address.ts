// Payment addresses and their private keys, one generator per asset. The canonical form is stored and matched; people
// see the form with a checksum. Each key is independently random: there is no parent key, so no key leads to another.

import { secp256k1 } from '@noble/curves/secp256k1.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import type { Asset } from '../domain/payment.ts'

export type NewAddress = {
  /** In canonical form. */
  address: string
  /** The caller fills it with zeros after use. */
  privateKey: Buffer
}

export type AddressMaker = {
  make: () => NewAddress
  /** Converts the canonical form to the one with a checksum, which people read and wallets check. */
  format: (address: string) => string
}

const ETHEREUM_ADDRESS_BYTES = 20

const ethereum: AddressMaker = {
  make: () => {
    const secret = secp256k1.utils.randomSecretKey()
    const privateKey = Buffer.from(secret.buffer, secret.byteOffset, secret.length)
    // The first byte marks an uncompressed key and is not hashed.
    const hash = keccak_256(secp256k1.getPublicKey(secret, false).subarray(1))
    return { address: `0x${Buffer.from(hash.subarray(-ETHEREUM_ADDRESS_BYTES)).toString('hex')}`, privateKey }
  },
  // EIP-55: a letter is upper case where the hash of the lower-case address has a digit of 8 or more.
  format: (address) => {
    const digits = address.slice(2)
    const hash = Buffer.from(keccak_256(Buffer.from(digits))).toString('hex')
    return `0x${digits.replace(/[a-f]/g, (digit, at: number) => (hash.charAt(at) >= '8' ? digit.toUpperCase() : digit))}`
  },
}

/** An asset without a generator cannot be paid in yet. */
export const ADDRESS_MAKERS: Readonly<Partial<Record<Asset, AddressMaker>>> = { ETH: ethereum }

/** The form to show to people; the canonical one if the asset has no other. */
export const formatAddress = (asset: Asset, address: string): string =>
  ADDRESS_MAKERS[asset]?.format(address) ?? address
