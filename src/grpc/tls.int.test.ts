// TLS as a stranger meets it: a real gRPC server on a real port, with certificates made for the test.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect as connectPlain } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { connect, type ConnectionOptions, type PeerCertificate, type TLSSocket } from 'node:tls'
import { Server } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { makeCertificate, type TestCertificate } from '../../test/support/certificate.ts'
import { CALL_WITHIN_MS, until } from '../../test/support/until.ts'
import { createClient } from './client.ts'
import { HealthService } from './gen/grpc/health/v1/health.ts'
import { CertificateError, openServerTls, readClientTls, readIdentity, type ServerTls, type TlsFiles } from './tls.ts'

const HOUR_MS = 3_600_000
const RELOAD_MS = 20
const authority = makeCertificate({ name: 'test authority', isAuthority: true })

let folder: string
let files: { certFile: string; keyFile: string }
let closers: (() => void)[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-tls-'))
  files = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') }
  await put(makeCertificate({ issuer: authority, name: 'first' }))
})
afterEach(async () => {
  for (const close of closers.toReversed()) close()
  closers = []
  await rm(folder, { recursive: true })
})

async function put({ cert, key }: Pick<TestCertificate, 'cert' | 'key'>): Promise<void> {
  await writeFile(files.certFile, cert)
  await writeFile(files.keyFile, key)
}

type Running = { tls: ServerTls; port: number; said: string[]; peers: (string | undefined)[] }

