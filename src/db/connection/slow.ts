// Reports transactions while they run too long, and lock waits that timed out. Reports name statements, never their
// values.

import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import type { DatabasePool, Interceptor } from 'slonik'
import { wrapCalls } from './semaphore.ts'

/** SR-7.5. The database itself ends a transaction after 5 s and a lock wait after 1 s. */
const SLOW_MS = 1_000
const LOOK_EVERY_MS = 250
const MAX_TEXT_CHARACTERS = 200
const QUERY_ID_CHARACTERS = 12
/** Lock timeout; deadlock. */
const LOCK_STATES = new Set(['55P03', '40P01'])

/** `statement` is the name of a constant statement, or `sql:` and a hash of its text. */
export type SlowEvent = { statement: string; text: string } & (
  { kind: 'transaction'; ageMs: number } | { kind: 'lock'; state: string }
)

export type Running = {
  /** Records the statement that is sent now. */
  at: (query: { name?: string; text: string }) => void
  /** @param state the SQLSTATE, if it failed */
  end: (state?: string) => void
}

export type SlowWatch = {
  begin: () => Running
  close: () => void
}

type Entry = { beganAt: number; query: { name?: string; text: string }; isReported: boolean }

export function createSlowWatch(report: (event: SlowEvent) => void): SlowWatch {
  // In order of their start.
  const running = new Set<Entry>()

  const look = (): void => {
    for (const entry of running) {
      const ageMs = performance.now() - entry.beganAt
      if (ageMs < SLOW_MS) break
      if (!entry.isReported) report({ kind: 'transaction', ...nameOf(entry.query), ageMs: Math.round(ageMs) })
      entry.isReported = true
    }
  }
  const timer = setInterval(look, LOOK_EVERY_MS).unref()

  return {
    begin: () => {
      const entry: Entry = { beganAt: performance.now(), query: { name: 'begin', text: '' }, isReported: false }
      running.add(entry)
      return {
        at: (query) => void (entry.query = query),
        end: (state) => {
          running.delete(entry)
          if (state !== undefined && LOCK_STATES.has(state)) report({ kind: 'lock', ...nameOf(entry.query), state })
        },
      }
    },
    close: () => clearInterval(timer),
  }
}

/** Both pools send values separately, so the text contains none. */
function nameOf({ name, text }: Entry['query']): { statement: string; text: string } {
  const plain = text.replaceAll(/\s+/g, ' ').trim()
  const queryId = (): string => createHash('sha256').update(plain).digest('hex').slice(0, QUERY_ID_CHARACTERS)
  return { statement: name ?? `sql:${queryId()}`, text: plain.slice(0, MAX_TEXT_CHARACTERS) }
}

const current = new AsyncLocalStorage<Running>()

/** Reports each statement of slonik to the watch. */
export const slowInterceptor: Interceptor = {
  name: 'slow-watch',
  beforeQueryExecution: (_context, { sql: text }) => {
    current.getStore()?.at({ text })
    return null
  },
}

/** Wraps a pool so that its calls are watched. */
export const withSlowWatch = (
  pool: DatabasePool,
  watch: SlowWatch,
  stateOf: (error: unknown) => string | undefined,
): DatabasePool =>
  wrapCalls(pool, (act) => {
    const running = watch.begin()
    return current.run(running, async () => {
      try {
        const answer = await act()
        running.end()
        return answer
      } catch (error) {
        running.end(stateOf(error))
        throw error
      }
    })
  })
