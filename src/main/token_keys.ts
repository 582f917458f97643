// What the api verifies callers with: secrets of its own or the keys of an issuer, and the certificates of machines.

import { ConfigError, readSecretFile, type Config } from '../config.ts'
import { parseClientSans, type ClientSans } from '../grpc/client_san.ts'
import { createIssuerKeys, createSetLoader } from '../keyvault/jwks.ts'
import { loadTokenSecrets, type TokenKeys } from '../keyvault/token.ts'
import { Counter, type Logger, type Registry } from '../telemetry.ts'

type Settings = Pick<
  Config<'api'>,
  | 'HOLDFAST_MODE'
  | 'HOLDFAST_JWT_SECRETS_FILE'
  | 'HOLDFAST_JWKS_URL'
  | 'HOLDFAST_JWT_ALGORITHM'
  | 'HOLDFAST_CLIENT_SANS_FILE'
>

/**
 * Of two families of signatures, exactly one: with both, a public key could be passed off as a secret.
 * @throws {ConfigError | SecretError} where none or both are configured, or one unsafely
 */
export function createTokenKeys(config: Settings, logger: Pick<Logger, 'warn'>, registry: Registry): TokenKeys {
  const { HOLDFAST_MODE: mode, HOLDFAST_JWT_SECRETS_FILE: secretsFile, HOLDFAST_JWKS_URL: location } = config
  if ((secretsFile === undefined) === (location === undefined))
    throw new ConfigError('set HOLDFAST_JWT_SECRETS_FILE or HOLDFAST_JWKS_URL, and not both')
  if (secretsFile !== undefined)
    return { secrets: loadTokenSecrets(readSecretFile('HOLDFAST_JWT_SECRETS_FILE', secretsFile), mode) }
  const failures = new Counter({
    name: 'holdfast_issuer_key_failures_total',
    help: 'Reads of the key set of the token issuer that failed.',
    registers: [registry],
  })
  const issuerKeys = createIssuerKeys({
    algorithm: config.HOLDFAST_JWT_ALGORITHM,
    load: createSetLoader(location ?? '', mode),
    onFailure: (error) => {
      failures.inc()
      logger.warn({ err: error }, 'key set of the issuer not read')
    },
  })
  return { issuerKeys }
}

/** @throws {ConfigError} where the file is not one of bindings */
export function readClientSans({ HOLDFAST_CLIENT_SANS_FILE: file }: Settings): ClientSans | undefined {
  return file === undefined ? undefined : parseClientSansFile(readSecretFile('HOLDFAST_CLIENT_SANS_FILE', file))
}

/** @throws {ConfigError} where the text is not one of bindings */
export function parseClientSansFile(json: string): ClientSans {
  try {
    return parseClientSans(json)
  } catch (cause) {
    throw new ConfigError(
      'HOLDFAST_CLIENT_SANS_FILE: must have {"clients":[{"subject":"watcher-1","uri":"spiffe://…"}]}, each subject once',
      { cause },
    )
  }
}