/** A server whose health check always says SERVING, and that notes the names in client certificates. */
async function serve(more: Partial<TlsFiles> = {}): Promise<Running> {
  const said: string[] = []
  const peers: (string | undefined)[] = []
  const tls = await openServerTls({
    ...files,
    ...more,
    onReload: () => said.push('reloaded'),
    onRefused: (reason) => said.push(reason),
    everyMs: RELOAD_MS,
  })
  const server = new Server()
  server.addService(HealthService, {
    check: (
      call: { getAuthContext: () => { sslPeerCertificate?: PeerCertificate } },
      callback: (e: null, v: object) => void,
    ) => {
      peers.push(call.getAuthContext().sslPeerCertificate?.subjectaltname)
      callback(null, { status: 1 })
    },
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', tls.credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  closers.push(tls.stop, () => server.forceShutdown())
  return { tls, port, said, peers }
}

/** A new connection: the name in the server's certificate and the protocol, or the error. */
const shake = (port: number, options: ConnectionOptions = {}): Promise<{ name: string; protocol: string | null }> =>
  new Promise((resolve, reject) => {
    const socket: TLSSocket = connect(
      { port, host: '127.0.0.1', servername: 'localhost', ca: authority.cert, ALPNProtocols: ['h2'], ...options },
      () => {
        resolve({ name: String(socket.getPeerCertificate().subject.CN), protocol: socket.getProtocol() })
        socket.destroy()
      },
    )
    socket.on('error', reject)
  })

const nameAt = async (port: number): Promise<string> => (await shake(port)).name

function clientOf(port: number, tls: Awaited<ReturnType<typeof readClientTls>> | undefined, host = 'localhost') {
  const client = createClient({ deadlineMs: CALL_WITHIN_MS, address: `${host}:${port}`, token: () => '', tls })
  closers.push(client.close)
  return client
}
const check = (client: ReturnType<typeof clientOf>) => client.health.check({})

describe('a server with TLS', () => {
  test('speaks TLS 1.2 and 1.3, and nothing older', async () => {
    const { port } = await serve()
    expect(await shake(port)).toEqual({ name: 'first', protocol: 'TLSv1.3' })
    expect(await shake(port, { maxVersion: 'TLSv1.2' })).toEqual({ name: 'first', protocol: 'TLSv1.2' })
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
    await expect(shake(port, old)).rejects.toThrow(/version|alert/i)
  })

  test('answers our client that trusts its authority, and no client in clear', async () => {
    const { port } = await serve()
    await writeFile(join(folder, 'ca.pem'), authority.cert)
    const trusting = clientOf(port, await readClientTls({ caFile: join(folder, 'ca.pem') }))
    expect(await check(trusting)).toEqual({ status: 1 })
    await expect(check(clientOf(port, undefined))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    const plain = connectPlain(port, '127.0.0.1')
    plain.end('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    expect(await buffer(plain).catch(() => Buffer.alloc(0))).not.toContain('h2')
    await until(() => plain.destroyed)
  })

  test.each([
    ['of an unknown authority', {}, 'localhost'],
    ['for another host', { issuer: authority, dns: ['elsewhere.example'] }, 'localhost'],
  ])('is refused by our client when its certificate is %s', async (_what, options, host) => {
    const { port } = await serve()
    await put(makeCertificate({ ...options, name: 'other' }))
    await until(async () => (await shake(port, { rejectUnauthorized: false })).name === 'other')
    const ca = Buffer.from(authority.cert)
    await expect(check(clientOf(port, { ca }, host))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })
})

describe('a certificate that is replaced on disk', () => {
  test('is used for new connections without a restart', async () => {
    const { port, said, tls } = await serve()
    await put(makeCertificate({ issuer: authority, name: 'second', to: new Date(Date.now() + HOUR_MS) }))
    await until(async () => (await nameAt(port)) === 'second')
    expect(said).toContain('reloaded')
    expect(Math.abs(tls.expiresAt().getTime() - Date.now() - HOUR_MS)).toBeLessThan(60_000)
  })

  test.each<[string, () => Promise<void>]>([
    ['broken PEM', () => writeFile(files.certFile, 'garbage')],
    ['half a certificate', () => writeFile(files.certFile, makeCertificate().cert.slice(0, 200))],
    ['a certificate without its key', () => writeFile(files.certFile, makeCertificate({ issuer: authority }).cert)],
    ['an empty key', () => writeFile(files.keyFile, '')],
    ['a missing key', () => rm(files.keyFile)],
    ['a certificate that has ended', () => put(makeCertificate({ from: new Date(0), to: new Date(HOUR_MS) }))],
    ['a certificate of tomorrow', () => put(makeCertificate({ from: new Date(Date.now() + HOUR_MS) }))],
  ])('by %s does not replace the last good one, is said once, and a later good one is used', async (_what, spoil) => {
    const { port, said, tls } = await serve()
    await spoil()
    await until(() => tls.isStale())
    for (let turn = 0; turn < 3; turn += 1) await tls.reload()
    expect(await nameAt(port)).toBe('first')
    expect(said.filter((line) => line !== 'reloaded')).toHaveLength(new Set(said).size)
    expect(said.join()).not.toMatch(/PRIVATE|BEGIN|garbage/)
    await put(makeCertificate({ issuer: authority, name: 'second' }))
    await until(async () => (await nameAt(port)) === 'second')
    expect(tls.isStale()).toBe(false)
  })

  test('keeps a process from starting when it cannot be used', async () => {
    await writeFile(files.keyFile, makeCertificate().key)
    await expect(readIdentity(files)).rejects.toThrow(CertificateError)
    await expect(readIdentity(files)).rejects.toThrow('the key does not fit the certificate')
  })
})

describe('a client certificate', () => {
  const clients = makeCertificate({ name: 'client authority', isAuthority: true })
  const watcher = makeCertificate({ issuer: clients, uris: ['spiffe://holdfast/watcher-1'] })
  const foreign = makeCertificate({ uris: ['spiffe://holdfast/watcher-1'] })
  const tlsOf = ({ cert, key }: TestCertificate) => ({
    ca: Buffer.from(authority.cert),
    cert: Buffer.from(cert),
    key: Buffer.from(key),
  })
  const serveAsking = async (requiresClientCert: boolean): Promise<Running> => {
    const clientCaFile = join(folder, 'client-ca.pem')
    await writeFile(clientCaFile, clients.cert)
    return serve({ clientCaFile, requiresClientCert })
  }

  test('that is requested reaches the call with its names, and may be absent', async () => {
    const { port, peers } = await serveAsking(false)
    await check(clientOf(port, tlsOf(watcher)))
    await check(clientOf(port, { ca: Buffer.from(authority.cert) }))
    expect(peers).toEqual([expect.stringContaining('URI:spiffe://holdfast/watcher-1'), undefined])
  })

  test('of another authority proves nothing', async () => {
    const { port, peers } = await serveAsking(false)
    await check(clientOf(port, tlsOf(foreign)))
    expect(peers).toEqual([undefined])
  })

  test('that is required keeps everyone without it out', async () => {
    const { port, peers } = await serveAsking(true)
    await check(clientOf(port, tlsOf(watcher)))
    for (const tls of [{ ca: Buffer.from(authority.cert) }, tlsOf(foreign)])
      await expect(check(clientOf(port, tls))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(peers).toHaveLength(1)
  })
})
