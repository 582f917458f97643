// Raw HTTP/2 requests: headers and frames that no gRPC client sends.

import { connect, type ClientSessionOptions, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2'
import { once } from 'node:events'
import { Metadata, status } from '@grpc/grpc-js'
import { readDetails, type Detail } from '../../src/grpc/detail.ts'

/** Node alone would refuse to send a repeated `authorization`. Its types do not know the option yet. */
const LENIENT: ClientSessionOptions & { strictSingleValueFields: boolean } = { strictSingleValueFields: false }

export type Http2Answer = {
  http: number | undefined
  /** gRPC's name of the status code; undefined without one. */
  code: string | undefined
  message: string
  /** Headers and trailers. */
  headers: IncomingHttpHeaders
  detail: Detail
  /** The error code that the stream was reset with; 0 for none. */
  rstCode: number
}

export type Http2Request = {
  /** A list repeats its header. */
  headers?: Readonly<Record<string, string | string[] | number | undefined>>
  /** Pieces of the body, as they are. */
  body?: readonly Buffer[]
  /** Leave the request open. */
  isOpen?: boolean
}

/** A message with gRPC's prefix of five bytes. */
export function framed(message: Buffer, { flag = 0, length = message.length } = {}): Buffer {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt8(flag, 0)
  prefix.writeUInt32BE(length, 1)
  return Buffer.concat([prefix, message])
}

/** Sends one request per entry over one connection, all at once. A header that is undefined is left out. */
export async function callHttp2(
  address: string,
  path: string,
  requests: readonly Http2Request[],
): Promise<Http2Answer[]> {
  const session = connect(`http://${address}`, LENIENT)
  // Its streams fail too.
  session.on('error', () => undefined)
  try {
    return await Promise.all(requests.map((request) => callOnce(session, path, request)))
  } finally {
    session.destroy()
  }
}

async function callOnce(
  session: ReturnType<typeof connect>,
  path: string,
  { headers = {}, body = [framed(Buffer.alloc(0))], isOpen = false }: Http2Request,
): Promise<Http2Answer> {
  const all: OutgoingHttpHeaders = {
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  }
  for (const [name, value] of Object.entries(all)) if (value === undefined) delete all[name]
  const stream = session.request(all, { endStream: false })
  let received: IncomingHttpHeaders = {}
  stream.on('response', (first) => (received = { ...received, ...first }))
  stream.on('trailers', (last) => (received = { ...received, ...last }))
  stream.on('error', () => undefined)
  stream.resume()
  for (const piece of body) stream.write(piece)
  if (!isOpen) stream.end()
  await once(stream, 'close')
  const { ':status': http, 'grpc-status': code, 'grpc-message': message, ...rest } = received
  const metadata = Metadata.fromHttp2Headers(rest)
  return {
    http: http === undefined ? undefined : Number(http),
    code: code === undefined ? undefined : status[Number(code)],
    message: decodeURIComponent(String(message ?? '')),
    headers: received,
    detail: readDetails(metadata),
    rstCode: stream.rstCode,
  }
}
