// The transactions of payouts as Ethereum writes them (EIP-1559), and the check of signed ones: a signer may sign what it
// was given, and nothing else.

import { keccak256, parseTransaction, recoverTransactionAddress, serializeTransaction } from 'viem'
import type { PayoutTransaction } from '../domain/payout.ts'

/** A signed transfer without data has about 120 bytes. */
const MAX_RAW_CHARACTERS = 1_024
const RAW = /^0x02(?:[0-9a-f]{2})+$/

/** A signature that is refused. The message names fields, and no value but those of the expected transaction. */
export class SignatureRefused extends Error {
  override readonly name = 'SignatureRefused'
}

/** An address in canonical form, as viem wants its type. */
export const viemHexOf = (text: string): `0x${string}` => `0x${text.replace(/^0x/, '')}`

export const viemTransactionOf = (transaction: PayoutTransaction) => ({
  type: 'eip1559' as const,
  chainId: transaction.chainId,
  nonce: transaction.nonce,
  to: viemHexOf(transaction.to),
  value: transaction.value,
  gas: transaction.gasLimit,
  maxFeePerGas: transaction.maxFee,
  maxPriorityFeePerGas: transaction.priorityFee,
})

/** The bytes that a signer hashes and signs. */
export const unsignedBytesOf = (transaction: PayoutTransaction): string =>
  serializeTransaction(viemTransactionOf(transaction))

/**
 * Checks a signed transaction against the expected one, field by field, its signer included.
 * @throws {SignatureRefused} with every field that differs
 */
export async function readSigned(text: string, expected: PayoutTransaction): Promise<{ raw: string; txId: string }> {
  const raw = text.toLowerCase()
  if (raw.length > MAX_RAW_CHARACTERS || !RAW.test(raw))
    throw new SignatureRefused('it is not a signed EIP-1559 transaction in hex')
  const bytes = raw as `0x02${string}`
  const found = parse(bytes)
  const wrong = differencesOf(found, expected)
  if (wrong.length > 0) throw new SignatureRefused(`the signed transaction has another ${wrong.join(', ')}`)
  const sender = await recoverTransactionAddress({ serializedTransaction: bytes }).catch(() => {
    throw new SignatureRefused('its signature is not valid')
  })
  if (sender.toLowerCase() !== expected.sender) throw new SignatureRefused(`it is not signed by ${expected.sender}`)
  return { raw, txId: keccak256(bytes) }
}

type Parsed = ReturnType<typeof parse>

function parse(bytes: `0x02${string}`) {
  try {
    const parsed = parseTransaction(bytes)
    const { r, s, yParity } = parsed
    if (r === undefined || s === undefined || yParity === undefined) throw new Error('not signed')
    // One transaction, one text: other encodings of it would have another id.
    if (serializeTransaction(parsed, { r, s, yParity }) !== bytes) throw new Error('not canonical')
    return parsed
  } catch (cause) {
    throw new SignatureRefused('it is not a signed EIP-1559 transaction', { cause })
  }
}

/** The names of the fields that differ. */
function differencesOf(found: Parsed, expected: PayoutTransaction): string[] {
  const pairs: readonly (readonly [name: string, isSame: boolean])[] = [
    ['chain id', found.chainId === expected.chainId],
    ['nonce', (found.nonce ?? 0) === expected.nonce],
    ['destination', found.to?.toLowerCase() === expected.to],
    ['amount', (found.value ?? 0n) === expected.value],
    ['data (it must be empty)', (found.data ?? '0x') === '0x'],
    ['access list (it must be empty)', (found.accessList ?? []).length === 0],
    ['gas limit', found.gas === expected.gasLimit],
    ['fee', (found.maxFeePerGas ?? 0n) === expected.maxFee],
    ['priority fee', (found.maxPriorityFeePerGas ?? 0n) === expected.priorityFee],
  ]
  return pairs.filter(([, isSame]) => !isSame).map(([name]) => name)
}
