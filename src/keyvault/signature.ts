// Signatures of payment reports in the manner of Standard Webhooks: an HMAC over `id.timestamp.` and the report's exact
// bytes. The source's configuration selects the algorithm, never the message. Verification takes constant work: an
// unknown source, an invalid signature and a stale one cost the same and get the same error.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { DomainError } from '../domain/failure.ts'
import { MAX_BUDGET } from '../domain/limit.ts'
import { MACHINE_PATTERN, MACHINE_RULE } from '../domain/identifier.ts'
import { hasDuplicates, parseSecret, parseSecretFile, SecretError, type RunMode } from './secret.ts'

const ALGORITHMS = ['sha256', 'sha512'] as const
export type SignatureAlgorithm = (typeof ALGORITHMS)[number]

const SCHEME = 'v1'
const WINDOW_S = 300n
/**
 * During a rotation a sender signs with its old and its new secret; more signatures would only let an attacker cost
 * work.
 */
const MAX_SIGNATURES = 4
const MAX_SIGNATURE_LENGTH = 128
const MAX_SECRETS = 4
const COMPARE_KEY_BYTES = 32
/** Without a dot, so that the boundary between id and timestamp is unambiguous. */
const ID_SHAPE = /^[A-Za-z0-9_-]{1,64}$/

const SOURCES_FILE = z.strictObject({
  sources: z.array(
    z.strictObject({
      name: z.string().regex(MACHINE_PATTERN, MACHINE_RULE),
      algorithm: z.enum(ALGORITHMS),
      secrets: z.array(z.string()).min(1).max(MAX_SECRETS),
      /** Instead of the class’s own limit of reports. */
      reports_per_minute: z.number().int().min(1).max(MAX_BUDGET).optional(),
    }),
  ),
})

type Source = { algorithm: SignatureAlgorithm; secrets: readonly Buffer[]; reportsPerMinute: number | undefined }
export type Sources = ReadonlyMap<string, Source>

/**
 * Reads `{"sources":[{"name","algorithm","secrets","reports_per_minute"}]}`: who may report, with one to four secrets,
 * and optionally how often. Throws SecretError.
 */
export function loadSources(json: string, mode: RunMode): Sources {
  const { sources } = parseSecretFile('report sources', json, SOURCES_FILE)
  if (hasDuplicates(sources.map(({ name }) => name))) throw new SecretError('report sources: a name is given twice')
  return new Map(
    sources.map(({ name, algorithm, secrets, reports_per_minute: reportsPerMinute }) => [
      name,
      {
        algorithm,
        secrets: secrets.map((text) => parseSecret(`secret of source ${name}`, text, mode)),
        reportsPerMinute,
      },
    ]),
  )
}

/** The signed content: the request's id, the time of sending in Unix seconds, the serialised report. */
export type SignedReport = { id: string; timestampS: bigint; report: Uint8Array }

export type SignReportOptions = SignedReport & { secret: Buffer; algorithm: SignatureAlgorithm }

/** `v1,` and the HMAC in base64. */
export function signReport({ secret, algorithm, id, timestampS, report }: SignReportOptions): string {
  const digest = createHmac(algorithm, secret).update(`${id}.${timestampS}.`).update(report).digest('base64')
  return `${SCHEME},${digest}`
}

export type ReportVerifierOptions = { sources: Sources; now?: () => number }
export type SignedReportClaim = SignedReport & { source: string; signatures: readonly string[] }

/** Creates a check that throws DomainError SIGNATURE_INVALID unless one signature is valid for one active secret. */
export function createReportVerifier({
  sources,
  now = Date.now,
}: ReportVerifierOptions): (claim: SignedReportClaim) => void {
  const unknownSource: Source = {
    algorithm: 'sha256',
    secrets: [randomBytes(COMPARE_KEY_BYTES)],
    reportsPerMinute: undefined,
  }
  // Both sides are hashed with a key that the sender cannot know, so that the time of the comparison reveals nothing.
  const compareKey = randomBytes(COMPARE_KEY_BYTES)
  const blind = (text: string): Buffer => createHmac('sha256', compareKey).update(text).digest()

  return (claim) => {
    const source = sources.get(claim.source)
    const { algorithm, secrets } = source ?? unknownSource
    const given = claim.signatures
      .slice(0, MAX_SIGNATURES)
      .map((signature) => blind(signature.slice(0, MAX_SIGNATURE_LENGTH)))
    const isSigned = secrets
      .map((secret) => blind(signReport({ ...claim, secret, algorithm })))
      .flatMap((expected) => given.map((signature) => timingSafeEqual(expected, signature)))
      .reduce((found, isEqual) => found || isEqual, false)
    const ageS = BigInt(Math.floor(now() / 1_000)) - claim.timestampS
    const isFresh = ageS <= WINDOW_S && ageS >= -WINDOW_S
    if (source === undefined || !isSigned || !isFresh || !ID_SHAPE.test(claim.id))
      throw new DomainError('SIGNATURE_INVALID', 'The report carries no valid signature.')
  }
}
