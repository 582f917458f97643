// NotificationAdminService: lists and replays dead-letter notifications.

import { listDeadNotifications, replayNotifications, type DeadNotification } from '../db/notification.ts'
import type { Database } from '../db/connection/pool.ts'
import type { CursorSeal } from '../keyvault/cursor.ts'
import { attemptOf } from './command.ts'
import type {
  DeadNotification as DeadNotificationMessage,
  NotificationAdminServiceService,
} from './gen/holdfast/v1/notification_admin.ts'
import type { Handlers } from './handle.ts'
import { cutPage, NUMBER_PATTERN, pageOf } from './page.ts'
import { orderStatus } from './enum.ts'

export const createNotificationAdminHandlers = ({
  database,
  cursors,
}: {
  database: Database
  cursors: CursorSeal
}): Handlers<typeof NotificationAdminServiceService> => ({
  listDeadNotifications: async ({ limit, cursor }, call) => {
    const listing = { cursors, call, idPattern: NUMBER_PATTERN }
    const asked = pageOf(listing, { limit, cursor })
    const rows = await listDeadNotifications(database, { afterId: BigInt(asked.after ?? 0), limit: asked.limit })
    const { page, nextCursor } = cutPage(listing, rows, {
      limit,
      idOf: ({ notificationId }) => String(notificationId),
    })
    return { notifications: page.map(deadNotificationMessage), nextCursor }
  },

  replayNotifications: async ({ idempotencyKey, notificationIds, all }, call) => {
    const wanted = all ? undefined : notificationIds
    const attempt = attemptOf(idempotencyKey, call, 'admin')
    const { replayed, isReplay } = await replayNotifications(database, attempt, wanted, call.deadline)
    call.record.isReplay = isReplay
    return { notificationIds: replayed }
  },
})

const deadNotificationMessage = (row: DeadNotification): DeadNotificationMessage => ({
  ...row,
  status: orderStatus.codeOf(row.status),
})
