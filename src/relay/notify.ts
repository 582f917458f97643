// Tells the world about status changes, at least once, in order per order and channel. A sink that is down delays
// its own rows and nothing else.

import { claimNotifications, notificationsDelivered } from '../db/relay.ts'
import type { Database } from '../db/pool.ts'
import type { Logger } from '../telemetry.ts'
import { startLoop, type Relay, type RelayMetrics } from './loop.ts'

const BATCH = 256

export function startNotifier(deps: {
  database: Database
  holder: string
  logger: Logger
  metrics: RelayMetrics
}): Relay {
  return startLoop({
    name: 'notify',
    logger: deps.logger,
    metrics: deps.metrics,
    turn: async () => {
      const rows = await claimNotifications(deps.database, deps.holder, BATCH)
      for (const row of rows) {
        const { notificationId, orderId, orderVersion, status } = row
        deps.logger.info(
          {
            event: 'order_status',
            notificationId: String(notificationId),
            orderId,
            orderVersion: String(orderVersion),
            status,
          },
          'order status changed',
        )
      }
      if (rows.length > 0)
        await notificationsDelivered(
          deps.database,
          deps.holder,
          rows.map((row) => row.notificationId),
        )
      deps.metrics.passed.inc({ relay: 'notify' }, rows.length)
      return { claimed: rows.length, limit: BATCH }
    },
  })
}
