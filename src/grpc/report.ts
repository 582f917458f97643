// Codec of payment reports: observations to the bytes that a watcher signs, and back. Both sides compute the id of an
// observation here. Bytes must not change, and an id that an older build computed stays valid: its watcher may still run.

import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Observation, ReportedObservation } from '../domain/chain.ts'
import { ASSETS, type Asset } from '../domain/payment.ts'
import { MACHINE_PATTERN, MACHINE_RULE, NETWORK_PATTERN, NETWORK_RULE } from '../domain/identifier.ts'
import { transferState } from './enum.ts'
import { asset, instant, listOf, units, whole, whole64, word } from './field.ts'
import { PaymentReport } from './gen/holdfast/v1/payment.ts'
import { hasValidNanos, REPORT_TIMESTAMPS } from './timestamp.ts'
import { fieldInvalid, parseMessage } from './validate.ts'

/** A larger report is refused before its signature is verified (requirements C-14). */
export const MAX_REPORT_BYTES = 1_024
const MAX_OBSERVATIONS = 16

type Identified = Pick<
  Observation,
  'network' | 'txId' | 'outputIndex' | 'state' | 'seq' | 'block' | 'asset' | 'address' | 'amount'
>

/** The id of an observation: hex SHA-256 over all that it says except when it was first seen. */
export const reportIdOf = (observation: Identified): string =>
  hashOf([...formerFields(observation), observation.asset, canonicalAddressOf(observation.address), observation.amount])

/** The id that watchers computed before it covered asset, address and amount. Rows with such ids are stored. */
const formerReportIdOf = (observation: Identified): string => hashOf(formerFields(observation))

const formerFields = ({ network, txId, outputIndex, state, block, seq }: Identified) =>
  [network, txId, outputIndex, state, block?.hash ?? '', seq] as const

/** Ethereum addresses are shown with a checksum in their letter case. They are stored and matched without it. */
const canonicalAddressOf = (address: string): string => (address.startsWith('0x') ? address.toLowerCase() : address)

const hashOf = (fields: readonly (string | number | bigint)[]): string =>
  createHash('sha256').update(fields.join('\n')).digest('hex')

export type ReportOptions = {
  source: string
  /** Depth at which the source calls an output final. */
  confirmations: number
}

/**
 * Serialises as many of the first observations as fit one report. All of them are of one network.
 * @returns the bytes to sign and how many observations they hold; at least one
 */
export function packReport(
  options: ReportOptions,
  observations: readonly Observation[],
): { report: Buffer; count: number } {
  for (let count = Math.min(observations.length, MAX_OBSERVATIONS); count > 0; count -= 1) {
    const report = encodeReport(options, observations.slice(0, count))
    if (report.length <= MAX_REPORT_BYTES) return { report, count }
  }
  throw new RangeError('no observation, or one that does not fit a report')
}

function encodeReport({ source, confirmations }: ReportOptions, observations: readonly Observation[]): Buffer {
  const network = observations[0]?.network ?? ''
  if (observations.some((each) => each.network !== network)) throw new RangeError('a report is about one network')
  const messages = observations.map((each) => ({
    reportId: reportIdOf(each),
    asset: each.asset,
    txId: each.txId,
    outputIndex: each.outputIndex,
    seq: each.seq,
    state: transferState.codeOf(each.state),
    address: each.address,
    units: each.amount.toString(),
    blockHeight: each.block && BigInt(each.block.height),
    blockHash: each.block?.hash,
    depth: depthOf(each, confirmations),
    firstSeenAt: each.firstSeenAt,
  }))
  return Buffer.from(PaymentReport.encode({ source, network, observations: messages }).finish())
}

/** The depth that a state stands for, counting the output's own block; 0: in no block. For people: it decides nothing. */
function depthOf({ state, block }: Observation, confirmations: number): number {
  if (block === undefined) return 0
  if (state === 'final') return confirmations
  return state === 'seen' ? 1 : 0
}

/** Canonical transaction ids: one spelling each, so that one observation has one id (requirements C-15). */
const HEX_TX_ID = /^[0-9a-f]{64}$/
const TX_ID_SHAPES = {
  BTC: HEX_TX_ID,
  LTC: HEX_TX_ID,
  ETH: /^0x[0-9a-f]{64}$/,
  SOL: /^[1-9A-HJ-NP-Za-km-z]{64,88}$/,
} as const

