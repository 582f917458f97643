// Checks the secrets and certificates of a process before anything starts, so that one error lists everything that is wrong: each
// loader alone would stop at its first problem. The process loads them once more for use.

import { ConfigError, readSecretFile, type Inspection, type ProcessName } from '../config.ts'
import { CertificateError, checkClientTls, checkIdentity } from '../grpc/tls.ts'
import { loadSealer, loadSealerKeys } from '../keyvault/checkpoint.ts'
import { loadPublicKeys, loadTextSigner } from '../keyvault/ed25519.ts'
import { createSetLoader } from '../keyvault/jwks.ts'
import { loadPayLinkSecrets } from '../keyvault/pay_link.ts'
import { loadRing } from '../keyvault/ring.ts'
import { parseSecret, SecretError, type RunMode } from '../keyvault/secret.ts'
import { loadSources } from '../keyvault/signature.ts'
import { loadTokenSecrets } from '../keyvault/token.ts'
import { loadWebhookSecrets } from '../keyvault/webhook.ts'
import { inspectSigner } from './payout_signer.ts'
import { parseClientSansFile } from './token_keys.ts'

type Load = (name: string, text: string, mode: RunMode) => unknown

const LOADERS: Readonly<Record<string, Load>> = {
  HOLDFAST_JWT_SECRETS_FILE: (_name, text, mode) => loadTokenSecrets(text, mode),
  HOLDFAST_PII_KEYRING_FILE: loadRing,
  HOLDFAST_KEY_KEYRING_FILE: loadRing,
  HOLDFAST_ORDER_ID_SECRET_FILE: parseSecret,
  HOLDFAST_SOURCES_FILE: (_name, text, mode) => loadSources(text, mode),
  HOLDFAST_CLIENT_SANS_FILE: (_name, text) => parseClientSansFile(text),
  HOLDFAST_SOURCE_SECRET_FILE: parseSecret,
  HOLDFAST_QUOTE_KEY_FILE: loadTextSigner,
  HOLDFAST_REFUND_KEY_FILE: loadTextSigner,
  HOLDFAST_REFUND_PUBLIC_KEYS_FILE: loadPublicKeys,
  HOLDFAST_SEAL_KEY_FILE: loadSealer,
  HOLDFAST_SEAL_PUBLIC_KEYS_FILE: loadSealerKeys,
  HOLDFAST_WEBHOOK_SECRET_FILE: (_name, text, mode) => loadWebhookSecrets(text, mode),
  HOLDFAST_PAY_SECRETS_FILE: loadPayLinkSecrets,
}

type Pem = Buffer | undefined
type Certificate = { names: readonly [string, string, string]; check: (cert: Pem, key: Pem, ca: Pem) => void }

const checkClient: Certificate['check'] = (cert, key, ca) =>
  checkClientTls({ ...(cert && { cert }), ...(key && { key }), ...(ca && { ca }) })
const TEMPORAL: Certificate = {
  names: ['TEMPORAL_TLS_CERT_FILE', 'TEMPORAL_TLS_KEY_FILE', 'TEMPORAL_TLS_CA_FILE'],
  check: checkClient,
}
const CERTIFICATES: Readonly<Partial<Record<ProcessName, readonly Certificate[]>>> = {
  api: [
    {
      names: ['HOLDFAST_TLS_CERT_FILE', 'HOLDFAST_TLS_KEY_FILE', 'HOLDFAST_TLS_CLIENT_CA_FILE'],
      check: (cert, key, clientCa) => void (cert && key && checkIdentity({ cert, key, clientCa })),
    },
    TEMPORAL,
  ],
  worker: [TEMPORAL],
  watcher: [{ names: ['HOLDFAST_API_CERT_FILE', 'HOLDFAST_API_KEY_FILE', 'HOLDFAST_API_CA_FILE'], check: checkClient }],
}

/** Those that a process reads itself. */
const READ_BY: Readonly<Partial<Record<ProcessName, readonly (keyof typeof LOADERS)[]>>> = {
  api: [
    'HOLDFAST_JWT_SECRETS_FILE',
    'HOLDFAST_PII_KEYRING_FILE',
    'HOLDFAST_ORDER_ID_SECRET_FILE',
    'HOLDFAST_SOURCES_FILE',
    'HOLDFAST_QUOTE_KEY_FILE',
    'HOLDFAST_REFUND_KEY_FILE',
    'HOLDFAST_CLIENT_SANS_FILE',
    'HOLDFAST_PAY_SECRETS_FILE',
  ],
  worker: ['HOLDFAST_WEBHOOK_SECRET_FILE'],
  keys: ['HOLDFAST_KEY_KEYRING_FILE'],
  watcher: ['HOLDFAST_SOURCE_SECRET_FILE'],
  sealer: ['HOLDFAST_SEAL_KEY_FILE', 'HOLDFAST_SEAL_PUBLIC_KEYS_FILE'],
  payer: ['HOLDFAST_REFUND_PUBLIC_KEYS_FILE'],
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
    return [
      ...files,
      ...(CERTIFICATES[name] ?? []).flatMap((certificate) => inspectCertificate(env, certificate)),
      ...(name === 'payer' ? inspectSigner(env, mode) : []),
      ...(name === 'api' ? inspect('HOLDFAST_JWKS_URL', (location) => createSetLoader(location, mode)) : []),
    ]
  }

/** A certificate, its key and a CA: the files are read one by one, and checked together. */
function inspectCertificate(env: NodeJS.ProcessEnv, { names, check }: Certificate): string[] {
  const problems: string[] = []
  const [cert, key, ca] = names.map((variable) => {
    const path = env[variable]
    if (path === undefined || path.trim() === '') return undefined
    let content: Buffer | undefined
    const problem = problemOf(() => (content = Buffer.from(readSecretFile(variable, path))))
    if (problem !== undefined) problems.push(problem)
    return content
  })
  if (problems.length > 0 || (cert === undefined) !== (key === undefined)) return problems
  const problem = problemOf(() => check(cert, key, ca))
  return problem === undefined ? [] : [`${names[cert === undefined ? 2 : 0]}: ${problem}`]
}

function problemOf(load: () => unknown): string | undefined {
  try {
    load()
    return undefined
  } catch (error) {
    if (error instanceof SecretError || error instanceof ConfigError || error instanceof CertificateError)
      return error.message
    throw error
  }
}
