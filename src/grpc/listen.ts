// Listens for one gRPC server, and limits what a connection may do before and besides calls: how many there are, in
// total and per address; how soon it must speak HTTP/2; and how much it may send without making calls. The library has
// none of these limits. It takes over each connection by its connection injector, behind our own listener.

import type { Server, ServerCredentials } from '@grpc/grpc-js'
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { addressKeyOf } from './address_key.ts'
import { http2ServersOf } from './http2_server.ts'

export type ConnectionLimits = {
  /** Open connections of this listener. */
  total: number
  /** Of one address; IPv6: of one /64. */
  perAddress: number
  /** From the connection to the client's first HTTP/2 settings, TLS included. */
  handshakeMs: number
  /** From the end of an answer until its client has read it. */
  readWithinMs: number
  /** Bytes that a connection may send at once beyond its calls, and how many it regains per second. */
  burstBytes: number
  bytesPerS: number
  /** A connection without a call for so long gives way to a new one, where there are as many as the listener may have. */
  idleMs: number
}

/**
 * A frame of control has 13 to 20 bytes, so a connection may send some thousands of them at once and a thousand per
 * second beyond those of its calls: enough for keepalive and flow control, too few to cost the processor much.
 */
export const CONNECTION_LIMITS: ConnectionLimits = {
  total: 4_096,
  perAddress: 128,
  handshakeMs: 10_000,
  readWithinMs: 10_000,
  burstBytes: 1_048_576,
  bytesPerS: 32_768,
  idleMs: 10_000,
}
/** What a call adds to the bytes that its connection may send: on average, far more than calls have. */
const BYTES_PER_CALL = 16_384
const LOOK_EVERY_MS = 500
/** A socket that is destroyed with input unread loses what it had still to send. */
const GOODBYE_MS = 50
const MS_PER_S = 1_000

/** Why a connection was refused or closed, for metrics. */
export type ConnectionRefusal = 'total' | 'address' | 'handshake' | 'flood' | 'idle'

export type ListenOptions = {
  server: Server
  credentials: ServerCredentials
  host: string
  /** 0 selects a free port. */
  port: number
  limits?: ConnectionLimits
  /** True for addresses without a limit of their own: proxies that stand for many clients. */
  isShared?: (address: string) => boolean
  onRefused?: (refusal: ConnectionRefusal) => void
  /** Called before the first connection is accepted. */
  prepare?: () => void
}

export type Listener = {
  port: number
  connections: () => number
  /** Calls whose answers are not sent completely. */
  calls: () => number
  /** Accepts no more connections; those that are open stay. */
  close: () => void
}

type Connection = {
  socket: Socket
  key: string
  openedAt: number
  /** Since when it has had no stream; its start at first. */
  idleSince: number
  session: ServerHttp2Session | undefined
  hasSettings: boolean
  /** Open streams, and since when a look has found their answers complete. */
  streams: Map<ServerHttp2Stream, number>
  /** Bytes that it may still send, and how many it had sent at the last look. */
  budget: number
  read: number
  isEnded: boolean
}

/** Rejects if the port is in use. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { limits = CONNECTION_LIMITS, isShared = () => false, onRefused = () => undefined } = options
  const injector = options.server.createConnectionInjector(options.credentials)
  options.prepare?.()
  const connections = new Map<string, Connection>()
  const perAddress = new Map<string, number>()

  function accept(socket: Socket): void {
    // The other end may be gone before the library listens; an error without a listener would end the process.
    socket.on('error', () => socket.destroy())
    const address = socket.remoteAddress ?? ''
    const key = addressKeyOf(address)
    const ofAddress = perAddress.get(key) ?? 0
    const isAddressFull = ofAddress >= limits.perAddress && !isShared(address)
    const refusal = isAddressFull ? 'address' : makeRoom(connections, limits, onRefused)
    if (refusal !== undefined) {
      onRefused(refusal)
      socket.destroy()
      return
    }
    perAddress.set(key, ofAddress + 1)
    const connection = openConnection(socket, key, limits)
    const name = nameOf(socket)
    connections.set(name, connection)
    socket.once('close', () => {
      // The port may be in use again before its former connection is known to have ended.
      if (connections.get(name) === connection) connections.delete(name)
      const left = (perAddress.get(key) ?? 0) - 1
      if (left > 0) perAddress.set(key, left)
      else perAddress.delete(key)
    })
    injector.injectConnection(socket)
  }

  http2ServersOf(options.server)
    .at(-1)
    ?.on('session', (session) => {
      const connection = connections.get(nameOf(session.socket))
      if (connection !== undefined) follow(connection, session)
    })
  const timer = setInterval(() => {
    for (const connection of connections.values()) {
      closeUnread(connection, limits)
      const refusal = look(connection, limits)
      if (refusal !== undefined) {
        onRefused(refusal)
        end(connection)
      }
    }
  }, LOOK_EVERY_MS).unref()

  const listener = createServer({ noDelay: true }, accept)
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen({ host: options.host, port: options.port }, resolve)
  })
  return {
    port: (listener.address() as AddressInfo).port,
    connections: () => connections.size,
    calls: () => [...connections.values()].reduce((sum, { streams }) => sum + streams.size, 0),
    close: () => {
      // The looks go on: what is open stays limited.
      listener.close(() => clearInterval(timer))
    },
  }
}

type Ends = Pick<Socket, 'remoteAddress' | 'remotePort' | 'localAddress'>

/** A client may use one port of its own for connections to several addresses of this host. */
const nameOf = ({ remoteAddress, remotePort, localAddress }: Ends): string =>
  `${remoteAddress} ${remotePort} ${localAddress}`

