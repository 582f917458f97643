// A listener and raw connections to it: bytes that no gRPC client sends.

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync } from 'node:fs'
import http2 from 'node:http2'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from '@jest/globals'
import { Client, credentials, Server, ServerCredentials, status, type ServiceError } from '@grpc/grpc-js'
import { until } from '../../test/support/until.ts'
import { CONNECTION_LIMITS, listen, type ConnectionLimits, type Listener, type ConnectionRefusal } from './listen.ts'

const HOST = '127.0.0.1'
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
/** Few enough that the platform itself does not close the connection: it bounds only what it has to answer. */
const FRAMES_AT_ONCE = 200

const cleanUps: (() => void)[] = []
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) cleanUp()
})

async function startListener(
  limits: Partial<ConnectionLimits> = {},
  own: ServerCredentials = ServerCredentials.createInsecure(),
  host = HOST,
): Promise<Listener & { refused: ConnectionRefusal[] }> {
  const server = new Server()
  const same = (bytes: Buffer): Buffer => bytes
  const coding = {
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  }
  server.addService(
    { echo: { path: '/test.Echo/Echo', requestStream: false, responseStream: false, ...coding } },
    {
      echo: ({ request }: { request: Buffer }, callback: (error: null, answer: Buffer) => void) =>
        callback(null, request),
    },
  )
  const refused: ConnectionRefusal[] = []
  const listener = await listen({
    ...{ server, credentials: own, host, port: 0, limits: { ...CONNECTION_LIMITS, ...limits } },
    onRefused: (refusal) => refused.push(refusal),
  })
  cleanUps.push(() => {
    listener.close()
    server.forceShutdown()
  })
  return { ...listener, refused }
}

async function openSocket(port: number): Promise<net.Socket> {
  const socket = net.connect(port, HOST)
  socket.on('error', () => undefined)
  cleanUps.push(() => socket.destroy())
  await once(socket, 'connect')
  socket.resume()
  return socket
}

/** Makes one call. @returns the code of its status */
async function call(port: number, body = Buffer.from('x'), own = credentials.createInsecure()): Promise<string> {
  const same = (bytes: Buffer): Buffer => bytes
  const client = new Client(`localhost:${port}`, own, { 'grpc.enable_http_proxy': 0 })
  try {
    return await new Promise((resolve) =>
      client.makeUnaryRequest('/test.Echo/Echo', same, same, body, (error: ServiceError | null) =>
        resolve(status[error?.code ?? status.OK]),
      ),
    )
  } finally {
    client.close()
  }
}

/** A frame on stream 0. */
function frameOf(type: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  return Buffer.concat([head, payload])
}

const FLOODS: readonly [string, Buffer][] = [
  ['WINDOW_UPDATE', frameOf(8, Buffer.from([0, 0, 0, 1]))],
  ['PING', frameOf(6, Buffer.alloc(8))],
  ['SETTINGS', frameOf(4, Buffer.alloc(0))],
]

/** Where a handshake must also succeed: a busy machine needs its time. */
const HANDSHAKE_MS = 1_500

/** Sends frames until the connection ends. @returns the bytes that came back */
async function flood(socket: net.Socket, frame: Buffer): Promise<Buffer> {
  const received: Buffer[] = []
  socket.on('data', (chunk: Buffer) => received.push(chunk))
  const ended = new Promise((resolve) => socket.once('close', resolve))
  socket.write(PREFACE)
  socket.write(frameOf(4, Buffer.alloc(0)))
  const many = Buffer.concat(Array.from({ length: FRAMES_AT_ONCE }, () => frame))
  const send = (): void => {
    if (socket.destroyed) return
    socket.write(many, () => setTimeout(send, 1))
  }
  send()
  await ended
  return Buffer.concat(received)
}

