// The oracle of the fuzz test: what may be answered to a call, whatever was sent.

import { status } from '@grpc/grpc-js'
import { FAILURES } from '../../../src/domain/failure.ts'
import { ERROR_DOMAIN, DETAILS_KEY } from '../../../src/grpc/detail.ts'
import { ErrorInfo } from '../../../src/grpc/gen/google/rpc/error_details.ts'
import { Status } from '../../../src/grpc/gen/google/rpc/status.ts'
import { CODES } from '../../../src/grpc/status.ts'
import { findSources, readSource } from '../source.ts'
import type { FuzzCall } from './call.ts'
import { CANARY } from './hostile.ts'

/** What came back on one stream of HTTP/2. */
export type Answer = {
  httpStatus: number
  /** Headers and trailers, those that came last winning. */
  headers: Readonly<Record<string, string | undefined>>
  body: Buffer
  /** The code of HTTP/2 with which the server ended the stream; 0 for a normal end. */
  resetCode: number
  /** The client ended it: a stream that has no other end. */
  isLeft: boolean
}

const LONGEST_TEXT = 200
const FRAME_HEAD = 5

const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`)

/**
 * The sentences in the source, as patterns: a part that is filled in may be a short word. A text of a library, of
 * Postgres or of the caller matches none.
 */
const OWN_TEXTS: readonly RegExp[] = findSources('src/**/*.ts')
  .filter((path) => !/\.test\.ts$|\/gen\//.test(path))
  .flatMap((path) => [...readSource(path).matchAll(/(['"`])([A-Z](?:(?!\1)[^\\\n])*\.)\1/g)])
  .map(
    ([, , text = '']) =>
      new RegExp(
        `^${text
          .split(/\$\{[^}]*\}/)
          .map(escaped)
          .join('[\\w .[\\]]{1,80}')}$`,
      ),
  )

/** A field and its rule, as fieldInvalid (src/grpc/validate.ts) joins them. A rule may list the values of an enum. */
const FIELD_RULE = /^[a-z_]+(?:\[\d+\]|\.[a-z_]+)*: (?:must|looks like) [ -~]{1,400}$/

const isOwnText = (text: string): boolean =>
  FIELD_RULE.test(text) || (text.length <= LONGEST_TEXT && OWN_TEXTS.some((own) => own.test(text)))
/** Few texts are answered, and each many times. */
const ownTextsSeen = new Set<string>()
function isOwnTextOrSeen(text: string): boolean {
  if (!ownTextsSeen.has(text) && isOwnText(text)) ownTextsSeen.add(text)
  return ownTextsSeen.has(text)
}

const isReason = (reason: string): reason is keyof typeof FAILURES => Object.hasOwn(FAILURES, reason)

/** What is wrong with the answer; undefined for a proper one. */
export function problemOf(call: FuzzCall, answer: Answer): string | undefined {
  const code = answer.headers['grpc-status']
  if (code === undefined) return problemWithoutStatus(call, answer)
  if (code === String(status.OK)) return problemOfSuccess(call, answer)
  return problemOfRefusal(answer, Number(code))
}

/** HTTP itself may refuse what is not gRPC; a stream that was left has no status. */
function problemWithoutStatus(
  { kind }: FuzzCall,
  { httpStatus, resetCode, isLeft, headers, body }: Answer,
): string | undefined {
  if (isLeft) return undefined
  if (JSON.stringify(headers).includes(CANARY) || body.includes(CANARY)) return 'an HTTP answer repeats the input'
  const isRefused = (httpStatus >= 400 && httpStatus < 500) || resetCode !== 0
  if (kind.startsWith('header: ') && isRefused) return undefined
  return `no status (HTTP ${httpStatus}, reset ${resetCode})`
}

function problemOfSuccess({ method }: FuzzCall, { body }: Answer): string | undefined {
  let rest = body
  let messages = 0
  while (rest.length >= FRAME_HEAD) {
    const end = FRAME_HEAD + rest.readUInt32BE(1)
    method.responseDeserialize(rest.subarray(FRAME_HEAD, end))
    rest = rest.subarray(end)
    messages += 1
  }
  return rest.length === 0 && (messages === 1 || method.responseStream) ? undefined : `OK with ${messages} messages`
}

function problemOfRefusal({ headers }: Answer, code: number): string | undefined {
  const name = status[code] ?? String(code)
  const message = decodeURIComponent(headers['grpc-message'] ?? '')
  const shown = JSON.stringify(message.slice(0, LONGEST_TEXT))
  // A caller's own request id is given back where it is harmless, and no canary is.
  if (JSON.stringify(headers).includes(CANARY)) return `${name} repeats the input: ${shown}`
  if (name === 'INTERNAL' || name === 'UNKNOWN') return `${name}: ${shown}`
  if (!isOwnTextOrSeen(message)) return `${name} with a text that is not ours: ${shown}`
  const packed = headers[DETAILS_KEY]
  if (packed === undefined) return `${name} without details: ${shown}`
  const bytes = Buffer.from(packed, 'base64')
  if (bytes.includes(CANARY)) return `the details of ${name} repeat the input`
  const details = Status.decode(bytes)
  if (details.code !== code || details.message !== message) return `${name}: the details say something else`
  const info = details.details.find(({ typeUrl }) => typeUrl.endsWith('/google.rpc.ErrorInfo'))
  const { reason, domain } = ErrorInfo.decode(info?.value ?? Buffer.alloc(0))
  if (!isReason(reason) || domain !== ERROR_DOMAIN) return `${name} for the reason ${reason} of ${domain}`
  return status[CODES[FAILURES[reason]]] === name ? undefined : `${reason} as ${name}`
}

/** The answer's reason, or its code where it has none. For counting. */
export function summaryOf({ headers, httpStatus, resetCode }: Answer): string {
  const code = headers['grpc-status']
  if (code === undefined) return resetCode === 0 ? `HTTP ${httpStatus}` : `reset ${resetCode}`
  return status[Number(code)] ?? code
}
