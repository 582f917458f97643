// Limits of a call, in the order in which they are checked. Before its token: load shedding and the budget of its
// address. After its token and account: the budget of its user, then what it has in progress. After its role: the
// window shared by all api processes. And the deadline, which counts from the headers.

import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js'
import type { QuotaCall, QuotaRefusal } from '../db/quota.ts'
import type { Principal } from '../domain/access.ts'
import { DomainError } from '../domain/failure.ts'
import {
  LIMIT_CLASSES,
  MAX_BUDGET,
  SHARED_CLASSES,
  WINDOW_MS,
  type Budget,
  type Budgets,
  type LimitClass,
} from '../domain/limit.ts'
import { Counter, Gauge, type Registry } from '../telemetry.ts'
import { addressKeyOf } from './address_key.ts'
import { createAdmission, watchEventLoop, type Admission } from './admission.ts'
import { recordOf, type CallRecord } from './call.ts'
import { deadlineExceeded, deadlineOf } from './deadline.ts'
import { createBuckets, createInFlight, type Buckets } from './limit.ts'
import { ESSENTIAL, LIMIT_CLASS } from './limit_class.ts'
import type { MethodPath } from './method.ts'
import { findPermission } from './permission.ts'
import { statusOf } from './status.ts'

const OVERLOAD_RETRY_MS = 1_000
/** Retries that were refused together must not return together. */
const OVERLOAD_SPREAD_MS = 1_000
/** The same for a rate limit: by so much later, at least and as a share of the wait. */
const RATE_SPREAD_MS = 250
const RATE_SPREAD = 0.1
const TURN_RETRY_MS = 500
/** A stream lives for minutes. */
const STREAM_RETRY_MS = 5_000
/** A call whose request is not complete by then is no work in progress: it waits for its caller. */
const REQUEST_WITHIN_MS = 1_000
/** A unary call whose request is not complete by then ends. */
const REQUEST_DEADLINE_MS = 10_000
/** In classes with a shared window, the buckets in memory only keep floods from the database. */
const SHARED_BUCKET_FACTOR = 2
/** Reports of one address whose token is not checked yet or not valid, in 60 s and at once. */
const UNPROVEN_REPORTS = 600
const MS_PER_S = 1_000

export type LimiterDeps = {
  registry: Registry
  budgets: Budgets
  /** Pseudonym of an address. */
  peerHashOf: (address: string) => string
  /** True for addresses that stand for many clients, trusted proxies: one that names no client has no budget. */
  isShared?: (address: string) => boolean
  /** Counts a call in the shared windows; resolves to a refusal if one of them is full. */
  takeQuota: (call: QuotaCall) => Promise<QuotaRefusal | undefined>
  /** The budget of a payment source, where it has one of its own. */
  reportBudgetOf?: (source: string) => number | undefined
}

export type Limiter = {
  /** For a call of which only the path is read: must it be refused as `overloaded`? Counts it then. */
  isShed: (path: MethodPath) => boolean
  /** Between the observer and the guard. */
  interceptor: ServerInterceptor
  /** For a call whose token and account are valid. Throws RATE_LIMITED, TOO_MANY_CALLS, TOO_MANY_STREAMS. */
  admitCaller: (record: CallRecord, principal: Principal) => void
  /** For a call whose role is allowed. Throws RATE_LIMITED; rejects if the database cannot be asked. */
  admitShared: (record: CallRecord, principal: Principal) => Promise<void>
  stop: () => void
}

type Parts = LimiterDeps & {
  admission: Admission
  users: Readonly<Record<LimitClass, Buckets>>
  machines: Readonly<Record<LimitClass, Buckets>>
  addresses: Readonly<Record<LimitClass, Buckets>>
  unproven: Buckets
  inFlight: ReturnType<typeof createInFlight>
  /** What must be given back when a call ends. */
  held: WeakMap<CallRecord, (() => void)[]>
  /** Calls that have ended: one may end while its token is still being checked. */
  ended: WeakSet<CallRecord>
  limited: Counter<'class' | 'limit'>
}

export function createLimiter(deps: LimiterDeps): Limiter {
  const admission = createAdmission()
  const parts: Parts = {
    ...deps,
    admission,
    users: bucketsOf(deps.budgets, 'user'),
    machines: bucketsOf(deps.budgets, 'address'),
    addresses: bucketsOf(deps.budgets, 'address'),
    unproven: createBuckets({ perMinute: UNPROVEN_REPORTS }),
    inFlight: createInFlight(),
    held: new WeakMap(),
    ended: new WeakSet(),
    limited: new Counter({
      name: 'holdfast_grpc_limited_total',
      help: 'Calls refused by a limit.',
      labelNames: ['class', 'limit'],
      registers: [deps.registry],
    }),
  }
  deps.registry.registerMetric(
    new Gauge({
      name: 'holdfast_grpc_admission_limit',
      help: 'Unary calls that may be in progress before others are shed.',
      registers: [],
      collect() {
        this.set(admission.limit())
      },
    }),
  )
  return {
    isShed: (path) => {
      const limitClass = LIMIT_CLASS[path]
      const isShed = !isStream(limitClass) && admission.isFull(ESSENTIAL.has(limitClass))
      if (isShed) parts.limited.inc({ class: limitClass, limit: 'overload' })
      return isShed
    },
    interceptor: createInterceptor(parts),
    admitCaller: (record, principal) => admitCaller(parts, record, principal),
    admitShared: (record, principal) => admitShared(parts, record, principal),
    stop: watchEventLoop(admission.measure),
  }
}

