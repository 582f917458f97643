// A load generator of HTTP/2 calls in a process of its own. It reads one load per line from stdin and answers each with
// a result. It can offer a rate that does not fall when answers are late (an open loop).

import { connect, constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Metadata, status } from '@grpc/grpc-js'
import { DETAILS_KEY, readDetails } from '../../src/grpc/detail.ts'
import { CatalogServiceService } from '../../src/grpc/gen/holdfast/v1/catalog.ts'
import { percentile } from '../statistics.ts'

/** A closed loop of `inFlight` callers, or an open one of `ratePerS`. */
export type OverloadCalls = {
  address: string
  token: string
  seconds: number
  deadlineMs: number
  inFlight?: number
  ratePerS?: number
}
export type OverloadResult = {
  /** Calls that were sent. */
  offered: number
  /** Answered OK within the deadline. */
  good: number
  /** Not answered within the deadline: the generator gave up, as a client does. */
  late: number
  /** Refused for overload with reason and retry delay, and refused in any other form. */
  refused: number
  malformed: number
  /** Ended by the server for the deadline. */
  expired: number
  p50Ms: number
  p99Ms: number
  /** The first other endings. */
  messages: string[]
}

/** So many that no call waits in the generator for a stream. */
const CONNECTIONS = 64
const TICK_MS = 2
/** An answer may travel this long after the server has met the deadline. */
const TRAVEL_MS = 50
const MAX_MESSAGES = 5
const LATE = 'late'
const METHOD = CatalogServiceService.listProducts
const message = METHOD.requestSerialize({ limit: 100, offset: undefined, cursor: '' })
const HEAD = Buffer.alloc(5)
HEAD.writeUInt32BE(message.length, 1)
const BODY = Buffer.concat([HEAD, message])

type Ending = { code: string; details: string | undefined; tookMs: number }

function call(session: ClientHttp2Session, { token, deadlineMs }: OverloadCalls): Promise<Ending> {
  return new Promise((resolve) => {
    const startedAt = performance.now()
    const stream = session.request({
      ':method': 'POST',
      ':path': METHOD.path,
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-timeout': `${deadlineMs}m`,
      authorization: `Bearer ${token}`,
    })
    let code = 'no status'
    let details: string | undefined
    const read = (headers: IncomingHttpHeaders): void => {
      const packed = headers[DETAILS_KEY]
      if (headers['grpc-status'] === undefined) return
      code = status[Number(headers['grpc-status'])] ?? code
      details = typeof packed === 'string' ? packed : undefined
    }
    stream.on('response', read)
    stream.on('trailers', read)
    stream.on('error', () => undefined)
    const giveUp = setTimeout(() => {
      code = LATE
      stream.close(constants.NGHTTP2_CANCEL)
    }, deadlineMs + TRAVEL_MS)
    stream.on('close', () => {
      clearTimeout(giveUp)
      resolve({ code, details, tookMs: performance.now() - startedAt })
    })
    stream.resume()
    stream.end(BODY)
  })
}

/** One refusal in so many is decoded: the generator must keep up. */
const DECODE_EVERY = 20
let refusals = 0

function isWellFormed({ details }: Ending): boolean {
  if (details === undefined) return false
  if ((refusals += 1) % DECODE_EVERY !== 0) return true
  const metadata = new Metadata()
  metadata.set(DETAILS_KEY, Buffer.from(details, 'base64'))
  const { reason, retryAfterMs } = readDetails(metadata)
  return reason !== '' && (retryAfterMs ?? 0) > 0
}

async function run(calls: OverloadCalls): Promise<OverloadResult> {
  const sessions = Array.from({ length: CONNECTIONS }, () => connect(`http://${calls.address}`))
  // Calls on a broken connection end without a status, and are counted by it.
  for (const session of sessions) session.on('error', () => undefined)
  const result = { offered: 0, good: 0, late: 0, refused: 0, malformed: 0, expired: 0 }
  const tookMs: number[] = []
  const messages: string[] = []
  const count = (ending: Ending): void => {
    const { code } = ending
    if (code === 'OK') {
      tookMs.push(ending.tookMs)
      result.good += 1
    } else if (code === LATE) result.late += 1
    else if (code === 'DEADLINE_EXCEEDED') result.expired += 1
    else if (code === 'RESOURCE_EXHAUSTED' || code === 'UNAVAILABLE')
      result[isWellFormed(ending) ? 'refused' : 'malformed'] += 1
    else {
      result.malformed += 1
      if (messages.length < MAX_MESSAGES) messages.push(code)
    }
  }
  const next = async (): Promise<void> => {
    const session = sessions[(result.offered += 1) % CONNECTIONS]
    if (session === undefined || session.destroyed) return count({ code: 'cut off', details: undefined, tookMs: 0 })
    count(await call(session, calls))
  }
  const startedAt = performance.now()
  const elapsedS = (): number => (performance.now() - startedAt) / 1_000
  const open: Promise<void>[] = []
  const callOn = async (): Promise<void> => {
    while (elapsedS() < calls.seconds) await next()
  }
  for (let caller = 0; caller < (calls.inFlight ?? 0); caller += 1) open.push(callOn())
  while (calls.ratePerS !== undefined && elapsedS() < calls.seconds) {
    const due = Math.floor(elapsedS() * calls.ratePerS)
    while (result.offered < due) open.push(next())
    await sleep(TICK_MS)
  }
  await Promise.all(open)
  for (const session of sessions) session.destroy()
  return { ...result, p50Ms: percentile(tookMs, 0.5), p99Ms: percentile(tookMs, 0.99), messages }
}

for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(line) as OverloadCalls))}\n`)
process.exit(0)
