// Signatures of outgoing webhooks by the Standard Webhooks scheme, version v1, which its libraries verify. Several
// secrets sign in parallel, so that a receiver can rotate its secret at any time.

import { parseSecret, SecretError, type RunMode } from './secret.ts'
import { signReport } from './signature.ts'

const PREFIX = 'whsec_'
const MAX_SECRETS = 4
/** The scheme's own maximum. */
const MAX_SECRET_BYTES = 64

/** Reads one `whsec_…` secret per line, one to four, the newest first. Throws SecretError. */
export function loadWebhookSecrets(text: string, mode: RunMode): readonly Buffer[] {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  if (lines.length < 1 || lines.length > MAX_SECRETS)
    throw new SecretError(`webhook secrets: one to ${MAX_SECRETS} are needed, one per line`)
  return lines.map((line, at) => {
    const name = `webhook secret ${at + 1}`
    if (!line.startsWith(PREFIX)) throw new SecretError(`${name} does not begin with ${PREFIX}`)
    const secret = parseSecret(name, line.slice(PREFIX.length), mode)
    if (secret.length > MAX_SECRET_BYTES) throw new SecretError(`${name} has more than ${MAX_SECRET_BYTES} bytes`)
    return secret
  })
}

export type WebhookMessage = { id: string; timestampS: bigint; body: Buffer }

/** Creates a function that builds the header `webhook-signature`: one `v1,…` per secret, separated by spaces. */
export const createWebhookSigner =
  (secrets: readonly Buffer[]) =>
  ({ id, timestampS, body }: WebhookMessage): string =>
    secrets.map((secret) => signReport({ secret, algorithm: 'sha256', id, timestampS, report: body })).join(' ')
