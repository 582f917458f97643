// The signer of the payer, as its configuration names it: exactly one, and in production the one without a key.

import { ConfigError, readSecretFile, type Config } from '../config.ts'
import type { RunMode } from '../keyvault/secret.ts'
import { createDevelopmentSigner } from '../payout/development_signer.ts'
import { createFileSigner } from '../payout/file_signer.ts'
import type { Signer } from '../payout/signer.ts'

/** What is wrong with these variables, one line for each. */
export function inspectSigner(env: NodeJS.ProcessEnv, mode: RunMode): string[] {
  const { HOLDFAST_PAYOUT_KEY_FILE: keyFile, HOLDFAST_PAYOUT_DIR: dir, HOLDFAST_PAYOUT_SENDER: sender } = env
  if (keyFile && dir) return ['HOLDFAST_PAYOUT_KEY_FILE: excludes HOLDFAST_PAYOUT_DIR: remove one']
  if (keyFile && mode === 'production')
    return [
      'HOLDFAST_PAYOUT_KEY_FILE: a key that is online is for development: set HOLDFAST_PAYOUT_DIR and ' +
        'HOLDFAST_PAYOUT_SENDER',
    ]
  if (keyFile || (dir && sender)) return []
  return [`HOLDFAST_PAYOUT_${dir ? 'SENDER' : 'DIR'}: is not set: set HOLDFAST_PAYOUT_DIR and HOLDFAST_PAYOUT_SENDER`]
}

/** @throws {ConfigError} if the file of the key, or the folder, cannot be used */
export async function openSigner(config: Config<'payer'>): Promise<Signer> {
  const {
    HOLDFAST_PAYOUT_KEY_FILE: keyFile,
    HOLDFAST_PAYOUT_DIR: dir = '',
    HOLDFAST_PAYOUT_SENDER: sender = '',
  } = config
  if (keyFile === undefined) return createFileSigner({ dir, sender })
  try {
    return createDevelopmentSigner(readSecretFile('HOLDFAST_PAYOUT_KEY_FILE', keyFile))
  } catch (error) {
    if (error instanceof ConfigError) throw error
    // Without the cause, which could quote the key.
    throw new ConfigError('HOLDFAST_PAYOUT_KEY_FILE: it is not a private key: 0x and 64 lower-case hex digits')
  }
}
