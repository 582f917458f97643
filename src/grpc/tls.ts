// TLS of the gRPC servers, with hot reload: the certificate files are read again at intervals, and a new certificate is
// used for new connections. A file that is broken, half written or expired never replaces the last good certificate.

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { experimental, type ServerCredentials } from '@grpc/grpc-js'

/** Certificates are renewed days before they end: a minute more does not matter. Kubernetes and certbot swap files. */
const RELOAD_EVERY_MS = 10_000

/** A certificate, key or CA that cannot be used. The message names the variable or file, and shows no content. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError'
}

export type TlsFiles = {
  certFile: string
  keyFile: string
  /** Client certificates of this CA are accepted. Without one, clients are not asked for a certificate. */
  clientCaFile?: string | undefined
  /** Refuses connections without a client certificate. Otherwise the certificate is asked for and may be absent. */
  requiresClientCert?: boolean
}

export type Identity = { cert: Buffer; key: Buffer; clientCa: Buffer | undefined; expiresAt: Date }

export type ServerTls = {
  credentials: ServerCredentials
  /** The certificate in use. */
  identity: () => Identity
  /** When the certificate in use ends. */
  expiresAt: () => Date
  /** Whether the files hold something else than what is in use, because it cannot be used. */
  isStale: () => boolean
  /** Reads the files now, as the timer does. */
  reload: () => Promise<void>
  stop: () => void
}

export type ServerTlsOptions = TlsFiles & {
  /** Called when a new certificate is in use. */
  onReload: (expiresAt: Date) => void
  /** Called once for each content that is refused. */
  onRefused: (reason: string) => void
  everyMs?: number
}

/** Reads the files and checks that a server can use them now. Throws CertificateError. */
export async function readIdentity({ certFile, keyFile, clientCaFile }: TlsFiles, now = Date.now()): Promise<Identity> {
  const [cert, key, clientCa] = await Promise.all([certFile, keyFile, clientCaFile].map(readIfNamed))
  if (cert === undefined || key === undefined) throw new CertificateError('a certificate needs a file and a key file')
  return checkIdentity({ cert, key, clientCa }, now)
}

async function readIfNamed(path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined
  return readFile(path).catch(() => {
    throw new CertificateError(`${path} cannot be read`)
  })
}

/** Throws CertificateError unless a server can use these now. */
export function checkIdentity({ cert, key, clientCa }: Omit<Identity, 'expiresAt'>, now = Date.now()): Identity {
  const certificate = parsed('the certificate is not PEM', () => new X509Certificate(cert))
  const privateKey = parsed('the key is not an unencrypted private key in PEM', () => createPrivateKey(key))
  if (!certificate.checkPrivateKey(privateKey)) throw new CertificateError('the key does not fit the certificate')
  if (clientCa !== undefined) parsed('the client CA is not PEM', () => new X509Certificate(clientCa))
  parsed('Node cannot use the certificate and key', () =>
    createSecureContext({ cert, key, ...(clientCa !== undefined && { ca: clientCa }) }),
  )
  const [from, to] = [new Date(certificate.validFrom), new Date(certificate.validTo)]
  if (now < from.getTime()) throw new CertificateError(`the certificate is valid from ${from.toISOString()} only`)
  if (now >= to.getTime()) throw new CertificateError(`the certificate ended on ${to.toISOString()}`)
  return { cert, key, clientCa, expiresAt: to }
}

/** Parser messages are dropped: they may quote their input. */
function parsed<T>(message: string, parse: () => T): T {
  try {
    return parse()
  } catch {
    throw new CertificateError(message)
  }
}

/** Throws CertificateError if the files cannot be used at the start. */
export async function openServerTls(options: ServerTlsOptions): Promise<ServerTls> {
  let current = await readIdentity(options)
  let refused: string | undefined
  const provider = createProvider(() => current)

  async function reload(): Promise<void> {
    try {
      const next = await readIdentity(options)
      refused = undefined
      if (isSame(next, current)) return
      current = next
      provider.publish()
      options.onReload(next.expiresAt)
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'unknown error'
      if (reason !== refused) options.onRefused(reason)
      refused = reason
    }
  }

  const timer = setInterval(() => void reload(), options.everyMs ?? RELOAD_EVERY_MS)
  timer.unref()
  return {
    // The declaration of this function names its first two parameters the other way round.
    credentials: experimental.createCertificateProviderServerCredentials(
      provider,
      options.clientCaFile === undefined ? null : provider,
      options.requiresClientCert ?? false,
    ),
    identity: () => current,
    expiresAt: () => current.expiresAt,
    isStale: () => refused !== undefined,
    reload,
    stop: () => clearInterval(timer),
  }
}

const isSame = (one: Identity, other: Identity): boolean =>
  one.cert.equals(other.cert) &&
  one.key.equals(other.key) &&
  (one.clientCa ?? Buffer.alloc(0)).equals(other.clientCa ?? Buffer.alloc(0))

type Provider = experimental.CertificateProvider & { publish: () => void }

/**
 * Tells each listener the present identity after it was added, and each later one. Not during the call that adds it:
 * the library puts its servers on the list of those to be told only then.
 */
function createProvider(current: () => Identity): Provider {
  const identityListeners = new Set<experimental.IdentityCertificateUpdateListener>()
  const caListeners = new Set<experimental.CaCertificateUpdateListener>()
  const tellIdentity = (listener: experimental.IdentityCertificateUpdateListener): void =>
    listener({ certificate: current().cert, privateKey: current().key })
  const tellCa = (listener: experimental.CaCertificateUpdateListener): void => {
    const { clientCa } = current()
    if (clientCa !== undefined) listener({ caCertificate: clientCa })
  }
  return {
    addIdentityCertificateListener: (listener) => {
      identityListeners.add(listener)
      queueMicrotask(() => tellIdentity(listener))
    },
    removeIdentityCertificateListener: (listener) => void identityListeners.delete(listener),
    addCaCertificateListener: (listener) => {
      caListeners.add(listener)
      queueMicrotask(() => tellCa(listener))
    },
    removeCaCertificateListener: (listener) => void caListeners.delete(listener),
    publish: () => {
      // The CA first: the library builds a context at each update, and the last one stays.
      for (const listener of caListeners) tellCa(listener)
      for (const listener of identityListeners) tellIdentity(listener)
    },
  }
}

/** TLS of our own clients. Without a CA, the system's CAs are trusted. */
export type ClientTls = { ca?: Buffer; cert?: Buffer; key?: Buffer }

export type ClientTlsFiles = {
  caFile?: string | undefined
  certFile?: string | undefined
  keyFile?: string | undefined
}

/** Reads the files of a client that uses TLS. Throws CertificateError. */
export async function readClientTls({ caFile, certFile, keyFile }: ClientTlsFiles): Promise<ClientTls> {
  const [ca, cert, key] = await Promise.all([caFile, certFile, keyFile].map(readIfNamed))
  const tls: ClientTls = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) }
  checkClientTls(tls)
  return tls
}

/** Throws CertificateError unless a client can use these. */
export function checkClientTls(tls: ClientTls): void {
  parsed('the files of the client cannot be used for TLS', () => createSecureContext(tls))
}
