// Security events of the front: it counts refused calls by kind, caller and place, and appends them to the database once
// a second, in one statement. Memory and rows are bounded: a flood becomes counts, then a metric, and never a full disk.

import { status } from '@grpc/grpc-js'
import { insertSecurityEvents, type SecurityEvent, type SecurityEventKind } from '../db/security_event.ts'
import type { Database } from '../db/connection/pool.ts'
import { UUID_PATTERN } from '../domain/identifier.ts'
import { actorOf } from '../domain/access.ts'
import { Counter, type Logger, type Registry } from '../telemetry.ts'
import { ANONYMOUS, type CallRecord } from './call.ts'
import { ADMIN_SERVICES, PUBLIC_SERVICES, type RpcService } from './method.ts'

const FLUSH_EVERY_MS = 1_000
const MINUTE_MS = 60_000
/**
 * Rows with a method and an order, per kind, subject and peer in a minute. More would not help a rule, since all have
 * lower thresholds; further events are only counted.
 */
const DETAILED_ROWS_PER_CALLER = 30
/** Rows per kind in a minute and process: about 60 MB a day if all kinds are flooded without end. */
const ROWS_PER_KIND = 600
/** Peers whose calls are counted at once. */
const MAX_PEERS = 5_000
/** The calls of a peer without an invalid one are written this often; those of others with each flush. */
const CALLS_EVERY_MS = 30_000
/** The window of the rule that compares invalid calls with all calls of a peer. */
const SUSPECT_FOR_MS = 300_000
/** Rows that wait while the database does not take them: some seconds of a flood. */
const MAX_WAITING = 5_000
/** A larger statement could exceed the database's time limit. */
const ROWS_PER_STATEMENT = 500

const OBJECT_CHARACTERS = 32
const HEALTH = '/grpc.health.v1.Health/'

const pathsOf = (services: readonly RpcService[]): ReadonlySet<string> =>
  new Set(services.flatMap((service) => Object.values(service).map(({ path }) => path)))
/** Methods about orders, also where the call was refused before its request was read. */
const ORDER_PATHS = pathsOf([PUBLIC_SERVICES.order, PUBLIC_SERVICES.fulfilment])
const ADMIN_PATHS = pathsOf(Object.values(ADMIN_SERVICES))
const PATHS = new Set([...pathsOf(Object.values(PUBLIC_SERVICES)), ...ADMIN_PATHS])

/** What an event needs of a finished call. */
export type FinishedCall = Pick<CallRecord, 'requestId' | 'peer' | 'isPeerKnown' | 'principal' | 'orderId'> & {
  path: string
}

export type SecurityEvents = {
  /** Takes a finished call. Never throws or waits. */
  note: (call: FinishedCall, code: status) => void
  flush: () => Promise<void>
  /** Writes what is left, and stops. */
  stop: () => Promise<void>
}

export type SecurityEventDeps = {
  database: Pick<Database, 'sql'>
  logger: Pick<Logger, 'warn'>
  registry: Registry
  /** Keyed hash of who an address is. */
  peerHashOf: (address: string) => string
  /** Keyed hash: equal ids give equal hashes in every process. */
  hashRequest: (path: string, request: Buffer) => Buffer
  /** Monotonic milliseconds. */
  now?: () => number
}

/** Starts to collect and to write. */
export function createSecurityEvents(deps: SecurityEventDeps): SecurityEvents {
  const { database, logger, registry, peerHashOf, hashRequest, now = () => performance.now() } = deps
  const dropped = new Counter({
    name: 'holdfast_security_events_dropped_total',
    help: 'Security events that were not recorded, because there were too many or the database did not take them.',
    labelNames: ['kind'],
    registers: [registry],
  })
  const drop = (kind: SecurityEventKind, events: number): void => dropped.inc({ kind }, events)
  const refused = createRefusals(drop, now)
  const calls = createCallCounts(drop, now)
  let waiting: readonly Timed[] = []
  let last: Promise<void> = Promise.resolve()

  const objectOf = (orderId: string | undefined): string | null =>
    orderId === undefined
      ? null
      : hashRequest('order id', Buffer.from(orderId.toLowerCase())).toString('hex').slice(0, OBJECT_CHARACTERS)

  function note(call: FinishedCall, code: status): void {
    if (call.path.startsWith(HEALTH)) return
    // Callers behind a silent proxy must not be taken for one caller.
    const peer = call.isPeerKnown ? peerHashOf(call.peer) : null
    if (peer !== null) calls.add(peer, code === status.INVALID_ARGUMENT)
    const kind = kindOf(call, code)
    if (kind === undefined) return
    refused.add({
      kind,
      subject: call.principal === ANONYMOUS ? null : actorOf(call.principal),
      peer,
      method: PATHS.has(call.path) ? call.path : null,
      object: objectOf(call.orderId),
      requestId: UUID_PATTERN.test(call.requestId) ? call.requestId : null,
    })
  }

  async function write(): Promise<void> {
    const rows = [...waiting, ...refused.take(), ...calls.take()]
    for (const { kind, events } of rows.slice(MAX_WAITING)) drop(kind, events)
    waiting = rows.slice(0, MAX_WAITING)
    while (waiting.length > 0) {
      const batch = waiting.slice(0, ROWS_PER_STATEMENT)
      await insertSecurityEvents(
        database,
        batch.map(({ at, ...row }) => ({ ...row, ageMs: Math.max(0, now() - at) })),
      )
      waiting = waiting.slice(batch.length)
    }
  }

  // One at a time. What fails waits for the next one, until it is too much: then the metric counts it.
  const flush = (): Promise<void> => (last = last.then(write).then(resume, wait))
  let isWaiting = false
  const resume = (): void => void (isWaiting = false)
  /** One line per outage: the metric counts only what is lost in the end. */
  function wait(error: unknown): void {
    if (!isWaiting) logger.warn({ err: error }, 'security events wait')
    isWaiting = true
  }

  const timer = setInterval(() => void flush(), FLUSH_EVERY_MS).unref()
  return {
    note,
    flush,
    stop: async () => {
      clearInterval(timer)
      calls.end()
      await flush()
      for (const { kind, events } of waiting) drop(kind, events)
      waiting = []
    },
  }
}