/**
 * Only the shared window knows when it has room again: a bucket of the same size would be empty first, and send the
 * caller back in a moment, to be refused by the window then.
 */
const factorOf = (each: LimitClass): number => (SHARED_CLASSES.has(each) ? SHARED_BUCKET_FACTOR : 1)

const bucketsOf = (budgets: Budgets, kind: 'user' | 'address'): Readonly<Record<LimitClass, Buckets>> => {
  const create = (each: LimitClass): Buckets => createBuckets({ perMinute: budgets[each][kind] * factorOf(each) })
  return Object.fromEntries(LIMIT_CLASSES.map((each) => [each, create(each)])) as Record<LimitClass, Buckets>
}

const classOf = (record: CallRecord): LimitClass => LIMIT_CLASS[record.path]
const isStream = (limitClass: LimitClass): boolean => limitClass === 'watch'

const createInterceptor =
  (parts: Parts): ServerInterceptor =>
  ({ requestStream, responseStream }, call) => {
    const isUnary = !requestStream && !responseStream
    let deadline = 0
    let late: (() => void) | undefined
    let record: CallRecord | undefined
    let timer: NodeJS.Timeout | undefined
    let place: ReturnType<typeof takePlace> | undefined
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            record = recordOf(metadata)
            const known = record
            try {
              place = takePlace(parts, record)
              admitUnknown(parts, record)
            } catch (error) {
              return call.sendStatus(statusOf(error, record))
            }
            // The library counts only from a deadline that the caller set, and the handler only from the message.
            deadline = deadlineOf(record, Number(call.getDeadline()), isStream(classOf(record)))
            late = (): void => {
              place?.leave()
              call.sendStatus(statusOf(deadlineExceeded(), known))
            }
            const waitMs = isUnary ? Math.min(deadline - Date.now(), REQUEST_DEADLINE_MS) : deadline - Date.now()
            timer = setTimeout(late, Math.max(0, waitMs))
            pass(metadata)
          },
          onReceiveHalfClose: (pass) => {
            place?.requestIsComplete()
            if (isUnary && late !== undefined && deadline - Date.now() > REQUEST_DEADLINE_MS) {
              clearTimeout(timer)
              timer = setTimeout(late, deadline - Date.now())
            }
            pass()
          },
          // Called at the end of every call, whichever way it ended.
          onCancel: () => {
            clearTimeout(timer)
            late = undefined
            place?.leave()
            if (record !== undefined) release(parts, record)
          },
        }),
      // What is answered is no work any more, even if its client does not read the answer.
      sendMessage: (message, pass) => {
        place?.leave()
        pass(message)
      },
      sendStatus: (status, pass) => {
        place?.leave()
        pass(status)
      },
    })
  }

function hold({ held, ended }: Parts, record: CallRecord, giveBack: () => void): void {
  if (ended.has(record)) return giveBack()
  const list = held.get(record)
  if (list === undefined) held.set(record, [giveBack])
  else list.push(giveBack)
}

function release({ held, ended }: Parts, record: CallRecord): void {
  ended.add(record)
  for (const giveBack of held.get(record) ?? []) giveBack()
  held.delete(record)
}

export const overloaded = (): DomainError =>
  new DomainError('OVERLOADED', 'The server has too much work; try again.', {
    retryAfterMs: OVERLOAD_RETRY_MS + Math.random() * OVERLOAD_SPREAD_MS,
    quota: [{ subject: 'server', description: 'calls in progress' }],
  })

/**
 * Counts a unary call as in progress, but not for as long as it waits for its request: a caller that opens calls and
 * sends nothing would take the places of all others until its deadlines. Throws OVERLOADED.
 */
function takePlace(parts: Parts, record: CallRecord) {
  const { admission, limited } = parts
  const limitClass = classOf(record)
  if (isStream(limitClass)) return undefined
  if (!admission.enter(ESSENTIAL.has(limitClass))) {
    limited.inc({ class: limitClass, limit: 'overload' })
    throw overloaded()
  }
  let isCounted = true
  let isOver = false
  const pause = (): void => {
    clearTimeout(timer)
    if (isCounted) admission.leave()
    isCounted = false
  }
  const timer = setTimeout(() => {
    pause()
    // All callers of an address share its places: they are not kept for one that only waits.
    if (findPermission(record.path) === 'anonymous') release(parts, record)
  }, REQUEST_WITHIN_MS)
  const requestIsComplete = (): void => {
    clearTimeout(timer)
    // It may be complete only after the call has ended.
    if (isCounted || isOver) return
    admission.rejoin()
    isCounted = true
  }
  const leave = (): void => {
    isOver = true
    pause()
  }
  return { requestIsComplete, leave }
}

