// Verifies payment requests before a command shows or pays them, where the shop's public quote keys are configured.

import { readFile } from 'node:fs/promises'
import type { Config } from '../../config.ts'
import { isQuoteGenuine, type Order } from '../../grpc/client.ts'
import { loadPublicKeys, type PublicKeys } from '../../keyvault/ed25519.ts'
import { SecretError } from '../../keyvault/secret.ts'
import { RefusedError, UsageError } from './exit.ts'

const VARIABLE = 'HOLDFAST_QUOTE_PUBLIC_KEYS_FILE'

/** Undefined where no file is configured. @throws {UsageError} for one that has no key */
export async function findQuoteKeys(config: Config<'cli'>): Promise<PublicKeys | undefined> {
  const path = config[VARIABLE]
  if (path === undefined) return undefined
  const pem = await readFile(path, 'utf8').catch(() => {
    throw new UsageError(`${VARIABLE}: ${path} cannot be read`)
  })
  try {
    return loadPublicKeys(VARIABLE, pem)
  } catch (error) {
    throw error instanceof SecretError ? new UsageError(error.message) : error
  }
}

/** @throws {RefusedError} for a payment request that none of the keys signed for this order; without keys, never */
export function assertGenuine(keys: PublicKeys | undefined, orderId: string, request: Order['paymentRequest']): void {
  if (keys === undefined || request === undefined || isQuoteGenuine(orderId, request, keys)) return
  throw new RefusedError(
    `the payment request of order ${orderId} is not signed by the shop: do not pay it (${VARIABLE} has the shop's keys)`,
  )
}
