// One HTTP exchange with a node: within a deadline, of a bounded size, without redirects. A user and a password of the URL
// are sent as a header, since fetch refuses such a URL and quotes it in its error.

/** Traces of a full block have some ten megabytes. More would only fill the memory. */
const MAX_ANSWER_BYTES = 128 * 1_024 * 1_024
const TOO_MANY_REQUESTS = 429
const UNAVAILABLE = 503
const MS_PER_S = 1_000
const SECONDS = /^\d{1,15}$/
/** Date.parse alone takes almost any number for a date. */
const HTTP_DATE = /^[A-Z][a-z]{2}, /
/** A longer wait that a node asks for is cut to this, so that a wrong header does not stop a chain for a day. */
export const MAX_RETRY_AFTER_MS = 300_000

export type Answer =
  { isBusy: true; bytes: number; retryAfterMs: number | undefined } | { isBusy: false; bytes: number; body: unknown }

/** Posts JSON and reads JSON, whatever the status is: nodes explain a refusal in the body. Rejects with any error. */
export async function postJson(url: string, body: unknown, timeoutMs: number): Promise<Answer> {
  const target = targetOf(url)
  const response = await fetch(target.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...target.headers },
    body: JSON.stringify(body),
    redirect: 'error',
    signal: AbortSignal.timeout(timeoutMs),
  })
  const retryAfterMs = retryAfterMsOf(response.headers.get('retry-after'), Date.now())
  const isBusy =
    response.status === TOO_MANY_REQUESTS || (response.status === UNAVAILABLE && retryAfterMs !== undefined)
  const bytes = await readBytes(response)
  if (isBusy) return { isBusy, bytes: bytes.length, retryAfterMs }
  return { isBusy, bytes: bytes.length, body: JSON.parse(bytes.toString('utf8')) as unknown }
}

async function readBytes(response: Response): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Leaving the loop early ends the response.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) throw new Error('the answer is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Retry-After in seconds, or as a date of HTTP. Undefined: there is none that can be read. */
export function retryAfterMsOf(header: string | null, nowMs: number): number | undefined {
  const text = header?.trim() ?? ''
  const ms = SECONDS.test(text) ? Number(text) * MS_PER_S : HTTP_DATE.test(text) ? Date.parse(text) - nowMs : Number.NaN
  return Number.isNaN(ms) ? undefined : Math.min(MAX_RETRY_AFTER_MS, Math.max(0, ms))
}

function targetOf(text: string): { url: string; headers: Record<string, string> } {
  const url = new URL(text)
  if (url.username === '' && url.password === '') return { url: text, headers: {} }
  const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  url.username = ''
  url.password = ''
  return { url: url.href, headers: { authorization: `Basic ${Buffer.from(login).toString('base64')}` } }
}