/** Before anything is known of the caller but its address. Throws RATE_LIMITED, TOO_MANY_CALLS. */
function admitUnknown(parts: Parts, record: CallRecord): void {
  const limitClass = classOf(record)
  if (isShared(parts, record)) return
  const address = addressKeyOf(record.peer)
  // A report's budget depends on its source, which is not known yet: until then, and without one, it has this.
  const [buckets, limit] =
    limitClass === 'report'
      ? [parts.unproven, UNPROVEN_REPORTS]
      : [parts.addresses[limitClass], parts.budgets[limitClass].address]
  const waitMs = buckets.take(address)
  if (waitMs > 0) throw rateLimited(parts, limitClass, 'address', limit, waitMs)
  // Its address is all that is known of its caller.
  if (findPermission(record.path) === 'anonymous') enterInFlight(parts, record, ['address', address])
}

const isShared = ({ isShared: isProxy = () => false }: Parts, { peer }: CallRecord): boolean => isProxy(peer)

function admitCaller(parts: Parts, record: CallRecord, principal: Principal): void {
  const limitClass = classOf(record)
  const user = subjectOf(principal)
  const budget = parts.budgets[limitClass]
  // A machine stands for many people.
  const isMachine = principal.userId === undefined
  if (limitClass === 'report') parts.unproven.giveBack(addressKeyOf(record.peer))
  else {
    const waitMs = (isMachine ? parts.machines : parts.users)[limitClass].take(user)
    if (waitMs > 0) throw rateLimited(parts, limitClass, 'user', isMachine ? budget.address : budget.user, waitMs)
  }
  enterInFlight(parts, record, ['user', user], isMachine ? atOnceOfMachine(budget) : budget.atOnce)
}

/** As many times a person's as its budget is wider. */
const atOnceOfMachine = ({ user, address, atOnce }: Budget): number => atOnce * Math.max(1, Math.floor(address / user))

/** Throws TOO_MANY_CALLS, TOO_MANY_STREAMS. */
function enterInFlight(
  parts: Parts,
  record: CallRecord,
  [subject, name]: readonly ['user' | 'address', string],
  max: number = parts.budgets[classOf(record)].atOnce,
): void {
  const limitClass = classOf(record)
  const key = `${limitClass}|${name}`
  if (!parts.inFlight.enter(key, max)) {
    parts.limited.inc({ class: limitClass, limit: 'in_flight' })
    const what = isStream(limitClass) ? 'streams' : 'calls'
    throw new DomainError(isStream(limitClass) ? 'TOO_MANY_STREAMS' : 'TOO_MANY_CALLS', `Too many ${what} at once.`, {
      metadata: { limit: String(max) },
      quota: [{ subject, description: `${max} ${what} at once` }],
      retryAfterMs: isStream(limitClass) ? STREAM_RETRY_MS : TURN_RETRY_MS,
    })
  }
  hold(parts, record, () => parts.inFlight.leave(key))
}

async function admitShared(parts: Parts, record: CallRecord, principal: Principal): Promise<void> {
  const limitClass = classOf(record)
  if (!SHARED_CLASSES.has(limitClass)) return
  // A source with a budget of its own has it at every address, and does not use up what others have there.
  const own = limitClass === 'report' ? parts.reportBudgetOf?.(principal.subject) : undefined
  const budget = parts.budgets[limitClass]
  const user = own ?? budget.user
  const address = isShared(parts, record) && limitClass !== 'report' ? MAX_BUDGET : (own ?? budget.address)
  const place = own === undefined ? parts.peerHashOf(addressKeyOf(record.peer)) : `own|${subjectOf(principal)}`
  const refusal = await parts.takeQuota({
    user: { key: `${limitClass}|user|${subjectOf(principal)}`, limit: user },
    address: { key: `${limitClass}|address|${place}`, limit: address },
  })
  if (refusal === undefined) return
  const limit = refusal.subject === 'user' ? user : address
  throw rateLimited(parts, limitClass, refusal.subject, limit, refusal.waitMs, 'shared_')
}

/** The kind of a principal keeps a person apart from a machine of that name. */
const subjectOf = ({ userId, subject }: Principal): string =>
  userId === undefined ? `machine:${subject}` : `user:${userId}`

function rateLimited(
  { limited }: Parts,
  limitClass: LimitClass,
  subject: 'user' | 'address',
  limit: number,
  waitMs: number,
  shared = '',
): DomainError {
  limited.inc({ class: limitClass, limit: `${shared}${subject}` })
  return new DomainError('RATE_LIMITED', 'Too many calls of this kind; try again later.', {
    metadata: { class: limitClass },
    quota: [{ subject, description: `${limit} calls in ${WINDOW_MS / MS_PER_S} s` }],
    // Never before there is room, and not all of those that were refused together at once.
    retryAfterMs: waitMs + Math.random() * Math.max(RATE_SPREAD_MS, waitMs * RATE_SPREAD),
  })
}
