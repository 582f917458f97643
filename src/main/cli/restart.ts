// holdfast order restart, holdfast rehydrate: restart orders whose workflow was lost.

import { randomUUID } from 'node:crypto'
import type { Command } from 'commander'
import { keyOption, MAX_PAGE, parseUuid } from './option.ts'
import { formatFields, print } from './print.ts'
import { callerOptions, withSession, type Shell } from './session.ts'

export function addRestartCommand(order: Command, shell: Shell): void {
  const restart = order
    .command('restart')
    .description('start the workflow of an open order again; refused while a run is alive')
    .argument('<order>', 'order id', parseUuid)
    .requiredOption('--reason <text>', "why; stored in the order's history, so no personal data")
    .addOption(keyOption())
  callerOptions(restart, 'admin').action(
    async (orderId: string, options: { reason: string; key: string }, command: Command) =>
      withSession(shell, command, async ({ admin, output }) => {
        const { reason, key } = options
        const { generation } = await admin().order.restartOrder({ idempotencyKey: key, orderId, reason })
        print(output, { orderId, generation }, () => `${orderId} is restarted, as generation ${generation}`)
      }),
  )
}

export function addRehydrateCommand(program: Command, shell: Shell): void {
  const rehydrate = program
    .command('rehydrate')
    .description('start the workflows of all open orders that have no live run; safe to repeat')
    .requiredOption('--reason <text>', "why; stored in the orders' histories, so no personal data")
  callerOptions(rehydrate, 'admin').action(async ({ reason }: { reason: string }, command: Command) =>
    withSession(shell, command, async ({ admin, output }) => {
      const client = admin()
      const restarted: string[] = []
      let lookedAt = 0
      let cursor = ''
      do {
        const page = await client.order.rehydrateOrders({
          idempotencyKey: randomUUID(),
          reason,
          limit: MAX_PAGE,
          cursor,
        })
        restarted.push(...page.orderIds)
        lookedAt += page.lookedAt
        cursor = page.nextCursor
      } while (cursor !== '')
      print(output, { lookedAt, restarted }, () =>
        [formatFields({ 'open orders': lookedAt, restarted: restarted.length }), ...restarted].join('\n'),
      )
    }),
  )
}