/** Which event a finished call is, by its code; undefined for none. */
function kindOf({ path, orderId }: FinishedCall, code: status): SecurityEventKind | undefined {
  switch (code) {
    case status.UNAUTHENTICATED:
      return 'unauthenticated'
    case status.PERMISSION_DENIED:
      if (ADMIN_PATHS.has(path)) return 'denied_admin'
      return orderId !== undefined || ORDER_PATHS.has(path) ? 'denied_order' : 'denied'
    case status.NOT_FOUND:
      return orderId === undefined ? undefined : 'unknown_order'
    case status.INVALID_ARGUMENT:
      return 'invalid'
    default:
      return undefined
  }
}

type Timed = Omit<SecurityEvent, 'ageMs'> & { at: number }
type Drop = (kind: SecurityEventKind, events: number) => void

/** Refusals since the last flush, equal ones counted together. */
function createRefusals(drop: Drop, now: () => number) {
  let rows = new Map<string, Timed>()
  let minute = 0
  /** Rows of this minute, by kind, and by kind, subject and peer. */
  const taken = new Map<string, number>()

  function countOf(key: string): number {
    const current = Math.floor(now() / MINUTE_MS)
    if (current !== minute) taken.clear()
    minute = current
    return taken.get(key) ?? 0
  }

  function add(event: Omit<Timed, 'at' | 'events'>): void {
    const caller = [event.kind, event.subject, event.peer].join()
    const isDetailed = countOf(caller) < DETAILED_ROWS_PER_CALLER
    const full = isDetailed ? event : { ...event, method: null, object: null }
    const key = [caller, full.method, full.object].join()
    const known = rows.get(key)
    if (known !== undefined) {
      rows.set(key, { ...known, requestId: null, at: now(), events: known.events + 1 })
      return
    }
    if (countOf(event.kind) >= ROWS_PER_KIND) return drop(event.kind, 1)
    for (const counted of [event.kind, caller]) taken.set(counted, countOf(counted) + 1)
    rows.set(key, { ...full, at: now(), events: 1 })
  }

  return {
    add,
    take: (): Timed[] => {
      const all = [...rows.values()]
      rows = new Map()
      return all
    },
  }
}

/** All calls by peer. They are written less often than refusals, except for a peer that sends invalid ones. */
function createCallCounts(drop: Drop, now: () => number) {
  const counts = new Map<string, { events: number; at: number }>()
  const suspectUntil = new Map<string, number>()
  let writtenAt = now()

  function add(peer: string, isInvalid: boolean): void {
    if (isInvalid && (suspectUntil.has(peer) || suspectUntil.size < MAX_PEERS))
      suspectUntil.set(peer, now() + SUSPECT_FOR_MS)
    const known = counts.get(peer)
    if (known === undefined && counts.size >= MAX_PEERS) return drop('calls', 1)
    counts.set(peer, { events: (known?.events ?? 0) + 1, at: now() })
  }

  function take(): Timed[] {
    const isDue = now() - writtenAt >= CALLS_EVERY_MS
    if (isDue) writtenAt = now()
    for (const [peer, until] of suspectUntil) if (until <= now()) suspectUntil.delete(peer)
    const due = [...counts].filter(([peer]) => isDue || suspectUntil.has(peer))
    for (const [peer] of due) counts.delete(peer)
    return due.map(([peer, count]) => ({
      ...{ kind: 'calls', subject: null, peer, method: null, object: null, requestId: null },
      ...count,
    }))
  }

  return { add, take, end: () => void (writtenAt = -Infinity) }
}
