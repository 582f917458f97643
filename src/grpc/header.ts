// Repeated headers. Node keeps the first `authorization` of a request and drops the others without a trace, while a proxy
// may have checked the last. The raw headers show all of them.

import type { ServerHttp2Stream } from 'node:http2'
import type { IncomingHttpHeaders } from 'node:http'
import type { Server } from '@grpc/grpc-js'
import { http2ServersOf } from './http2_server.ts'

/** Of the headers that this server acts on, the one that Node does not join by itself when it is repeated. */
const ACTED_ON = 'authorization'

/**
 * Joins repeated `authorization` headers as HTTP joins any other (RFC 9110), so that no token is in what results and the
 * call is refused. Call it once its HTTP/2 servers are
 * made, before connections are accepted: grpc-js has no public hook.
 */
export function joinRepeatedHeaders(server: Server): void {
  for (const each of http2ServersOf(server)) each.prependListener('stream', joinIn)
}

function joinIn(
  _stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  _flags: number,
  raw: readonly string[],
): void {
  const values = raw.filter((_value, at) => at % 2 === 1 && raw[at - 1] === ACTED_ON)
  if (values.length > 1) headers[ACTED_ON] = values.join(', ')
}
