// The first check of every call: refuses callers that the port does not admit, then what breaks a rule of gRPC itself,
// before the library sees it. The library answers such calls without details, without a log line and without a metric,
// and quotes the caller in its answers. And the place where load is shed: a refusal by the library's interceptors costs
// half of what a good call does.

import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { Server, StatusObject } from '@grpc/grpc-js'
import { DomainError } from '../domain/failure.ts'
import { http2ServersOf } from './http2_server.ts'
import { callMalformed, encodingUnknown } from './library_status.ts'
import { overloaded, type Limiter } from './limiter.ts'
import type { MethodPath } from './method.ts'
import { FORWARDED_KEY, type AllowList } from './peer.ts'
import { permissionDenied } from './permission.ts'
import { REQUEST_ID_KEY } from './status.ts'
import type { Observer, RefusedCall } from './observe.ts'

const { HTTP_STATUS_OK, HTTP_STATUS_UNSUPPORTED_MEDIA_TYPE, NGHTTP2_NO_ERROR } = constants
const CONTENT_TYPE = /^application\/grpc(?:\+proto)?(?:;|$)/
const TIMEOUT = /^(\d{1,8})([HMSmun])$/
const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 }
/** The library computes in 32 bits: a longer timeout would end at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1
const MAX_TIMEOUT = `${Math.floor(MAX_TIMEOUT_MS / 1_000)}S`
const ENCODINGS = ['identity', 'deflate', 'gzip']
const MAX_METADATA_BYTES = 8_192
/** HPACK's overhead per header, in addition to its name and value. */
const HEADER_OVERHEAD_BYTES = 32
/** Calls that are shed within this time get one answer, with one request id. */
const SAME_ANSWER_MS = 10

type Refuser = Pick<Observer, 'refuse' | 'countRefused'>

/** Puts the check before the library's own listeners. Call it once, before connections are accepted. */
export function gateStreams(
  server: Server,
  observer: Refuser,
  isAdmitted: AllowList = () => true,
  isShed: Limiter['isShed'] = () => false,
): void {
  const shed = createShedding(observer)
  // Private parts of grpc-js, which has no hook here. A version without them does not start.
  const handlers: unknown = Reflect.get(server, 'handlers')
  if (!(handlers instanceof Map)) throw new Error('this version of grpc-js has another inside: look at the gate')
  for (const http2Server of http2ServersOf(server)) {
    const [library, ...others]: unknown[] = http2Server.listeners('stream')
    if (typeof library !== 'function' || others.length > 0)
      throw new Error('this version of grpc-js listens for streams in another way: look at the gate')
    http2Server.removeAllListeners('stream')
    http2Server.on(
      'stream',
      (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, raw: string[]) => {
        const path = headers[':path']
        const isServed = handlers.has(path)
        // A caller outside learns nothing else: neither what is served here, nor whether its token is good.
        const failure = isAdmitted(addressIn(stream), forwardedIn(headers))
          ? (failureOf(headers, isServed) ?? largeMetadataOf(raw))
          : permissionDenied()
        // The path is one that is served, so it is one of the method table.
        if (failure === undefined && isShed(path as MethodPath)) return shed(stream, headers, path as MethodPath)
        if (failure === undefined) return void Reflect.apply(library, http2Server, [stream, headers, flags, raw])
        refuse(stream, headers, failure, observer, isServed ? String(path) : undefined)
      },
    )
  }
}

const addressIn = (stream: ServerHttp2Stream): string | undefined => stream.session?.socket.remoteAddress
const forwardedIn = ({ [FORWARDED_KEY]: value = [] }: IncomingHttpHeaders): readonly string[] => [value].flat()

/** What is wrong with the headers of a call. Shortens a timeout that is too long for the library. */
function failureOf(headers: IncomingHttpHeaders, isServed: boolean): DomainError | undefined {
  if (!CONTENT_TYPE.test(headers['content-type'] ?? ''))
    return callMalformed('content_type', 'The content type must be application/grpc.')
  if (headers[':method'] !== 'POST') return callMalformed('method', 'The method of HTTP must be POST.')
  if (!isServed) return new DomainError('METHOD_UNKNOWN', 'There is no such method here.')
  const encoding = headers['grpc-encoding']
  if (encoding !== undefined && !ENCODINGS.includes(String(encoding))) return encodingUnknown()
  const timeout = headers['grpc-timeout']
  if (timeout === undefined) return undefined
  const [, digits, unit = ''] = TIMEOUT.exec(String(timeout)) ?? []
  if (digits === undefined)
    return callMalformed('timeout', 'The header grpc-timeout must be up to eight digits and a unit.')
  if (Number(digits) * (UNIT_MS[unit] ?? 0) > MAX_TIMEOUT_MS) headers['grpc-timeout'] = MAX_TIMEOUT
  return undefined
}

/** Counted over what was received: of the library's copy, a header named `__proto__` is no part. */
function largeMetadataOf(raw: readonly string[]): DomainError | undefined {
  const bytes = raw.reduce((sum, text) => sum + text.length + HEADER_OVERHEAD_BYTES / 2, 0)
  if (bytes <= MAX_METADATA_BYTES) return undefined
  return new DomainError('MESSAGE_TOO_LARGE', 'The metadata of this call is too large.', {
    metadata: { limit_bytes: String(MAX_METADATA_BYTES) },
  })
}

/** Refuses calls for overload. The more there are, the less each of them may cost. */
function createShedding(observer: Refuser): (...call: [ServerHttp2Stream, IncomingHttpHeaders, MethodPath]) => void {
  let latest: { at: number; code: StatusObject['code']; answer: OutgoingHttpHeaders } | undefined
  return (stream, headers, path) => {
    const at = performance.now()
    if (latest === undefined || at - latest.at > SAME_ANSWER_MS) {
      // Others get it too: it must not have this caller's own request id.
      const status = observer.refuse({ ...refusedCallOf(stream, headers, path), requestId: undefined }, overloaded())
      latest = { at, code: status.code, answer: answerOf(status) }
    } else observer.countRefused(path, latest.code)
    end(stream, latest.answer)
  }
}

function refuse(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  failure: DomainError,
  observer: Refuser,
  path: string | undefined,
): void {
  const isForeign = failure.metadata['part'] === 'content_type'
  const answer = answerOf(observer.refuse(refusedCallOf(stream, headers, path), failure))
  end(stream, isForeign ? { ...answer, ':status': HTTP_STATUS_UNSUPPORTED_MEDIA_TYPE } : answer)
}

const refusedCallOf = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  path: string | undefined,
): RefusedCall => ({
  path,
  requestId: headers[REQUEST_ID_KEY],
  socketAddress: addressIn(stream),
  forwarded: forwardedIn(headers),
})

const answerOf = ({ code, details, metadata }: StatusObject): OutgoingHttpHeaders => ({
  ...metadata?.toHttp2Headers(),
  ':status': HTTP_STATUS_OK,
  'content-type': 'application/grpc+proto',
  'grpc-status': code,
  'grpc-message': encodeURI(details),
  'grpc-accept-encoding': ENCODINGS.join(','),
})

/** Answers with a status in the headers, which also ends the call (Trailers-Only). */
function end(stream: ServerHttp2Stream, answer: OutgoingHttpHeaders): void {
  // A stream that the caller resets emits an error, which would end the process.
  stream.on('error', () => undefined)
  if (stream.destroyed || stream.headersSent) return
  stream.respond(answer, { endStream: true })
  // The rest of the request is not read: the stream ends for the caller too, and no longer counts as open.
  stream.resume()
  setImmediate(() => stream.close(NGHTTP2_NO_ERROR))
}
