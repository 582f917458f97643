// Tells the world about status changes: at least once, in order per order and channel, each channel on a loop of its
// own. A sink that is down delays its own rows and nothing else, and orders least of all: they are not asked.

import {
  claimNotifications,
  deferNotifications,
  enableChannels,
  notificationsDelivered,
  type Deferral,
  type NotificationRow,
} from '../db/notification.ts'
import type { Database } from '../db/pool.ts'
import { messageIdOf, type ChannelName, type StatusChange } from '../domain/notification.ts'
import type { Logger } from '../telemetry.ts'
import { startLoop, type Relay, type RelayMetrics } from './loop.ts'

export type Channel = {
  name: ChannelName
  /** Rows a turn takes and delivers at once; together they must end within the lease of 15 s. */
  width: number
  /** Resolves when the receiver has it. What it rejects with is shown to operators: no secret may be in it. */
  deliver: (id: string, change: StatusChange) => Promise<void>
}

/** How often a message is tried and how the waits grow. */
export type RetryPolicy = { maxAttempts: number; fromMs: number; toMs: number }

/** With full jitter about ten hours on average: a receiver may be away for a night before a person is asked. */
const RETRY: RetryPolicy = { maxAttempts: 30, fromMs: 1_000, toMs: 3_600_000 }
const MAX_REASON_CHARACTERS = 150
/** No order waits for news of it: a claim for many costs what a claim for one does. */
const IDLE_MS = 250

export type NotifierDeps = {
  database: Database
  holder: string
  logger: Logger
  metrics: RelayMetrics
  /** The structured log, where none are given. */
  channels?: readonly Channel[]
  retry?: RetryPolicy
}

/** One loop per channel. Channels that are not among these get no new rows, whichever worker started last. */
export function startNotifier({ retry = RETRY, ...deps }: NotifierDeps): Relay {
  const channels = deps.channels ?? [createLogChannel(deps.logger)]
  const names = channels.map(({ name }) => name)
  let isAnnounced = false
  const announce = async (): Promise<void> => {
    if (!isAnnounced) await enableChannels(deps.database, names)
    isAnnounced = true
  }
  const relays = channels.map((channel) =>
    startLoop({
      name: `notify_${channel.name}`,
      logger: deps.logger,
      metrics: deps.metrics,
      idleMs: () => IDLE_MS,
      turn: async () => {
        await announce()
        const rows = await claimNotifications(deps.database, deps.holder, channel.width, channel.name)
        await pass({ ...deps, retry }, channel, rows)
        return { claimed: rows.length, limit: channel.width }
      },
    }),
  )
  return { stop: async () => void (await Promise.all(relays.map((relay) => relay.stop()))) }
}

async function pass(
  { database, holder, logger, metrics, retry }: Required<Omit<NotifierDeps, 'channels'>>,
  channel: Channel,
  rows: readonly NotificationRow[],
): Promise<void> {
  const relay = `notify_${channel.name}`
  const delivered: bigint[] = []
  const deferred: Deferral[] = []
  const deliver = async ({ notificationId, attempts, ...change }: NotificationRow): Promise<void> => {
    try {
      await channel.deliver(messageIdOf(change, channel.name), change)
      delivered.push(notificationId)
    } catch (error) {
      const isDead = attempts >= retry.maxAttempts
      const reason = reasonOf(error)
      deferred.push({
        notificationId,
        delayMs: Math.random() * Math.min(retry.toMs, retry.fromMs * 2 ** Math.min(attempts, 30)),
        deadReason: isDead ? `${reason} (${attempts} tries)` : null,
      })
      logger[isDead ? 'error' : 'warn'](
        { relay, orderId: change.orderId, orderVersion: String(change.version), attempts, reason, isDead },
        'notification not delivered',
      )
    }
  }
  await Promise.all(rows.map(deliver))
  if (delivered.length > 0) await notificationsDelivered(database, holder, delivered)
  if (deferred.length > 0) await deferNotifications(database, holder, deferred)
  metrics.passed.inc({ relay }, delivered.length)
  metrics.failed.inc({ relay }, deferred.length)
}

/** An error of several addresses has no message of its own. */
function reasonOf(error: unknown): string {
  const { message = '', code = '' } = error as { message?: string; code?: string }
  return (message || code || 'failed').slice(0, MAX_REASON_CHARACTERS)
}

const LOG_WIDTH = 256

/** The process's own log, one line per change. */
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
