// Checks the secret files of a process before anything starts, so that one error lists everything that is wrong: each
// loader alone would stop at its first problem. The process loads them once more for use.

import { ConfigError, readSecretFile, type Inspection, type ProcessName } from '../config.ts'
import { loadSealer, loadSealerKeys } from '../keyvault/checkpoint.ts'
import { createSetLoader } from '../keyvault/jwks.ts'
import { loadRing } from '../keyvault/ring.ts'
import { parseSecret, SecretError, type RunMode } from '../keyvault/secret.ts'
import { loadSources } from '../keyvault/signature.ts'
import { loadTokenSecrets } from '../keyvault/token.ts'
import { loadWebhookSecrets } from '../keyvault/webhook.ts'

type Load = (name: string, text: string, mode: RunMode) => unknown

const LOADERS: Readonly<Record<string, Load>> = {
  HOLDFAST_JWT_SECRETS_FILE: (_name, text, mode) => loadTokenSecrets(text, mode),
  HOLDFAST_PII_KEYRING_FILE: loadRing,
  HOLDFAST_KEY_KEYRING_FILE: loadRing,
  HOLDFAST_ORDER_ID_SECRET_FILE: parseSecret,
  HOLDFAST_SOURCES_FILE: (_name, text, mode) => loadSources(text, mode),
  HOLDFAST_SOURCE_SECRET_FILE: parseSecret,
  HOLDFAST_SEAL_KEY_FILE: loadSealer,
  HOLDFAST_SEAL_PUBLIC_KEYS_FILE: loadSealerKeys,
  HOLDFAST_WEBHOOK_SECRET_FILE: (_name, text, mode) => loadWebhookSecrets(text, mode),
}

/** Those that a process reads itself. */
const READ_BY: Readonly<Partial<Record<ProcessName, readonly (keyof typeof LOADERS)[]>>> = {
  api: [
    'HOLDFAST_JWT_SECRETS_FILE',
    'HOLDFAST_PII_KEYRING_FILE',
    'HOLDFAST_ORDER_ID_SECRET_FILE',
    'HOLDFAST_SOURCES_FILE',
  ],
  worker: ['HOLDFAST_WEBHOOK_SECRET_FILE'],
  keys: ['HOLDFAST_KEY_KEYRING_FILE'],
  watcher: ['HOLDFAST_SOURCE_SECRET_FILE'],
  sealer: ['HOLDFAST_SEAL_KEY_FILE', 'HOLDFAST_SEAL_PUBLIC_KEYS_FILE'],
}

/** An inspection for `loadConfig`: what is wrong with the secret files of a process. */
export const inspectSecrets =
  (name: ProcessName): Inspection =>
  (env, mode) => {
    const inspect = (variable: string, load: (value: string) => unknown): string[] => {
      const value = env[variable]
      const problem = value === undefined || value.trim() === '' ? undefined : problemOf(() => load(value))
      if (problem === undefined) return []
      return [problem.startsWith(variable) ? problem : `${variable}: ${problem}`]
    }
    const files = (READ_BY[name] ?? []).flatMap((variable) =>
      inspect(variable, (path) => LOADERS[variable]?.(variable, readSecretFile(variable, path), mode)),
    )
    if (name !== 'api') return files
    return [...files, ...inspect('HOLDFAST_JWKS_URL', (location) => createSetLoader(location, mode))]
  }

function problemOf(load: () => unknown): string | undefined {
  try {
    load()
    return undefined
  } catch (error) {
    if (error instanceof SecretError || error instanceof ConfigError) return error.message
    throw error
  }
}
