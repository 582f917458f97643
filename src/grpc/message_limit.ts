// Limits the messages of a unary call to one, before any is decompressed or decoded. The library decodes all messages of
// a data frame at once and counts them only then: a frame of 16 KiB holds 3,276 empty ones, and each that is marked as
// compressed costs an inflater, also to callers without a token.

import type { ServerInterceptingCallInterface } from '@grpc/grpc-js'

/** The text of the failure, which library_status.ts translates. */
export const SECOND_MESSAGE = 'Received a second request message'

/**
 * Call it before the call's messages are read. Streams of requests are for admins alone: they have no limit here.
 * @param call the innermost call of the library, which is returned
 * @throws {Error} for a version of grpc-js that reads messages in another way
 */
export function limitMessages(
  { requestStream }: { requestStream: boolean },
  call: ServerInterceptingCallInterface,
): ServerInterceptingCallInterface {
  if (requestStream) return call
  // A private part of grpc-js, which has no hook between its reader and its decoder.
  const reader: unknown = Reflect.get(call, 'decoder')
  const read: unknown = typeof reader === 'object' && reader !== null ? Reflect.get(reader, 'write') : undefined
  if (typeof reader !== 'object' || reader === null || typeof read !== 'function')
    throw new Error('this version of grpc-js reads messages in another way: see src/grpc/message_limit.ts')
  let count = 0
  const readOne = (data: Buffer): unknown => {
    const messages: unknown = Reflect.apply(read, reader, [data])
    count += Array.isArray(messages) ? messages.length : 0
    if (count > 1) throw new Error(SECOND_MESSAGE)
    return messages
  }
  Reflect.set(reader, 'write', readOne)
  return call
}
