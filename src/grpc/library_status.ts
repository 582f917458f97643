// The failures of calls that break a rule of gRPC, and the translation of the statuses that grpc-js sends by itself. Its
// texts may quote the caller or its own errors.

import { status, type ServerInterceptingCallInterface } from '@grpc/grpc-js'
import { DomainError } from '../domain/failure.ts'
import { deadlineExceeded } from './deadline.ts'
import { SECOND_MESSAGE } from './message_limit.ts'
import { fieldInvalid } from './validate.ts'

type PartialStatus = Parameters<ServerInterceptingCallInterface['sendStatus']>[0]

/**
 * Requests are small; with the library's default of 4 MiB, one of them could use 380 MB of heap. Also limits
 * decompressed gzip.
 */
export const MAX_REQUEST_BYTES = 65_536

export type MalformedPart = 'content_type' | 'method' | 'timeout' | 'compression' | 'message_count'

export const callMalformed = (part: MalformedPart, message: string): DomainError =>
  new DomainError('CALL_MALFORMED', message, { metadata: { part } })

export const encodingUnknown = (): DomainError =>
  new DomainError('ENCODING_UNKNOWN', 'This compression is not known here.')

const tooLarge = (): DomainError =>
  new DomainError('MESSAGE_TOO_LARGE', `A message has at most ${MAX_REQUEST_BYTES} bytes.`, {
    metadata: { limit_bytes: String(MAX_REQUEST_BYTES) },
  })
const miscounted = (): DomainError => callMalformed('message_count', 'This call takes exactly one message.')

/** Beginnings of the library's texts, for failures that are the caller's. Any other status is a bug of the server. */
const CALLERS: readonly (readonly [status, RegExp, () => DomainError])[] = [
  [status.DEADLINE_EXCEEDED, /^Deadline exceeded/, deadlineExceeded],
  [status.RESOURCE_EXHAUSTED, /^Received message/, tooLarge],
  // For every error of its reader the library has one code; this one is ours.
  [status.RESOURCE_EXHAUSTED, new RegExp(`^${SECOND_MESSAGE}`), miscounted],
  [status.UNIMPLEMENTED, /^Received no request message/, miscounted],
  [status.UNIMPLEMENTED, /^Received message compressed with unsupported encoding/, encodingUnknown],
  [status.INTERNAL, /^Failed to decompress/, () => callMalformed('compression', 'The message cannot be decompressed.')],
  [status.INTERNAL, /^Invalid grpc-timeout/, () => callMalformed('timeout', 'The header grpc-timeout is not valid.')],
  [status.INTERNAL, /^Error deserializing request/, malformedMessage],
]

export function malformedMessage(): DomainError {
  return fieldInvalid([{ field: '', description: 'must be a message of the type that this method takes' }])
}

/** The failure behind a status that the library made. */
export function libraryFailure({ code, details }: PartialStatus): DomainError {
  const found = CALLERS.find(([known, pattern]) => known === code && pattern.test(details))
  return found?.[2]() ?? new DomainError('INTERNAL', 'The library ended the call.', { cause: new LibraryError(code) })
}

/** In the log, the code stands for the library's text. */
class LibraryError extends Error {
  override readonly name = 'LibraryError'
  readonly code: string
  constructor(code: status | undefined) {
    super('a status of grpc-js')
    this.code = status[code ?? status.UNKNOWN]
  }
}
