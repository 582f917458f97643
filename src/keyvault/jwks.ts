// Public keys of an asymmetric token issuer, from its JWKS (RFC 7517). The last good set stays in use whatever becomes of
// the issuer; only a process that never read one cannot decide, and says so with ISSUER_UNAVAILABLE.

import { readFile } from 'node:fs/promises'
import type { webcrypto } from 'node:crypto'
import { importJWK } from 'jose'
import { z } from 'zod'
import { DomainError, RETRY_HINT_MS } from '../domain/failure.ts'
import { hasDuplicates, SecretError, type RunMode } from './secret.ts'

export const ISSUER_ALGORITHMS = ['EdDSA', 'RS256'] as const
export type IssuerAlgorithm = (typeof ISSUER_ALGORITHMS)[number]

/** How long a key that the issuer has withdrawn may still verify, unless the issuer cannot be asked. */
const MAX_AGE_MS = 600_000
/** Keys this old are replaced while calls still rely on them, so that none of them waits. */
const REFRESH_MS = 300_000
/** Tokens with invented kids cause at most one request to the issuer in this time; a new key waits at most as long. */
const COOLDOWN_MS = 30_000
/** While there are no keys at all, all calls fail: the issuer is asked more often. */
const RETRY_MS = 1_000
const ANSWER_WITHIN_MS = 5_000
const MAX_SET_BYTES = 65_536
const MAX_KEYS = 50
/** 2,048 bits: NIST SP 800-131A allows no shorter ones. */
const MIN_MODULUS_BYTES = 256

const shared = {
  kid: z.string().min(1).max(128),
  use: z.literal('sig').optional(),
  key_ops: z
    .array(z.string())
    .refine((uses) => uses.includes('verify'))
    .optional(),
  /** A set with private keys in it was published by mistake: they prove nothing any more. */
  d: z.undefined().optional(),
}
const base64url = z.string().regex(/^[A-Za-z0-9_-]+$/)
/** Only these members reach the importer. Other keys of a set are for other uses, and are left out. */
const USABLE = {
  EdDSA: z.object({
    ...shared,
    alg: z.enum(['EdDSA', 'Ed25519']).optional(),
    kty: z.literal('OKP'),
    crv: z.literal('Ed25519'),
    x: base64url,
  }),
  RS256: z.object({
    ...shared,
    alg: z.literal('RS256').optional(),
    kty: z.literal('RSA'),
    n: base64url.refine((modulus) => Buffer.from(modulus, 'base64url').length >= MIN_MODULUS_BYTES),
    // Every issuer's exponent. With 1 in its place, anyone could sign.
    e: z.literal('AQAB'),
  }),
} as const satisfies Record<IssuerAlgorithm, z.ZodType>
const SET = z.object({ keys: z.array(z.unknown()).max(MAX_KEYS) })

export type IssuerKeys = {
  algorithm: IssuerAlgorithm
  /** The key of this id; undefined if the issuer has none. Rejects with ISSUER_UNAVAILABLE. */
  find: (kid: string) => Promise<webcrypto.CryptoKey | undefined>
}

export type IssuerKeysOptions = {
  algorithm: IssuerAlgorithm
  /** Reads the set's text: see createSetLoader. */
  load: () => Promise<string>
  /** Called when a set could not be read or is unusable. */
  onFailure?: (error: unknown) => void
  /** Monotonic milliseconds: a clock that is set back must not put off a reload. */
  now?: () => number
}

export function createIssuerKeys({
  algorithm,
  load,
  onFailure,
  now = () => performance.now(),
}: IssuerKeysOptions): IssuerKeys {
  let keys: ReadonlyMap<string, webcrypto.CryptoKey> | undefined
  let loadedAt = Number.NEGATIVE_INFINITY
  let triedAt = Number.NEGATIVE_INFINITY
  let failedAt = Number.NEGATIVE_INFINITY
  let loading: Promise<void> | undefined

  const reload = async (): Promise<void> => {
    triedAt = now()
    try {
      keys = await readSet(await load(), algorithm)
      loadedAt = now()
    } catch (error) {
      failedAt = now()
      onFailure?.(error)
    }
    loading = undefined
  }
  /** One request at a time, and after each a pause. */
  const reloadAfter = (pauseMs: number): Promise<void> | undefined => {
    if (loading === undefined && now() - triedAt >= pauseMs) loading = reload()
    return loading
  }

  return {
    algorithm,
    find: async (kid) => {
      if (keys === undefined) await reloadAfter(RETRY_MS)
      if (keys === undefined)
        throw new DomainError('ISSUER_UNAVAILABLE', 'Tokens cannot be checked at the moment; try again.', {
          retryAfterMs: RETRY_HINT_MS.outage,
        })
      if (now() - loadedAt >= REFRESH_MS) {
        const refresh = reloadAfter(COOLDOWN_MS)
        // After a time without calls, the keys are as old. While the issuer is away, no call waits for it.
        if (now() - loadedAt >= MAX_AGE_MS && now() - failedAt >= MAX_AGE_MS) await refresh
      }
      if (!keys.has(kid)) await reloadAfter(COOLDOWN_MS)
      return keys.get(kid)
    },
  }
}

/** Rejects for a set without a usable key, or with two usable keys of one id. */
async function readSet(text: string, algorithm: IssuerAlgorithm): Promise<ReadonlyMap<string, webcrypto.CryptoKey>> {
  const found = SET.parse(JSON.parse(text)).keys.flatMap((key) => USABLE[algorithm].safeParse(key).data ?? [])
  if (hasDuplicates(found.map(({ kid }) => kid))) throw new Error('the key set has a kid twice')
  const imported = found.map(async ({ kid, use: _use, key_ops: _operations, d: _private, ...jwk }) => {
    // A key that is broken is left out like one of another use: the issuer's other keys are good.
    const key = await importJWK({ ...jwk, alg: algorithm }, algorithm).catch(() => undefined)
    return key === undefined || key instanceof Uint8Array ? [] : [[kid, key] as const]
  })
  const keys = new Map((await Promise.all(imported)).flat())
  if (keys.size === 0) throw new Error(`the key set has no usable key for ${algorithm}`)
  return keys
}

/**
 * Reads a key set from `https:` or `file:`; in development also from `http:`. Redirects are refused: they could lead
 * anywhere. Throws SecretError for another URL.
 */
export function createSetLoader(location: string, mode: RunMode): () => Promise<string> {
  const url = URL.canParse(location) ? new URL(location) : undefined
  if (url?.protocol === 'file:') return () => readFile(url, 'utf8')
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && mode === 'development'))
    return () => fetchText(url.href)
  throw new SecretError('the URL of the key set must begin with https: or file:')
}

async function fetchText(url: string): Promise<string> {
  const answer = await fetch(url, {
    redirect: 'error',
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  })
  if (!answer.ok || answer.body === null) throw new Error(`the key set answered ${answer.status}`)
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of answer.body) {
    bytes += chunk.length
    if (bytes > MAX_SET_BYTES) throw new Error('the key set is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
