// holdfast notification ...: lists and replays dead-letter notifications.

import type { Command } from 'commander'
import { UsageError } from './exit.ts'
import { countArgument, keyOption, MAX_PAGE, parsePositive } from './option.ts'
import { formatTable, print } from './print.ts'
import { callerOptions, withSession, type Shell } from './session.ts'
import { deadNotificationView } from './view.ts'

type ReplayOptions = { all?: true; key: string }

export function addNotificationCommands(program: Command, shell: Shell): void {
  const notification = program
    .command('notification')
    .description('list and replay notifications that could not be delivered')

  const dead = notification
    .command('dead')
    .description('list dead notifications, oldest first')
    .option('--limit <n>', 'page size', countArgument(1, MAX_PAGE), 20)
    .option('--cursor <cursor>', 'continue after an earlier page', '')
  callerOptions(dead, 'admin').action(async (options: { limit: number; cursor: string }, command: Command) =>
    withSession(shell, command, async ({ admin, output }) => {
      const { notifications, nextCursor } = await admin().notification.listDeadNotifications(options)
      const views = notifications.map(deadNotificationView)
      print(output, { notifications: views, nextCursor }, () =>
        [formatTable(views), ...(nextCursor === '' ? [] : [`more: --cursor ${nextCursor}`])].join('\n'),
      )
    }),
  )

  const replay = notification
    .command('replay')
    .description('deliver dead notifications again; newer changes of their orders may already have been delivered')
    .argument('[id...]', 'ids, as `notification dead` shows them', collectIds)
    .option('--all', 'the oldest 1000 dead notifications')
    .addOption(keyOption())
  callerOptions(replay, 'admin').action(async (ids: bigint[] | [], options: ReplayOptions, command: Command) =>
    withSession(shell, command, async ({ admin, output }) => {
      if (ids.length > 0 === (options.all === true)) throw new UsageError('give either ids or --all')
      const answer = await admin().notification.replayNotifications({
        idempotencyKey: options.key,
        notificationIds: ids,
        all: options.all === true,
      })
      const replayed = answer.notificationIds.map(Number)
      print(output, { replayed }, () =>
        replayed.length === 0 ? 'none of them is dead' : `again: ${replayed.join(' ')}`,
      )
    }),
  )
}

const collectIds = (text: string, before: bigint[] | undefined): bigint[] => [...(before ?? []), parsePositive(text)]
