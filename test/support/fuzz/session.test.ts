import { once } from 'node:events'
import { constants, createServer, type ServerHttp2Session } from 'node:http2'
import { expect, test } from '@jest/globals'
import { HealthService } from '../../../src/grpc/gen/grpc/health/v1/health.ts'
import type { FuzzCall } from './call.ts'
import { createSessions } from './session.ts'

const CALL: FuzzCall = {
  port: 'public',
  method: HealthService.check,
  role: 'customer',
  kind: 'message',
  headers: { ':method': 'POST', ':path': HealthService.check.path, 'content-type': 'application/grpc' },
  body: Buffer.alloc(5),
}

/** A server that does this with the first call it hears, and answers all others. @returns how the call was reset; 0: not */
async function resetCodeOf(refuse: (session: ServerHttp2Session, reset: () => void) => void): Promise<number> {
  const server = createServer()
  let calls = 0
  server.on('stream', (stream) => {
    stream.on('error', () => undefined)
    const { session } = stream
    if ((calls += 1) === 1 && session !== undefined)
      return refuse(session as ServerHttp2Session, () => stream.close(constants.NGHTTP2_REFUSED_STREAM))
    stream.respond({ ':status': 200, 'grpc-status': '0' }, { endStream: true })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const sessions = createSessions({
    public: `127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`,
    admin: '127.0.0.1:9',
  })
  try {
    return (await sessions.send(CALL)).resetCode
  } finally {
    sessions.close()
    server.close()
  }
}

test('a call that a connection at the end of its age has not begun is sent on the next one', async () => {
  const code = await resetCodeOf((session, reset) => {
    session.goaway(constants.NGHTTP2_NO_ERROR)
    reset()
  })
  expect(code).toBe(0)
})

test('a call that is refused on a connection that goes on is a finding', async () => {
  expect(await resetCodeOf((_, reset) => reset())).toBe(constants.NGHTTP2_REFUSED_STREAM)
})
