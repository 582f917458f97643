// HTTP client for price sources. What a source answers is not trusted: redirects are refused, and size and time are
// bounded. A failure is one of the words below; nothing of the answer's text goes further.

const ANSWER_WITHIN_MS = 5_000
/** A ticker of one pair has less than a kilobyte. */
const MAX_ANSWER_BYTES = 65_536
/** A source that asks for a longer pause is asked again after this. */
const MAX_PAUSE_MS = 600_000

export const READ_FAILURES = [
  'unreachable',
  'timeout',
  'status',
  'limited',
  'redirect',
  'size',
  'answer',
  'stale',
] as const
/**
 * unreachable: no connection, or one that broke. status: an HTTP error. limited: 429 or 503. answer: not JSON, another
 * pair, or no price. stale: a price whose own time is too long ago, or in the future.
 */
export type ReadFailure = (typeof READ_FAILURES)[number]

export class RateSourceError extends Error {
  override readonly name = 'RateSourceError'
  /** Its word for the log, which writes no message. */
  readonly reason: ReadFailure
  /** The source is not asked again before this time has passed. */
  readonly pauseMs: number

  constructor(reason: ReadFailure, pauseMs = 0) {
    super(`the source failed: ${reason}`)
    this.reason = reason
    this.pauseMs = pauseMs
  }
}

export type GetJson = (url: string, signal: AbortSignal) => Promise<unknown>

/** Numbers become their own text, so that no price passes through floating point. */
export function createGetJson(withinMs = ANSWER_WITHIN_MS): GetJson {
  return async (url, signal) => {
    const timeout = AbortSignal.timeout(withinMs)
    try {
      const answer = await fetch(url, {
        redirect: 'manual',
        headers: { accept: 'application/json' },
        signal: AbortSignal.any([timeout, signal]),
      })
      await assertOk(answer)
      return parseExact(await readText(answer))
    } catch (error) {
      if (error instanceof RateSourceError) throw error
      throw new RateSourceError(timeout.aborted ? 'timeout' : 'unreachable')
    }
  }
}

async function assertOk(answer: Response): Promise<void> {
  if (answer.status === 200) return
  await answer.body?.cancel()
  if (answer.status >= 300 && answer.status < 400) throw new RateSourceError('redirect')
  if (answer.status === 429 || answer.status === 503) throw new RateSourceError('limited', pauseOf(answer))
  throw new RateSourceError('status')
}

/** Retry-After in seconds; a date is not read, since it would need the source's clock. */
function pauseOf({ headers }: Response): number {
  const text = headers.get('retry-after') ?? ''
  return /^[0-9]{1,6}$/.test(text) ? Math.min(Number(text) * 1_000, MAX_PAUSE_MS) : 0
}

async function readText({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Leaving the loop cancels the body.
  for await (const chunk of body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) throw new RateSourceError('size')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** A reviver: each number as it is written. */
const numberAsText = (_key: string, value: unknown, context?: { source?: string }): unknown =>
  typeof value === 'number' ? (context?.source ?? '') : value

function parseExact(text: string): unknown {
  try {
    return JSON.parse(text, numberAsText)
  } catch {
    throw new RateSourceError('answer')
  }
}
