// gRPC calls over plain HTTP/2: header lists that no gRPC client would send.

import { connect, type ClientSessionOptions, type IncomingHttpHeaders } from 'node:http2'

/** Node would refuse to send a repeated `authorization`. Its types do not know the option yet. */
const LENIENT: ClientSessionOptions & { strictSingleValueFields: boolean } = { strictSingleValueFields: false }
/** An empty message. */
const EMPTY_FRAME = Buffer.alloc(5)

/** Makes one unary call with these headers in this order, each as often as it is given; returns headers and trailers. */
export async function callByHttp2(
  address: string,
  path: string,
  headers: readonly (readonly [string, string])[],
): Promise<IncomingHttpHeaders> {
  const session = connect(`http://${address}`, LENIENT)
  try {
    return await new Promise<IncomingHttpHeaders>((resolve, reject) => {
      session.on('error', reject)
      const fixed = [':method', 'POST', ':path', path, 'content-type', 'application/grpc', 'te', 'trailers']
      const stream = session.request([...fixed, ...headers.flat()])
      const received: IncomingHttpHeaders = {}
      stream.on('response', (first) => Object.assign(received, first))
      stream.on('trailers', (last) => Object.assign(received, last))
      stream.on('error', reject)
      stream.on('close', () => resolve(received))
      stream.resume()
      stream.end(EMPTY_FRAME)
    })
  } finally {
    session.close()
  }
}
