// The payment page of the api process, as its configuration says: links, listener, limits, certificate.

import { readSecretFile, type Config } from '../config.ts'
import { cidrsOf } from '../config_schema.ts'
import type { Database } from '../db/connection/pool.ts'
import { findPaymentFacts } from '../db/payment_page.ts'
import { createAddressSet, createPeerOf } from '../grpc/peer.ts'
import { startPayListener, type PayListenerOptions } from '../http/pay.ts'
import { createFactsReader } from '../http/pay_reader.ts'
import { createPayLinks, loadPayLinkSecrets, type PayLinks } from '../keyvault/pay_link.ts'
import { chainIdOf } from './asset.ts'
import { nameTakenPort, type ServiceContext } from './process.ts'
import type { ApiTls } from './tls.ts'

export type PayPages = {
  links: PayLinks
  /** The link of an order. */
  urlOf: (order: { orderId: string; createdAt: Date }) => string
}

/** Undefined where the shop has no payment page. Throws ConfigError, SecretError. */
export function openPayPages(config: Config<'api'>): PayPages | undefined {
  const { HOLDFAST_PAY_URL: base, HOLDFAST_PAY_SECRETS_FILE: path, HOLDFAST_MODE: mode } = config
  if (base === undefined || path === undefined) return undefined
  const variable = 'HOLDFAST_PAY_SECRETS_FILE'
  const links = createPayLinks(loadPayLinkSecrets(variable, readSecretFile(variable, path), mode))
  return { links, urlOf: (order) => new URL(`/pay/${links.tokenOf(order)}`, base).href }
}

/** Serves the payment page until the process stops. */
export async function servePayPages(
  service: ServiceContext<'api'>,
  { links }: PayPages,
  database: Pick<Database, 'sql'>,
  tls: ApiTls | undefined,
): Promise<void> {
  const { config, logger, registry } = service
  const { HOLDFAST_PAY_PORT: port, HOLDFAST_PAY_URL: base = '', HOLDFAST_PAY_REFUND_URL: refundUrl } = config
  const proxies = createAddressSet(cidrsOf(config.HOLDFAST_TRUSTED_PROXIES))
  const options: PayListenerOptions = {
    bind: config.HOLDFAST_PAY_BIND,
    port,
    isSecure: new URL(base).protocol === 'https:',
    openLink: (token) => links.open(token, new Date()),
    tokenOf: links.tokenOf,
    findFacts: createFactsReader((orderIds) => findPaymentFacts(database, orderIds)),
    chainId: chainIdOf(config),
    refundUrlOf: refundUrl === undefined ? undefined : (orderId) => refundUrl.replaceAll('{order}', orderId),
    peerOf: createPeerOf(proxies),
    isProxy: proxies.has,
    registry,
    logger,
    ...(tls !== undefined && { identity: tls.identity() }),
  }
  const listener = await startPayListener(options).catch(nameTakenPort({ HOLDFAST_PAY_PORT: port }))
  service.onStop(listener.stop)
  tls?.whenReloaded(listener.setIdentity)
  logger.info({ port: listener.port }, 'payment page serves')
}