const openConnection = (socket: Socket, key: string, { burstBytes }: ConnectionLimits): Connection => ({
  ...{ socket, key, openedAt: performance.now(), idleSince: performance.now(), session: undefined, hasSettings: false },
  streams: new Map<ServerHttp2Stream, number>(),
  ...{ budget: burstBytes, read: 0, isEnded: false },
})

function follow(connection: Connection, session: ServerHttp2Session): void {
  connection.session = session
  session.once('remoteSettings', () => (connection.hasSettings = true))
  session.on('stream', (stream) => {
    connection.budget += BYTES_PER_CALL
    connection.streams.set(stream, Number.POSITIVE_INFINITY)
    stream.once('close', () => {
      connection.streams.delete(stream)
      if (connection.streams.size === 0) connection.idleSince = performance.now()
    })
  })
}

/**
 * Resets the streams whose clients do not read: by a window of no bytes, a client could keep its answers in memory for as
 * long as its connection.
 */
function closeUnread({ streams }: Connection, { readWithinMs }: ConnectionLimits): void {
  const now = performance.now()
  for (const [stream, endedAt] of streams) {
    if (!stream.writableEnded) continue
    if (endedAt === Number.POSITIVE_INFINITY) streams.set(stream, now)
    else if (now - endedAt > readWithinMs) stream.close(constants.NGHTTP2_CANCEL)
  }
}

/** Looks at one connection. @returns why it must be closed, if it must */
function look(connection: Connection, limits: ConnectionLimits): ConnectionRefusal | undefined {
  if (connection.isEnded) return undefined
  const { bytesRead } = connection.socket
  const earned = (limits.bytesPerS * LOOK_EVERY_MS) / MS_PER_S
  connection.budget = Math.min(limits.burstBytes, connection.budget + earned - (bytesRead - connection.read))
  connection.read = bytesRead
  if (connection.budget < 0) return 'flood'
  const isLate = performance.now() - connection.openedAt > limits.handshakeMs
  return isLate && !connection.hasSettings ? 'handshake' : undefined
}

/** Closes the connection that was idle for longest, if there are as many as there may be. @returns 'total' if none is idle */
function makeRoom(
  connections: Map<string, Connection>,
  { total, idleMs }: ConnectionLimits,
  onRefused: (refusal: ConnectionRefusal) => void,
): 'total' | undefined {
  if (connections.size < total) return undefined
  const idle = findIdle(connections, idleMs)
  if (idle === undefined) return 'total'
  connections.delete(idle.name)
  onRefused('idle')
  leave(idle.connection)
  return undefined
}

/** The connection that has had no stream for longest, if for longer than `idleMs`. */
function findIdle(
  connections: ReadonlyMap<string, Connection>,
  idleMs: number,
): { name: string; connection: Connection } | undefined {
  let name: string | undefined
  let connection: Connection | undefined
  let before = performance.now() - idleMs
  for (const [each, candidate] of connections) {
    if (candidate.streams.size > 0 || candidate.isEnded || candidate.idleSince > before) continue
    ;[name, connection, before] = [each, candidate, candidate.idleSince]
  }
  return name === undefined || connection === undefined ? undefined : { name, connection }
}

/** Tells the client that its connection ends, as at a restart: it makes the next call on a new one. */
function leave(connection: Connection): void {
  const { session, socket } = connection
  connection.isEnded = true
  if (session === undefined || session.destroyed) {
    socket.destroy()
    return
  }
  session.close()
  setTimeout(() => socket.destroy(), GOODBYE_MS).unref()
}

/** Tells the client to calm down, and closes the connection once that was sent. */
function end(connection: Connection): void {
  const { session, socket } = connection
  connection.isEnded = true
  if (session === undefined || session.destroyed) {
    socket.destroy()
    return
  }
  session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM)
  setTimeout(() => {
    session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM)
    socket.destroy()
  }, GOODBYE_MS).unref()
}
