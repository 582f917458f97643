// Key ring: the versions of one key, read from a mounted file. The primary version seals; older versions only decrypt
// what they sealed. There are two rings: `key` for payment keys, `pii` for personal data.

import { z } from 'zod'
import { hasDuplicates, parseSecret, parseSecretFile, SecretError, type RunMode } from './secret.ts'

/** A production ring with one version cannot be rotated without a gap. */
const MIN_PRODUCTION_VERSIONS = 2
const MAX_VERSIONS = 16

const version = z.number().int().min(1).max(2_147_483_647)
const RING_FILE = z.strictObject({
  primary: version,
  versions: z
    .array(z.strictObject({ version, secret: z.string() }))
    .min(1)
    .max(MAX_VERSIONS),
})

/** The secrets stay inside the closure: a ring that is logged or serialised shows only its primary version. */
export type Ring = {
  primary: number
  /** The secret of a version; throws SecretError if the ring does not contain it. */
  secretOf: (version: number) => Buffer
}

/** Reads `{"primary","versions":[{"version","secret"}]}`; secrets are base64 of at least 32 bytes. Throws SecretError. */
export function loadRing(name: string, json: string, mode: RunMode): Ring {
  const { primary, versions } = parseSecretFile(name, json, RING_FILE)
  const secrets = new Map(
    versions.map((entry) => [entry.version, parseSecret(`${name} version ${entry.version}`, entry.secret, mode)]),
  )
  if (secrets.size < versions.length || hasDuplicates(versions.map(({ secret }) => secret)))
    throw new SecretError(`${name} contains a version or a secret twice`)
  if (!secrets.has(primary)) throw new SecretError(`${name} does not contain its primary version`)
  if (mode === 'production' && secrets.size < MIN_PRODUCTION_VERSIONS)
    throw new SecretError(`${name} needs at least ${MIN_PRODUCTION_VERSIONS} versions in production`)
  return {
    primary,
    secretOf: (wanted) => {
      const secret = secrets.get(wanted)
      if (secret === undefined) throw new SecretError(`${name} does not contain version ${wanted}`)
      return secret
    },
  }
}
