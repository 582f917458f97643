// TLS as the configuration says: that of the api's ports, with its metrics and log lines, and that of a watcher's calls.

import type { ServerCredentials } from '@grpc/grpc-js'
import type { Config } from '../config.ts'
import { usesTls } from '../domain/deployment.ts'
import { openServerTls, readClientTls, type ClientTls } from '../grpc/tls.ts'
import { Gauge } from '../telemetry.ts'
import type { ServiceContext } from './process.ts'

const MS_PER_S = 1_000

/** Undefined where calls are in clear: in development, or behind a proxy that ends TLS. Throws CertificateError. */
export async function openTls(service: ServiceContext<'api'>): Promise<ServerCredentials | undefined> {
  const { config, logger, registry } = service
  const { HOLDFAST_TLS_CERT_FILE: certFile, HOLDFAST_TLS_KEY_FILE: keyFile } = config
  if (certFile === undefined || keyFile === undefined) return undefined
  const tls = await openServerTls({
    ...{ certFile, keyFile, clientCaFile: config.HOLDFAST_TLS_CLIENT_CA_FILE },
    requiresClientCert: config.HOLDFAST_TLS_CLIENT_CERT === 'required',
    onReload: (expiresAt) => logger.info({ expiresAt }, 'new certificate in use'),
    onRefused: (reason) => logger.error({ reason }, 'new certificate refused, the last good one stays in use'),
  })
  service.onStop(async () => tls.stop())
  const gauge = (name: string, help: string, read: () => number): void =>
    registry.registerMetric(
      new Gauge({
        name: `holdfast_tls_${name}`,
        help,
        registers: [],
        collect() {
          this.set(read())
        },
      }),
    )
  gauge('certificate_expiry_timestamp_seconds', 'When the certificate in use ends.', () =>
    Math.floor(tls.expiresAt().getTime() / MS_PER_S),
  )
  gauge('certificate_stale', '1 while the certificate files cannot be used and the last good one is in use.', () =>
    Number(tls.isStale()),
  )
  return tls.credentials
}

/** TLS to every api, except on this machine and on hosts named as private. A CA file asks for it there too. */
export async function readApiTls(config: Config<'watcher'>): Promise<ClientTls | undefined> {
  const { HOLDFAST_API_CA_FILE: caFile, HOLDFAST_API_CERT_FILE: certFile, HOLDFAST_API_KEY_FILE: keyFile } = config
  const isAsked = [caFile, certFile, keyFile].some((file) => file !== undefined)
  if (!isAsked && !usesTls(config, config.HOLDFAST_API_ADDRESS)) return undefined
  return readClientTls({ caFile, certFile, keyFile })
}
