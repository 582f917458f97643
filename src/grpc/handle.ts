// The only way to register a handler: parse the request, run until the deadline, answer exactly once. A bare async
// handler that rejects would end the process; a callback called twice would hang its client.

import { once } from 'node:events'
import type {
  handleServerStreamingCall,
  handleUnaryCall,
  Server,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  StatusObject,
  UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { DomainError } from '../domain/failure.ts'
import { recordOf, type Call } from './call.ts'
import { malformedMessage } from './library_status.ts'
import type { Method, MethodPath, ResponseOf, RpcService } from './method.ts'
import { serverHashOf } from './request_hash.ts'
import { SCHEMAS, type Parsed } from './schema.ts'
import { statusOf } from './status.ts'
import { hasValidNanos, REQUEST_TIMESTAMPS } from './timestamp.ts'
import { parseMessage } from './validate.ts'

/** For callers that set no deadline. */
const DEFAULT_DEADLINE_MS = 10_000
/** A timer longer than this fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

type Handler<M extends Method> = (
  request: Parsed<M['path']>,
  call: Call,
) => M['responseStream'] extends true ? AsyncIterable<ResponseOf<M>> : Promise<ResponseOf<M>>

/** One async function per unary method, one async generator per stream. */
export type Handlers<S extends RpcService> = { readonly [Name in keyof S]: Handler<S[Name]> }

type AnyHandler = (request: unknown, call: Call) => AsyncIterable<unknown> | Promise<unknown>
type AnyCall = ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>

/** What gRPC clients receive by default. Pages end far below (page.ts); a single row may be larger than a page. */
export const MAX_RESPONSE_BYTES = 4_194_304

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
    implementation[name] = method.responseStream ? streamOf(method, handler, closing) : unaryOf(method, handler)
  }
  server.addService(definition as ServiceDefinition, implementation)
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
    let response: Buffer | undefined
    let failure: StatusObject | null = null
    try {
      const answer = await withinDeadline(call, async () => handler(requestOf(method, wire, call), call))
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
    try {
      await pump(method, handler, wire, call)
      wire.end()
    } catch (error) {
      // destroy() would hang the client.
      wire.emit('error', statusOf(error, call.record))
    }
    end()
  }

/**
 * Writes what the handler yields, at the speed the client reads. Rethrows its error; throws the abort reason if it was
 * stopped.
 */
async function pump(
  method: Method,
  handler: AnyHandler,
  wire: ServerWritableStream<unknown, unknown>,
  call: Call,
): Promise<void> {
  try {
    const messages = handler(requestOf(method, wire, call), call) as AsyncIterable<unknown>
    for await (const message of messages) {
      if (!wire.write(serialize(method, message))) await once(wire, 'drain', { signal: call.signal })
    }
  } catch (error) {
    // After an abort, only its reason matters.
    if (!call.signal.aborted) throw error
  }
  if (call.signal.reason instanceof DomainError) throw call.signal.reason
}

/** Throws FIELD_INVALID. */
function requestOf(method: Method, wire: AnyCall, call: Call): unknown {
  if (wire.request === MALFORMED) throw malformedMessage()
  const request: unknown = parseMessage(SCHEMAS[method.path as MethodPath], wire.request)
  if (typeof request === 'object' && request !== null && 'orderId' in request)
    call.record.orderId = String(request.orderId)
  return request
}

function openCall(method: Method, wire: AnyCall, closing?: AbortSignal): { call: Call; end: () => void } {
  const record = recordOf(wire.metadata)
  const ending = new AbortController()
  const given = Number(wire.getDeadline())
  const deadline = Number.isFinite(given) || method.responseStream ? given : Date.now() + DEFAULT_DEADLINE_MS
  const onCancelled = (): void => ending.abort()
  wire.on('cancelled', onCancelled)
  closing?.addEventListener('abort', stop, { once: true })
  const { revoked } = record
  revoked?.addEventListener('abort', onRevoked, { once: true })
  if (revoked?.aborted === true) onRevoked()
  const timer = Number.isFinite(deadline)
    ? setTimeout(() => ending.abort(deadlineExceeded()), Math.min(MAX_TIMER_MS, Math.max(0, deadline - Date.now())))
    : undefined

  function onRevoked(): void {
    ending.abort(revoked?.reason)
  }
  function stop(): void {
    ending.abort(new DomainError('SHUTTING_DOWN', 'This server is shutting down.'))
  }
  let bytes: Buffer | undefined
  const requestBytes = (): Buffer => (bytes ??= method.requestSerialize(wire.request as never))
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
      wire.off('cancelled', onCancelled)
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

const deadlineExceeded = (): DomainError =>
  new DomainError('DEADLINE_EXCEEDED', 'The deadline passed. Repeat with the same key to learn the result.')
