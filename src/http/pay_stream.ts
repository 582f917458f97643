// Server-sent events of one payment page: an event whenever what the page shows has changed, and a comment in between,
// so that proxies and browsers keep the connection. A slow reader is sent the newest state only.

import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

export type StreamTimes = {
  /** Pause between two looks. */
  lookEveryMs: number
  /** Longest silence. */
  beatEveryMs: number
  /** After this the browser opens a new stream: on another server, where this one stops. */
  lifeMs: number
  /** A stream that its reader does not read to its end is cut off. */
  endWithinMs: number
}
export const STREAM_TIMES: StreamTimes = {
  lookEveryMs: 2_000,
  beatEveryMs: 15_000,
  lifeMs: 10 * 60_000,
  endWithinMs: 5_000,
}
/** How soon a browser opens the next one. */
const REOPEN_MS = 3_000

export type Shown = { data: string; isLast: boolean }

type StreamOptions = {
  /** What the page shows now; undefined: there is nothing more to show. */
  look: () => Promise<Shown | undefined>
  times: StreamTimes
  /** Ends the stream when the server stops. */
  closing: AbortSignal
  outgoing: ServerResponse
  /** Called once, when the connection is done with the stream. */
  onEnd: () => void
}

/** The body of the answer. `onEnd` is called even if it is never read. */
export function createPayStream({ look, times, closing, outgoing, onEnd }: StreamOptions): ReadableStream<Uint8Array> {
  const ending = new AbortController()
  const end = (): void => ending.abort()
  const lifetime = setTimeout(end, times.lifeMs)
  const cut = setTimeout(() => outgoing.destroy(), times.lifeMs + times.endWithinMs)
  closing.addEventListener('abort', end, { once: true })
  outgoing.once('close', () => {
    clearTimeout(lifetime)
    clearTimeout(cut)
    closing.removeEventListener('abort', end)
    end()
    onEnd()
  })
  if (closing.aborted) end()

  const messages = writeMessages(look, times, ending.signal)
  const encoder = new TextEncoder()
  return new ReadableStream({
    pull: async (controller) => {
      const { done, value } = await messages.next()
      if (done === true) controller.close()
      else controller.enqueue(encoder.encode(value))
    },
    cancel: end,
  })
}

async function* writeMessages(
  look: StreamOptions['look'],
  times: StreamTimes,
  signal: AbortSignal,
): AsyncGenerator<string, undefined> {
  yield `retry: ${REOPEN_MS}\n\n`
  let last = ''
  let writtenAt = performance.now()
  try {
    while (!signal.aborted) {
      const shown = await look()
      if (shown === undefined || signal.aborted) return
      if (shown.data !== last) {
        last = shown.data
        writtenAt = performance.now()
        // JSON has no line ends of its own.
        yield `event: state\ndata: ${shown.data}\n\n`
      } else if (performance.now() - writtenAt >= times.beatEveryMs) {
        writtenAt = performance.now()
        yield ': beat\n\n'
      }
      if (shown.isLast) return
      await delay(times.lookEveryMs, undefined, { signal })
    }
  } catch {
    // Its reader has gone, or the database is away: the browser opens another stream.
  }
}
