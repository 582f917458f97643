// The channels to which a worker delivers status changes: its log, and a webhook where one is configured.

import { ConfigError, readSecretFile, type Config } from '../config.ts'
import { createWebhookSigner, loadWebhookSecrets } from '../keyvault/webhook.ts'
import { createLogChannel, type Channel } from '../relay/notify.ts'
import { createWebhookChannel, parseWebhookUrl } from '../relay/webhook.ts'
import type { Logger } from '../telemetry.ts'

/** @throws {ConfigError | SecretError} when the webhook is configured incompletely or unsafely */
export function createChannels(config: Config<'worker'>, logger: Logger): readonly Channel[] {
  const { HOLDFAST_WEBHOOK_URL: text, HOLDFAST_WEBHOOK_SECRET_FILE: secretFile, HOLDFAST_MODE: mode } = config
  const channels = [createLogChannel(logger)]
  if (text === undefined && secretFile === undefined) return channels
  if (text === undefined || secretFile === undefined)
    throw new ConfigError('set HOLDFAST_WEBHOOK_URL and HOLDFAST_WEBHOOK_SECRET_FILE together, or neither')
  const allowPrivate = config.HOLDFAST_WEBHOOK_PRIVATE === 'allow'
  const secrets = loadWebhookSecrets(readSecretFile('HOLDFAST_WEBHOOK_SECRET_FILE', secretFile), mode)
  const sign = createWebhookSigner(secrets)
  const url = urlOf(text, { isProduction: mode === 'production', allowPrivate })
  return [...channels, createWebhookChannel({ url, sign, allowPrivate })]
}

function urlOf(text: string, rules: Parameters<typeof parseWebhookUrl>[1]): URL {
  try {
    return parseWebhookUrl(text, rules)
  } catch (error) {
    throw new ConfigError(`HOLDFAST_WEBHOOK_URL ${(error as Error).message}`)
  }
}
