// The HTTP/2 servers inside a server of grpc-js, which has no public hook for connections and streams.

import { EventEmitter } from 'node:events'
import type { Http2Server } from 'node:http2'
import type { Server } from '@grpc/grpc-js'

/** The oldest first. @throws {Error} before the server has one, and for a version of grpc-js that keeps them elsewhere */
export function http2ServersOf(server: Server): readonly Http2Server[] {
  const servers: unknown = Reflect.get(server, 'http2Servers')
  const found: unknown[] = servers instanceof Map ? [...servers.keys()] : []
  if (found.length === 0 || !found.every((each) => each instanceof EventEmitter))
    throw new Error('this version of grpc-js keeps its HTTP/2 servers elsewhere: see src/grpc/http2_server.ts')
  return found as Http2Server[]
}
