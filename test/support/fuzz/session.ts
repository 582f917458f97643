// Makes fuzz calls on a few HTTP/2 connections per port: a gRPC client would neither send odd headers nor show what
// came back.

import { connect, constants, type ClientHttp2Session } from 'node:http2'
import type { Answer } from './answer.ts'
import type { FuzzCall, Port } from './call.ts'

/** A call without any end after this long is a fault. */
const ANSWER_WITHIN_MS = 60_000
/** A watch whose deadline was spoilt has no end of its own. */
const LEAVE_STREAM_AFTER_MS = 300

export type Sessions = {
  /** @throws {Error} when no answer came in time or the connection broke */
  send: (call: FuzzCall) => Promise<Answer>
  close: () => void
}

export function createSessions(addresses: Readonly<Record<Port, string>>): Sessions {
  const open = new Map<Port, ClientHttp2Session>()
  const sessionOf = (port: Port): ClientHttp2Session => {
    const present = open.get(port)
    if (present !== undefined && !present.closed && !present.destroyed) return present
    const session = connect(`http://${addresses[port]}`)
    // The streams of the connection fail; they tell.
    session.on('error', () => undefined)
    open.set(port, session)
    return session
  }
  return {
    send: async (call) => {
      const session = sessionOf(call.port)
      const answer = await send(session, call)
      // A connection that has reached its maximum age begins no call any more. Every client of HTTP/2 repeats those.
      const hasBegun = answer.resetCode !== constants.NGHTTP2_REFUSED_STREAM || answer.httpStatus !== 0
      return session.closed && !hasBegun ? send(sessionOf(call.port), call) : answer
    },
    close: () => {
      for (const session of open.values()) session.destroy()
    },
  }
}

function send(session: ClientHttp2Session, { headers, body, method }: FuzzCall): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: false })
    const chunks: Buffer[] = []
    let httpStatus = 0
    let isLeft = false
    let received: Record<string, string | undefined> = {}
    const take = (more: object): void => void (received = { ...received, ...more })
    const hung = setTimeout(() => {
      reject(new Error(`no answer within ${ANSWER_WITHIN_MS} ms`))
      stream.destroy()
    }, ANSWER_WITHIN_MS)
    const leave = method.responseStream
      ? setTimeout(() => {
          isLeft = true
          stream.close(constants.NGHTTP2_CANCEL)
        }, LEAVE_STREAM_AFTER_MS)
      : undefined
    stream.on('response', (first) => {
      httpStatus = first[':status'] ?? 0
      take(first)
    })
    stream.on('trailers', take)
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    // The code of the reset says it.
    stream.on('error', () => undefined)
    stream.on('close', () => {
      clearTimeout(hung)
      clearTimeout(leave)
      const isCut = session.destroyed && received['grpc-status'] === undefined && stream.rstCode === 0
      if (isCut) return reject(new Error('the connection was cut'))
      resolve({ httpStatus, headers: received, body: Buffer.concat(chunks), resetCode: stream.rstCode, isLeft })
    })
    stream.end(body)
  })
}