describe('a connection', () => {
  test('that stays silent is closed', async () => {
    const { port, refused, connections } = await startListener({ handshakeMs: HANDSHAKE_MS })
    const sockets = await Promise.all(Array.from({ length: 50 }, () => openSocket(port)))
    await Promise.all(sockets.map((socket) => once(socket, 'close')))
    expect(refused).toEqual(Array.from({ length: 50 }, () => 'handshake'))
    await until(async () => connections() === 0)
    expect(await call(port)).toBe('OK')
  })

  test('that sends only a part of the preface is closed', async () => {
    const { port, refused } = await startListener({ handshakeMs: 100 })
    const socket = await openSocket(port)
    socket.write(PREFACE.slice(0, 10))
    await once(socket, 'close')
    expect(refused).toEqual(['handshake'])
  })

  test('that speaks HTTP/2 may stay without a call', async () => {
    const { port, refused } = await startListener({ handshakeMs: HANDSHAKE_MS })
    const session = http2.connect(`http://${HOST}:${port}`)
    cleanUps.push(() => session.destroy())
    await once(session, 'remoteSettings')
    const other = await openSocket(port)
    await once(other, 'close')
    expect(refused).toEqual(['handshake'])
    expect(session.destroyed).toBe(false)
  })

  test('above the number of an address, or of the listener, is refused, and one that ends makes room', async () => {
    for (const [refusal, limits] of [
      ['address', { perAddress: 3 }],
      ['total', { total: 3, idleMs: 600_000 }],
    ] as const) {
      const { port, refused, connections } = await startListener(limits)
      const [first] = await Promise.all(Array.from({ length: 3 }, () => openSocket(port)))
      await until(async () => connections() === 3)
      const fourth = await openSocket(port)
      await once(fourth, 'close')
      expect(refused).toEqual([refusal])
      first?.destroy()
      await until(async () => connections() === 2)
      expect(await call(port)).toBe('OK')
    }
  })

  test('from a port that its client uses twice, for two addresses of the host, is counted too', async () => {
    const { port, connections } = await startListener({}, undefined, '0.0.0.0')
    const from = async (host: string, localPort?: number): Promise<net.Socket> => {
      const socket = net.connect({ port, host, localAddress: HOST, ...(localPort !== undefined && { localPort }) })
      socket.on('error', () => undefined).resume()
      cleanUps.push(() => socket.destroy())
      await once(socket, 'connect')
      return socket
    }
    const first = await from(HOST)
    const second = await from('127.0.0.2', first.localPort)
    await until(async () => connections() === 2)
    second.destroy()
    await until(async () => connections() === 1)
  })

  test('that makes no calls gives way to a new one where the listener is full, the longest idle one first', async () => {
    const { port, refused, connections } = await startListener({ total: 2, idleMs: 1, handshakeMs: 600_000 })
    const first = http2.connect(`http://${HOST}:${port}`)
    cleanUps.push(() => first.destroy())
    await once(first, 'remoteSettings')
    const closed = once(first, 'close')
    const second = await openSocket(port)
    await until(async () => connections() === 2)
    let isSecondClosed = false
    second.once('close', () => (isSecondClosed = true))
    expect(await call(port)).toBe('OK')
    await closed
    expect(refused).toEqual(['idle'])
    expect(isSecondClosed).toBe(false)
  })

  test('with a call in progress is never the one that gives way', async () => {
    const { port, refused, calls } = await startListener({ total: 1, idleMs: 1 })
    const session = http2.connect(`http://${HOST}:${port}`)
    cleanUps.push(() => session.destroy())
    // Its request is not complete, so that it stays open.
    const stream = session.request({
      ':method': 'POST',
      ':path': '/test.Echo/Echo',
      'content-type': 'application/grpc',
    })
    stream.on('error', () => undefined)
    await until(async () => calls() === 1)
    const other = await openSocket(port)
    await once(other, 'close')
    expect(refused).toEqual(['total'])
    expect(session.destroyed).toBe(false)
  })

  test('of an address that stands for many clients has no limit of its own', async () => {
    const server = new Server()
    const { port, connections, close } = await listen({
      ...{ server, credentials: ServerCredentials.createInsecure(), host: HOST, port: 0 },
      ...{ limits: { ...CONNECTION_LIMITS, perAddress: 1 }, isShared: (address: string) => address === HOST },
    })
    cleanUps.push(close, () => server.forceShutdown())
    await Promise.all(Array.from({ length: 5 }, () => openSocket(port)))
    await until(async () => connections() === 5)
  })

  test.each(FLOODS)(
    'that floods with %s frames is told to calm down and closed, and others are served',
    async (_, frame) => {
      const { port, refused } = await startListener({ burstBytes: 100_000, bytesPerS: 1_000 })
      const received = await flood(await openSocket(port), frame)
      expect(refused).toEqual(['flood'])
      // GOAWAY with ENHANCE_YOUR_CALM as its code.
      expect(received.includes(Buffer.from([0, 0, 0, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM]))).toBe(true)
      expect(await call(port)).toBe('OK')
    },
  )

  test('that makes many calls is no flood', async () => {
    const { port, refused } = await startListener({ burstBytes: 100_000, bytesPerS: 1_000 })
    const session = http2.connect(`http://${HOST}:${port}`)
    cleanUps.push(() => session.destroy())
    for (let turn = 0; turn < 30; turn += 1) {
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          const headers = {
            ':method': 'POST',
            ':path': '/test.Echo/Echo',
            'content-type': 'application/grpc',
            te: 'trailers',
          }
          const stream = session.request(headers)
          stream.resume()
          const body = Buffer.alloc(1_005)
          body.writeUInt32BE(1_000, 1)
          stream.end(body)
          await once(stream, 'close')
        }),
      )
    }
    expect(refused).toEqual([])
    expect(session.destroyed).toBe(false)
  })
})

