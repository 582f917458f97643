// The only way to register a handler: parse the request, run until the deadline, answer exactly once. A bare async
// handler that rejects would end the process; a callback called twice would hang its client.

import { once, type EventEmitter } from 'node:events'
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Server,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  StatusObject,
  UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { untilEnded } from '../db/connection/ended.ts'
import { DomainError } from '../domain/failure.ts'
import type { LimitClass } from '../domain/limit.ts'
import { recordOf, type Call } from './call.ts'
import { deadlineExceeded, deadlineOf, READ_WITHIN_MS } from './deadline.ts'
import { LIMIT_CLASS } from './limit_class.ts'
import { malformedMessage } from './library_status.ts'
import type { Method, MethodPath, ResponseOf, RpcService } from './method.ts'
import { serverHashOf } from './request_hash.ts'
import { SCHEMAS, type Parsed } from './schema.ts'
import { statusOf } from './status.ts'
import { hasValidNanos, REQUEST_TIMESTAMPS } from './timestamp.ts'
import { parseMessage } from './validate.ts'

type Handler<M extends Method> = (
  request: M['requestStream'] extends true ? AsyncIterable<Parsed<M['path']>> : Parsed<M['path']>,
  call: Call,
) => M['responseStream'] extends true ? AsyncIterable<ResponseOf<M>> : Promise<ResponseOf<M>>

/** One async function per unary method, one async generator per stream; it reads a stream of requests as it comes. */
export type Handlers<S extends RpcService> = { readonly [Name in keyof S]: Handler<S[Name]> }

type AnyHandler = (request: unknown, call: Call) => AsyncIterable<unknown> | Promise<unknown>
type Stream = ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>
type AnyCall = ServerUnaryCall<unknown, unknown> | Stream

/** What gRPC clients receive by default. Pages end far below (page.ts); a single row may be larger than a page. */
export const MAX_RESPONSE_BYTES = 4_194_304

/** Methods whose handlers only read, and for one caller alone: their statements end with the call. */
const READS_ALONE: ReadonlySet<LimitClass> = new Set(['read', 'list'])
const endingWith =
  (handler: AnyHandler): AnyHandler =>
  (request, call) =>
    untilEnded(call.signal, () => handler(request, call))

/** Marks a body that cannot be decoded: the library alone would answer INTERNAL. */
const MALFORMED = Symbol('malformed')

/** Registers a service. `closing` ends its streams when the server stops. */
export function addService<S extends RpcService>(
  server: Server,
  service: S,
  handlers: Handlers<S>,
  closing: AbortSignal,
): void {
  const definition: Record<string, Method> = {}
  const implementation: UntypedServiceImplementation = {}
  for (const [name, method] of Object.entries<Method>(service)) {
    const handler = handlers[name] as unknown as AnyHandler
    definition[name] = {
      ...method,
      requestDeserialize: (bytes) => deserialize(method, bytes),
      // Handlers return bytes: see serialize.
      responseSerialize: (bytes) => bytes,
    }
    implementation[name] = implementationOf(method, handler, closing)
  }
  server.addService(definition as ServiceDefinition, implementation)
}

function implementationOf(method: Method, handler: AnyHandler, closing: AbortSignal) {
  if (method.requestStream) return duplexOf(method, handler, closing)
  return method.responseStream ? streamOf(method, handler, closing) : unaryOf(method, handler)
}

function deserialize(method: Method, bytes: Buffer): unknown {
  try {
    const message = method.requestDeserialize(bytes)
    return hasValidNanos(bytes, REQUEST_TIMESTAMPS[method.path as MethodPath] ?? []) ? message : MALFORMED
  } catch {
    return MALFORMED
  }
}

/**
 * Encodes the answer. A failure gets an incident id and a log line, like any other; the library would send its own
 * error text to the caller.
 */
function serialize(method: Method, response: unknown): Buffer {
  const bytes = method.responseSerialize(response as never)
  if (bytes.length > MAX_RESPONSE_BYTES) throw new Error(`an answer of ${bytes.length} bytes`)
  return bytes
}

const unaryOf =
  (method: Method, handler: AnyHandler): handleUnaryCall<unknown, unknown> =>
  async (wire, callback) => {
    const { call, end } = openCall(method, wire)
    const run = READS_ALONE.has(LIMIT_CLASS[call.record.path]) ? endingWith(handler) : handler
    let response: Buffer | undefined
    let failure: StatusObject | null = null
    try {
      const answer = await withinDeadline(call, async () => run(requestOf(method, wire.request, call), call))
      response = serialize(method, answer)
    } catch (error) {
      failure = statusOf(error, call.record)
    }
    end()
    callback(failure, response)
  }

const streamOf =
  (method: Method, handler: AnyHandler, closing: AbortSignal): handleServerStreamingCall<unknown, unknown> =>
  async (wire) => {
    const { call, end } = openCall(method, wire, closing)
    await answerAll(method, wire, call, () => handler(requestOf(method, wire.request, call), call))
    end()
  }

