// The versions of one key, read from a mounted file. New things are sealed under the primary version; older versions
// stay to open what they sealed. Two keyrings exist: `key` for payment keys, `pii` for personal data.

import { z } from 'zod'
import { hasDuplicates, parseSecret, parseSecretFile, SecretError, type RunMode } from './secret.ts'

/** A production ring that holds one version has no way to rotate without a gap. */
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

/** The secrets stay inside the closure: a ring that is logged or serialised shows its primary version and no more. */
export type Ring = {
  primary: number
  /** The secret of a version; SecretError when the ring does not hold it. */
  secretOf: (version: number) => Buffer
}

/** Reads `{"primary","versions":[{"version","secret"}]}`; secrets are base64 of at least 32 bytes. Throws SecretError. */
export function loadRing(name: string, json: string, mode: RunMode): Ring {
  const { primary, versions } = parseSecretFile(name, json, RING_FILE)
  const secrets = new Map(
    versions.map((entry) => [entry.version, parseSecret(`${name} version ${entry.version}`, entry.secret, mode)]),
  )
  if (secrets.size < versions.length || hasDuplicates(versions.map(({ secret }) => secret)))
    throw new SecretError(`${name} holds a version or a secret twice`)
  if (!secrets.has(primary)) throw new SecretError(`${name} does not hold its primary version`)
  if (mode === 'production' && secrets.size < MIN_PRODUCTION_VERSIONS)
    throw new SecretError(`${name} needs at least ${MIN_PRODUCTION_VERSIONS} versions in production`)
  return {
    primary,
    secretOf: (wanted) => {
      const secret = secrets.get(wanted)
      if (secret === undefined) throw new SecretError(`${name} does not hold version ${wanted}`)
      return secret
    },
  }
}
