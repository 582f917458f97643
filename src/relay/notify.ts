// The notification relay: delivers status changes at least once, in order per order and channel. Each channel has a
// lane: its own loop and a bound on concurrent deliveries. A slow delivery occupies one slot of its lane until its time
// limit and delays no other order. Reads notification rows only, never orders.

import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import {
  claimNotifications,
  deferNotifications,
  enableChannels,
  markNotificationsDelivered,
  type Deferral,
  type NotificationRow,
} from '../db/notification.ts'
import type { Database } from '../db/connection/pool.ts'
import { messageIdOf, type ChannelName, type StatusChange } from '../domain/notification.ts'
import { backOffMs, type BackOff } from '../repeat.ts'
import type { Logger } from '../telemetry.ts'
import { startLoop, type Relay, type RelayMetrics } from './loop.ts'

export type Channel = {
  name: ChannelName
  /** Concurrent deliveries. Each begins when its row is claimed and must end within the lease of 15 s. */
  width: number
  /** Resolves when the receiver has it. Operators see the error it rejects with: no secret may be in it. */
  deliver: (id: string, change: StatusChange) => Promise<void>
}

/** How often a message is tried, and the back-off between tries. */
export type RetryPolicy = BackOff & { maxAttempts: number }

/** With full jitter about ten hours on average: a receiver may be away for a night before an operator is needed. */
const RETRY: RetryPolicy = { maxAttempts: 30, fromMs: 1_000, toMs: 3_600_000 }
const MAX_REASON_CHARACTERS = 150
/** Notifications are not urgent, and a claim for many rows costs what a claim for one does. */
const IDLE_MS = 250
/** How long a lane waits for half of its slots: a claim for one row costs what a claim for many does. */
const ROOM_WITHIN_MS = 50

export type NotifierDeps = {
  database: Database
  holder: string
  logger: Logger
  metrics: RelayMetrics
  /** By default the structured log alone. */
  channels?: readonly Channel[]
  retry?: RetryPolicy
}

/** Starts one loop per channel. The worker that started last decides which channels get new rows. */
export function startNotifier({ retry = RETRY, ...deps }: NotifierDeps): Relay {
  const channels = deps.channels ?? [createLogChannel(deps.logger)]
  const names = channels.map(({ name }) => name)
  let isAnnounced = false
  const announce = async (): Promise<void> => {
    if (!isAnnounced) await enableChannels(deps.database, names)
    isAnnounced = true
  }
  const relays = channels.map((channel) => {
    const lane = openLane({ ...deps, retry }, channel)
    const loop = startLoop({
      name: relayOf(channel),
      logger: deps.logger,
      metrics: deps.metrics,
      idleMs: () => IDLE_MS,
      turn: async () => {
        await announce()
        const room = await lane.makeRoom()
        const rows = room === 0 ? [] : await claimNotifications(deps.database, deps.holder, room, channel.name)
        lane.begin(rows)
        return { claimed: rows.length, limit: room }
      },
    })
    return { stop: () => loop.stop().then(lane.drain) }
  })
  return { stop: async () => void (await Promise.all(relays.map((relay) => relay.stop()))) }
}

const relayOf = ({ name }: Channel): string => `notify_${name}`

type LaneDeps = Required<Omit<NotifierDeps, 'channels'>>
type Outcome = { notificationId: bigint; deferral: Deferral | undefined }

/** Concurrent deliveries of one channel. Outcomes that arrive while others are being stored are stored as one batch. */
function openLane(deps: LaneDeps, channel: Channel) {
  const outcomes: Outcome[] = []
  let underWay = 0
  let noting: Promise<void> | undefined
  let failure: Error | undefined
  let change = Promise.withResolvers<void>()

  async function noteOutcomes(): Promise<void> {
    while (outcomes.length > 0) {
      await nextTurn()
      const taken = outcomes.splice(0)
      try {
        await settle(deps, channel, taken)
      } catch (error) {
        // Their leases expire, and they are delivered again.
        failure = error as Error
      }
      underWay -= taken.length
      change.resolve()
      change = Promise.withResolvers()
    }
    noting = undefined
  }

  async function pass(row: NotificationRow): Promise<void> {
    outcomes.push(await deliver(deps, channel, row))
    noting ??= noteOutcomes()
  }

  return {
    /** Waits briefly for half of the slots. @returns the free slots @throws why outcomes could not be stored */
    makeRoom: async (): Promise<number> => {
      const until = performance.now() + ROOM_WITHIN_MS
      for (let ms = ROOM_WITHIN_MS; underWay > channel.width / 2 && ms > 0; ms = until - performance.now())
        await Promise.race([change.promise, delay(ms)])
      const error = failure
      failure = undefined
      if (error !== undefined) throw error
      return channel.width - underWay
    },
    begin: (rows: readonly NotificationRow[]): void => {
      underWay += rows.length
      for (const row of rows) void pass(row)
    },
    /** Resolves when all deliveries have ended, each within its time limit. */
    drain: async (): Promise<void> => {
      while (underWay > 0) await change.promise
    },
  }
}

async function deliver(
  { logger, retry }: LaneDeps,
  channel: Channel,
  { notificationId, attempts, ...change }: NotificationRow,
): Promise<Outcome> {
  try {
    await channel.deliver(messageIdOf(change, channel.name), change)
    return { notificationId, deferral: undefined }
  } catch (error) {
    const isDead = attempts >= retry.maxAttempts
    const reason = reasonOf(error)
    logger[isDead ? 'error' : 'warn'](
      {
        relay: relayOf(channel),
        orderId: change.orderId,
        orderVersion: String(change.version),
        attempts,
        reason,
        isDead,
      },
      'notification not delivered',
    )
    const deferral = {
      notificationId,
      delayMs: Math.random() * backOffMs(attempts, retry),
      deadReason: isDead ? `${reason} (${attempts} tries)` : null,
    }
    return { notificationId, deferral }
  }
}

async function settle(
  { database, holder, metrics }: LaneDeps,
  channel: Channel,
  outcomes: readonly Outcome[],
): Promise<void> {
  const relay = relayOf(channel)
  const delivered = outcomes.filter(({ deferral }) => deferral === undefined).map((one) => one.notificationId)
  const deferred = outcomes.flatMap(({ deferral }) => deferral ?? [])
  if (delivered.length > 0) await markNotificationsDelivered(database, holder, delivered)
  if (deferred.length > 0) await deferNotifications(database, holder, deferred)
  metrics.passed.inc({ relay }, delivered.length)
  metrics.failed.inc({ relay }, deferred.length)
}

/** An AggregateError of several addresses has a code and no message. */
function reasonOf(error: unknown): string {
  const { message = '', code = '' } = error as { message?: string; code?: string }
  return (message || code || 'failed').slice(0, MAX_REASON_CHARACTERS)
}

const LOG_WIDTH = 256

/** The process's log, one line per change. */
export const createLogChannel = (logger: Logger): Channel => ({
  name: 'log',
  width: LOG_WIDTH,
  deliver: async (messageId, { orderId, version, status, paymentState, cancelReason, changedAt }) =>
    logger.info(
      {
        event: 'order_status',
        messageId,
        orderId,
        orderVersion: String(version),
        status,
        paymentState,
        cancelReason,
        changedAt,
      },
      'order status changed',
    ),
})
