// Connection options for processes without Temporal workers. The worker's connection has such limits in the SDK's core:
// a keepalive every 30 s with a timeout of 15 s.

import {
  defaultGrpcRetryOptions,
  makeGrpcRetryInterceptor,
  type ConnectionOptions,
  type TLSConfig,
} from '@temporalio/client'
import type { Config } from '../config.ts'
import { usesTls } from '../domain/deployment.ts'
import { KEEPALIVE, RECONNECT_FROM_MS, RECONNECT_TO_MS, type Keepalive } from '../grpc/client.ts'
import { readClientTls } from '../grpc/tls.ts'

/** A short failure is hidden by retries; an outage is reported within a second. */
const ENGINE_ATTEMPTS = 3

/** A silent connection is noticed within 20 s, and a server that returns is found within 5 s. */
export const temporalOptions = (
  address: string,
  keepalive: Keepalive = KEEPALIVE,
  tls?: TLSConfig,
): ConnectionOptions => ({
  address,
  ...(tls !== undefined && { tls }),
  interceptors: [makeGrpcRetryInterceptor(defaultGrpcRetryOptions({ maxAttempts: ENGINE_ATTEMPTS }))],
  channelArgs: {
    'grpc.keepalive_time_ms': keepalive.everyMs,
    'grpc.keepalive_timeout_ms': keepalive.withinMs,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.initial_reconnect_backoff_ms': RECONNECT_FROM_MS,
    'grpc.max_reconnect_backoff_ms': RECONNECT_TO_MS,
  },
})

type TemporalTlsConfig = Pick<
  Config<'worker'>,
  | 'HOLDFAST_MODE'
  | 'HOLDFAST_PRIVATE_HOSTS'
  | 'TEMPORAL_TLS_CA_FILE'
  | 'TEMPORAL_TLS_CERT_FILE'
  | 'TEMPORAL_TLS_KEY_FILE'
>

/**
 * TLS to every Temporal, except on this machine and on hosts named as private. A file asks for it there too. Throws
 * CertificateError.
 */
export async function readTemporalTls(config: TemporalTlsConfig, address: string): Promise<TLSConfig | undefined> {
  const { TEMPORAL_TLS_CA_FILE: caFile, TEMPORAL_TLS_CERT_FILE: certFile, TEMPORAL_TLS_KEY_FILE: keyFile } = config
  const isAsked = [caFile, certFile, keyFile].some((file) => file !== undefined)
  if (!isAsked && !usesTls(config, address)) return undefined
  const { ca, cert, key } = await readClientTls({ caFile, certFile, keyFile })
  return {
    ...(ca !== undefined && { serverRootCACertificate: ca }),
    ...(cert !== undefined && key !== undefined && { clientCertPair: { crt: cert, key } }),
  }
}
