// Parsers of secret files: minimum length, one spelling, and never a development value in production. Error messages
// name the secret and never show it.

import type { z } from 'zod'

/** A shorter secret would make an HMAC or a derived key weaker than the cipher behind it. */
const MIN_SECRET_BYTES = 32
/** The first bytes of secrets that main/dev.ts creates, so that a copied data directory cannot run in production. */
const DEVELOPMENT_MARK = 'development-'

export type RunMode = 'production' | 'development'

/** Thrown at start only: the process must not run with these secrets. */
export class SecretError extends Error {
  override readonly name = 'SecretError'
}

/** Whether a secret was made for development: only such a secret may sign tokens on a developer's machine. */
export const hasDevelopmentMark = (secret: Buffer): boolean =>
  secret.subarray(0, DEVELOPMENT_MARK.length).equals(Buffer.from(DEVELOPMENT_MARK))

/** Decodes one base64 secret of at least 32 bytes. Throws SecretError. */
export function parseSecret(name: string, text: string, mode: RunMode): Buffer {
  const secret = Buffer.from(text, 'base64')
  if (secret.toString('base64') !== text) throw new SecretError(`${name} is not plain base64`)
  if (secret.length < MIN_SECRET_BYTES) throw new SecretError(`${name} has fewer than ${MIN_SECRET_BYTES} bytes`)
  if (mode === 'production' && hasDevelopmentMark(secret))
    throw new SecretError(`${name} is a development value: create another one for production`)
  return secret
}

/** Reads a JSON file of secrets. Throws SecretError with the invalid parts' names, never their values. */
export function parseSecretFile<Schema extends z.ZodType>(
  name: string,
  json: string,
  schema: Schema,
): z.output<Schema> {
  const result = schema.safeParse(parseJson(name, json))
  if (result.success) return result.data
  const places = result.error.issues.map((issue) => [name, ...issue.path].join('.'))
  throw new SecretError(`invalid or missing: ${[...new Set(places)].join(', ')}`)
}

function parseJson(name: string, json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    // Without the cause: a parser's message quotes its input.
    throw new SecretError(`${name} is not JSON`)
  }
}

export const hasDuplicates = (values: readonly unknown[]): boolean => new Set(values).size < values.length