test('an answer that its client does not read is given up', async () => {
  const { port } = await startListener({ readWithinMs: 100 })
  const session = http2.connect(`http://${HOST}:${port}`, { settings: { initialWindowSize: 0 } })
  cleanUps.push(() => session.destroy())
  await once(session, 'remoteSettings')
  const stream = session.request({
    ...{ ':method': 'POST', ':path': '/test.Echo/Echo', 'content-type': 'application/grpc', te: 'trailers' },
    'grpc-timeout': '10m',
  })
  stream.end(Buffer.from([0, 0, 0, 0, 1, 0]))
  await once(stream, 'close')
  expect(stream.rstCode).toBe(http2.constants.NGHTTP2_CANCEL)
})

test('a call that is answered while its client has not ended it is reset', async () => {
  const { port } = await startListener()
  const session = http2.connect(`http://${HOST}:${port}`)
  cleanUps.push(() => session.destroy())
  const headers = { ':method': 'POST', ':path': '/test.Echo/None', 'content-type': 'application/grpc', te: 'trailers' }
  const stream = session.request(headers, { endStream: false })
  stream.resume()
  await once(stream, 'close')
  expect(stream.rstCode).toBe(http2.constants.NGHTTP2_NO_ERROR)
})

test('a port that is taken is refused with its number', async () => {
  const { port } = await startListener()
  const server = new Server()
  const options = { server, credentials: ServerCredentials.createInsecure(), host: HOST, port }
  await expect(listen(options)).rejects.toThrow(`:${port}`)
  server.forceShutdown()
})

test('TLS is served in the same place, with the same limits', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'listen-'))
  const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  execFileSync('openssl', [...request, '-keyout', key, '-out', certificate, ...names], { stdio: 'ignore' })
  const pair = { private_key: readFileSync(key), cert_chain: readFileSync(certificate) }
  const { port, refused } = await startListener(
    { handshakeMs: HANDSHAKE_MS },
    ServerCredentials.createSsl(null, [pair]),
  )
  expect(await call(port, Buffer.from('x'), credentials.createSsl(pair.cert_chain))).toBe('OK')
  const silent = await openSocket(port)
  await once(silent, 'close')
  expect(refused).toEqual(['handshake'])
})
