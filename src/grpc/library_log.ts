// Replaces the logger of grpc-js. The library writes callers' headers to the log as they came, tokens included, before
// a call is authenticated. Of its lines, only the level and the kind of event are logged, rate limited.

import { logVerbosity, setLogger, setLogVerbosity } from '@grpc/grpc-js'
import { createLineLimit, type Logger } from '../telemetry.ts'

/** Beginnings of the library's lines, with the words that we log for them. */
const EVENTS: readonly (readonly [RegExp, string])[] = [
  [/^Failed to add metadata entry/, 'header dropped'],
  [/^Failed to set secure context|^Failed to createSecureContext/, 'certificate not loaded'],
  [/^Connection to .* rejected by server because of excess pings/s, 'too many pings'],
  [/^No address added out of total|^WARNING Only/, 'address not bound'],
]
const OTHER = 'other'

const eventOf = (message: unknown): string =>
  EVENTS.find(([pattern]) => typeof message === 'string' && pattern.test(message))?.[1] ?? OTHER

/** From now on, each line of grpc-js in this process goes to `logger`, without its text. */
export function logLibrary(logger: Logger): void {
  const limit = createLineLimit((event, suppressed) => logger.warn({ event, suppressed }, 'grpc library'))
  const write = (message?: unknown): void => {
    const event = eventOf(message)
    limit(event, () => logger.warn({ event }, 'grpc library'))
  }
  setLogger({ error: write, info: write, debug: write })
  setLogVerbosity(logVerbosity.ERROR)
}

/** For programs that write for people: nothing of grpc-js reaches the terminal. Failed calls reject anyway. */
export const silenceLibrary = (): void => setLogVerbosity(logVerbosity.NONE)