const duplexOf =
  (method: Method, handler: AnyHandler, closing: AbortSignal): handleBidiStreamingCall<unknown, unknown> =>
  async (wire) => {
    const { call, end } = openCall(method, wire, closing)
    await answerAll(method, wire, call, () => handler(requestsOf(method, wire, call), call))
    end()
  }

/** The requests of a stream until its client has sent all, or the call is aborted. Throws FIELD_INVALID. */
async function* requestsOf(method: Method, wire: ServerDuplexStream<unknown, unknown>, call: Call): AsyncGenerator {
  // By default the iterator destroys the stream at its end, before the last answer is written.
  const requests: AsyncIterator<unknown> = wire.iterator({ destroyOnReturn: false })
  const aborted = new Promise<{ done: true; value: undefined }>((resolve) => {
    const stop = (): void => resolve({ done: true, value: undefined })
    if (call.signal.aborted) stop()
    call.signal.addEventListener('abort', stop, { once: true })
  })
  for (;;) {
    const next = await Promise.race([requests.next(), aborted])
    if (next.done === true) return
    yield requestOf(method, next.value, call)
  }
}

/** Ends the call with all that the handler yields, or with its error. */
async function answerAll(method: Method, wire: Stream, call: Call, handle: () => unknown): Promise<void> {
  try {
    await pump(method, wire, call, handle)
    wire.end()
  } catch (error) {
    // destroy() would hang the client.
    wire.emit('error', statusOf(error, call.record))
  }
}

/**
 * Writes what the handler yields, at the speed the client reads. Rethrows its error; throws the abort reason if it was
 * stopped.
 */
async function pump(method: Method, wire: Stream, call: Call, handle: () => unknown): Promise<void> {
  try {
    const messages = handle() as AsyncIterable<unknown>
    for await (const message of messages) {
      if (!wire.write(serialize(method, message))) await drained(wire, call)
    }
  } catch (error) {
    // After an abort, only its reason matters.
    if (!call.signal.aborted) throw error
  }
  if (call.signal.reason instanceof DomainError) throw call.signal.reason
}

/** Waits until the client has read what was written. Throws DEADLINE_EXCEEDED if it does not read. */
async function drained(wire: AnyCall, call: Call): Promise<void> {
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(READ_WITHIN_MS)])
  await once(wire, 'drain', { signal }).catch(() => {
    throw new DomainError('DEADLINE_EXCEEDED', 'The client does not read this stream.')
  })
}

/** Throws FIELD_INVALID. */
function requestOf(method: Method, message: unknown, call: Call): unknown {
  if (message === MALFORMED) throw malformedMessage()
  const request: unknown = parseMessage(SCHEMAS[method.path as MethodPath], message)
  if (typeof request === 'object' && request !== null && 'orderId' in request)
    call.record.orderId = String(request.orderId)
  return request
}

function openCall(method: Method, wire: AnyCall, closing?: AbortSignal): { call: Call; end: () => void } {
  const record = recordOf(wire.metadata)
  const ending = new AbortController()
  const deadline = deadlineOf(record, Number(wire.getDeadline()), method.responseStream)
  const onCancelled = (): void => ending.abort()
  const events: EventEmitter = wire
  events.on('cancelled', onCancelled)
  closing?.addEventListener('abort', stop, { once: true })
  const { revoked } = record
  revoked?.addEventListener('abort', onRevoked, { once: true })
  if (revoked?.aborted === true) onRevoked()
  const timer = setTimeout(() => ending.abort(deadlineExceeded()), Math.max(0, deadline - Date.now()))

  function onRevoked(): void {
    ending.abort(revoked?.reason)
  }
  function stop(): void {
    ending.abort(new DomainError('SHUTTING_DOWN', 'This server is shutting down.'))
  }
  let bytes: Buffer | undefined
  const requestBytes = (): Buffer => {
    if (!('request' in wire)) throw new Error('a stream of requests has no bytes of its own')
    return (bytes ??= method.requestSerialize(wire.request as never))
  }
  const call: Call = {
    record,
    principal: record.principal,
    deadline,
    signal: ending.signal,
    requestBytes,
    requestHash: () => serverHashOf(record, requestBytes()),
  }
  return {
    call,
    end: () => {
      clearTimeout(timer)
      // The event fires after a normal end too. An abort without a listener would cost two errors with stack traces.
      events.off('cancelled', onCancelled)
      closing?.removeEventListener('abort', stop)
    },
  }
}

/** Rejects at the deadline even if the handler continues, so that the caller gets its answer in time. */
function withinDeadline<T>(call: Call, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    call.signal.addEventListener('abort', () => reject(deadlineExceeded()), { once: true })
    work().then(resolve, reject)
  })
}
