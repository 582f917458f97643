// Destinations of refunds: an address that a customer typed or pasted, checked by its checksum and brought into
// canonical form. An address without a checksum is refused where its kind has one: one wrong letter loses the money.

import { ed25519 } from '@noble/curves/ed25519.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { base58, bech32, bech32m, createBase58check } from '@scure/base'
import type { Asset } from '../domain/payment.ts'
import { formatAddress } from './address.ts'

export type ParsedDestination = { ok: true; address: string } | { ok: false; problem: string }

const PROBLEM = {
  shape: 'must be an address of this asset and network',
  checksum: 'must be written with a correct checksum, as a wallet shows it',
  unusable: 'must be an address that someone has the key of',
} as const

const found = (address: string): ParsedDestination => ({ ok: true, address })
const wrong = (problem: keyof typeof PROBLEM): ParsedDestination => ({ ok: false, problem: PROBLEM[problem] })

const MAX_CHARACTERS = 90
const ETHEREUM = /^0x[0-9a-fA-F]{40}$/
const ETHEREUM_ZERO = /^0x0{40}$/
const SOLANA = /^[1-9A-HJ-NP-Za-km-z]{32,44}$/
const SOLANA_KEY_BYTES = 32
const HASH_BYTES = 20
const WITNESS_BYTES = [20, 32]
const TAPROOT_BYTES = 32

/** Human-readable parts and version bytes of the addresses of a network like Bitcoin's. */
type Family = { main: string; prefixes: readonly string[]; versions: readonly number[]; tests: Family | undefined }
const FAMILIES: Readonly<Record<'BTC' | 'LTC', Family>> = {
  BTC: {
    main: 'bitcoin',
    prefixes: ['bc'],
    versions: [0x00, 0x05],
    tests: { main: '', prefixes: ['tb', 'bcrt'], versions: [0x6f, 0xc4], tests: undefined },
  },
  // Not 0x05, which Litecoin once shared with Bitcoin.
  LTC: {
    main: 'litecoin',
    prefixes: ['ltc'],
    versions: [0x30, 0x32],
    tests: { main: '', prefixes: ['tltc', 'rltc'], versions: [0x6f, 0x3a], tests: undefined },
  },
}

/** @param network the network of the order; one that is not the asset's main one takes test addresses only */
export function parseDestination(asset: Asset, network: string, text: string): ParsedDestination {
  if (text.length > MAX_CHARACTERS) return wrong('shape')
  switch (asset) {
    case 'ETH':
      return parseEthereum(text)
    case 'SOL':
      return parseSolana(text)
    case 'BTC':
    case 'LTC': {
      const family = FAMILIES[asset]
      return parseBitcoinLike(text, network === family.main ? family : (family.tests ?? family))
    }
  }
}

/** EIP-55: the case of the letters is the checksum. */
function parseEthereum(text: string): ParsedDestination {
  if (!ETHEREUM.test(text)) return wrong('shape')
  const address = text.toLowerCase()
  if (ETHEREUM_ZERO.test(address)) return wrong('unusable')
  return text === formatAddress('ETH', address) ? found(address) : wrong('checksum')
}

/** An address is a public key. One that is no point of the curve is an account of a program, and has no key. */
function parseSolana(text: string): ParsedDestination {
  if (!SOLANA.test(text)) return wrong('shape')
  const bytes = attempt(() => base58.decode(text))
  if (bytes?.length !== SOLANA_KEY_BYTES) return wrong('shape')
  const isKey = bytes.some((byte) => byte !== 0) && attempt(() => ed25519.Point.fromBytes(bytes)) !== undefined
  return isKey ? found(text) : wrong('unusable')
}

const base58check = createBase58check(sha256)

function parseBitcoinLike(text: string, family: Family): ParsedDestination {
  const separator = text.lastIndexOf('1')
  const prefix = text.slice(0, separator).toLowerCase()
  if (separator > 0 && family.prefixes.includes(prefix)) return parseWitness(text)
  const bytes = attempt(() => base58check.decode(text))
  if (bytes === undefined) return wrong(/^[1-9A-HJ-NP-Za-km-z]{26,35}$/.test(text) ? 'checksum' : 'shape')
  const isOurs = bytes.length === HASH_BYTES + 1 && family.versions.includes(bytes[0] ?? -1)
  return isOurs ? found(text) : wrong('shape')
}

/** BIP-173 and BIP-350: version 0 has the first checksum, taproot the second. Later versions mean nothing yet. */
function parseWitness(text: string): ParsedDestination {
  const plain = bech32.decodeUnsafe(text)
  const decoded = plain ?? bech32m.decodeUnsafe(text)
  if (decoded === undefined) return wrong('checksum')
  const [version, ...words] = decoded.words
  const program = attempt(() => bech32.fromWords(words))
  if (program === undefined) return wrong('shape')
  const isUsable =
    plain === undefined
      ? version === 1 && program.length === TAPROOT_BYTES
      : version === 0 && WITNESS_BYTES.includes(program.length)
  return isUsable ? found(text.toLowerCase()) : wrong('shape')
}

function attempt<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
}