/**
 * As many base units as will ever exist: 21 million BTC, 84 million LTC, a 64-bit number of lamports, and a thousand
 * million ETH, eight times what there is. No output can be larger (SR-2.4).
 */
const MAX_UNITS: Readonly<Record<Asset, bigint>> = {
  BTC: 21_000_000n * 10n ** 8n,
  LTC: 84_000_000n * 10n ** 8n,
  ETH: 10n ** 9n * 10n ** 18n,
  SOL: 2n ** 64n - 1n,
}

const PAYMENT_OBSERVATION = z
  .strictObject({
    reportId: z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in lower-case hexadecimal'),
    asset,
    // What is more, it has its asset's form: see below.
    txId: z.string().regex(/^[0-9A-Za-z]{64,88}$/, 'must be a transaction id: 64 to 88 letters and digits'),
    outputIndex: whole(0),
    seq: whole(1),
    state: word(transferState),
    address: z
      .string()
      .regex(/^[A-Za-z0-9]{1,128}$/, 'must be an address: 1 to 128 letters and digits')
      .transform(canonicalAddressOf),
    units,
    blockHeight: whole64(0n, BigInt(Number.MAX_SAFE_INTEGER)).transform(Number).optional(),
    blockHash: z
      .string()
      .regex(/^[A-Za-z0-9]{1,128}$/, 'must be a block hash: 1 to 128 letters and digits')
      .optional(),
    depth: whole(0),
    firstSeenAt: instant,
  })
  .refine((message) => TX_ID_SHAPES[message.asset].test(message.txId), {
    error:
      'must be 64 digits of lower-case hexadecimal (BTC, LTC), the same after 0x (ETH), or 64 to 88 of base58 (SOL)',
    path: ['txId'],
  })
  .refine((message) => message.units <= MAX_UNITS[message.asset], {
    error: `must be at most ${ASSETS.map((each) => `${MAX_UNITS[each]} (${each})`).join(', ')}`,
    path: ['units'],
  })
  .refine((message) => (message.blockHeight === undefined) === (message.blockHash === undefined), {
    error: 'must be given together with block_height',
    path: ['blockHash'],
  })

/** What a PaymentReport may hold. */
export const PAYMENT_REPORT = z.strictObject({
  source: z.string().regex(MACHINE_PATTERN, MACHINE_RULE),
  network: z.string().regex(NETWORK_PATTERN, NETWORK_RULE),
  observations: listOf(PAYMENT_OBSERVATION, MAX_OBSERVATIONS),
})

/**
 * Reads a report whose signature is verified. `source` is the caller: a watcher reports only for itself.
 * @throws {DomainError} FIELD_INVALID
 */
export function unpackReport(bytes: Uint8Array, source: string): ReportedObservation[] {
  const report = parseMessage(PAYMENT_REPORT, parseReport(bytes))
  if (report.source !== source)
    throw fieldInvalid([{ field: 'report.source', description: "must be the token's subject" }])
  return report.observations.map(({ units: amount, blockHeight: height, blockHash: hash, depth: _, ...rest }, at) => {
    const block = height === undefined || hash === undefined ? undefined : { height, hash }
    const observation = { ...rest, network: report.network, amount, block }
    if (![reportIdOf(observation), formerReportIdOf(observation)].includes(observation.reportId))
      throw fieldInvalid([
        {
          field: `report.observations[${at}].report_id`,
          description: 'must be the SHA-256 of this fact, as the proto describes it',
        },
      ])
    return observation
  })
}

function parseReport(bytes: Uint8Array): PaymentReport {
  const report = decodeReport(bytes)
  if (report === undefined) throw fieldInvalid([{ field: 'report', description: 'must be a serialised PaymentReport' }])
  return report
}

function decodeReport(bytes: Uint8Array): PaymentReport | undefined {
  try {
    return hasValidNanos(bytes, REPORT_TIMESTAMPS) ? PaymentReport.decode(bytes) : undefined
  } catch {
    return undefined
  }
}
