// holdfast payment ...: lists the transfers of all orders, and shows everything about the money of one.

import { InvalidArgumentError, Option, type Command } from 'commander'
import {
  ASSETS,
  PAYMENT_FLAGS,
  PAYMENT_STATES,
  TRANSFER_STATES,
  type Asset,
  type PaymentFlag,
  type PaymentState,
  type TransferState,
} from '../../domain/payment.ts'
import { paymentFlag, paymentState, transferState, type PaymentFilter } from '../../grpc/client.ts'
import { countArgument, MAX_PAGE, parseUuid } from './option.ts'
import { dossierView, transferView, type DossierOutput } from './payment_view.ts'
import { formatCoins, formatFields, formatTable, print } from './print.ts'
import { callerOptions, withSession, type Shell } from './session.ts'

export function addPaymentCommands(program: Command, shell: Shell): void {
  const payment = program.command('payment').description('show the money of orders, and why an order is where it is')
  addList(payment, shell)
  addShow(payment, shell)
}

type ListOptions = {
  order?: string
  address?: string
  tx?: string
  state?: TransferState
  paymentState?: PaymentState
  flag?: PaymentFlag[]
  asset?: Asset
  from?: Date
  before?: Date
  oldestFirst?: true
  limit: number
  cursor: string
}

function addList(payment: Command, shell: Shell): void {
  const list = payment
    .command('list')
    .description(
      'list transfers to orders, the newest first; a page may have fewer than it could (roles admin, auditor)',
    )
    .option('--order <order>', 'of this order', parseUuid)
    .option('--address <address>', 'to this address')
    .option('--tx <transaction>', 'by this transaction')
    .addOption(new Option('--state <state>', 'transfers in this state').choices(TRANSFER_STATES))
    .addOption(new Option('--payment-state <state>', 'of orders in this state').choices(PAYMENT_STATES))
    .addOption(new Option('--flag <flags...>', 'of orders that have all of these').choices(PAYMENT_FLAGS))
    .addOption(new Option('--asset <asset>', 'in this coin').choices(ASSETS))
    .option('--from <time>', 'first seen at this time or later, such as 2026-05-01 or 2026-05-01T12:00Z', parseTime)
    .option('--before <time>', 'first seen before this time', parseTime)
    .option('--oldest-first', 'begin with the oldest')
    .option('--limit <n>', 'page size', countArgument(1, MAX_PAGE), 20)
    .option('--cursor <cursor>', 'continue after an earlier page', '')
  callerOptions(list, 'admin').action(async (options: ListOptions, command: Command) =>
    withSession(shell, command, async ({ admin, output }) => {
      const { limit, cursor, oldestFirst = false } = options
      const request = { filter: filterOf(options), oldestFirst, limit, cursor }
      const { transfers, nextCursor } = await admin().payment.listPayments(request)
      const views = transfers.map(transferView)
      print(output, { transfers: views, nextCursor }, () =>
        [formatTable(views), ...(nextCursor === '' ? [] : [`more: --cursor ${nextCursor}`])].join('\n'),
      )
    }),
  )
}

const filterOf = (options: ListOptions): PaymentFilter => ({
  orderId: options.order,
  address: options.address,
  txId: options.tx,
  state: options.state === undefined ? 0 : transferState.codeOf(options.state),
  paymentState: options.paymentState === undefined ? 0 : paymentState.codeOf(options.paymentState),
  flags: (options.flag ?? []).map(paymentFlag.codeOf),
  asset: options.asset,
  firstSeenFrom: options.from,
  firstSeenBefore: options.before,
})

function addShow(payment: Command, shell: Shell): void {
  const show = payment
    .command('show')
    .description('show everything about the money of an order (roles admin, auditor)')
    .argument('<order>', 'order id', parseUuid)
    .option('--destinations', 'show whole addresses of refunds; the history of the order then says so (role admin)')
  callerOptions(show, 'admin').action(
    async (orderId: string, { destinations }: { destinations?: true }, command: Command) =>
      withSession(shell, command, async ({ admin, output }) => {
        const includeDestinations = destinations === true
        const view = dossierView(await admin().payment.getPaymentDossier({ orderId, includeDestinations }))
        print(output, view, () => textOf(view))
      }),
  )
}

/** The explanation first: often nothing else is needed. */
function textOf(view: DossierOutput): string {
  const { quote, money, transfers, reports, refunds } = view
  const coins = (units: string): string => formatCoins(quote?.asset ?? '', units)
  const facts = {
    status: view.order?.status ?? null,
    payment: view.order?.paymentState ?? null,
    flags: view.flags.join(' ') || null,
    customer: view.userId,
    address: quote?.address ?? null,
    due: coins(quote?.units ?? ''),
    final: coins(money?.final ?? ''),
    seen: coins(money?.seen ?? ''),
    'late, final': coins(money?.lateFinal ?? ''),
    'late, seen': coins(money?.lateSeen ?? ''),
    owed: coins(money?.owed ?? ''),
    rate: `${quote?.rate ?? ''}, total ${quote?.total ?? ''}`,
    ends: quote?.endsAt ?? null,
  }
  const refundRows = refunds.map(({ approvedBy, payouts, ...refund }) => ({
    ...refund,
    approvedBy: approvedBy.map(({ approver }) => approver).join(' '),
    payout: payouts[0] === undefined ? null : `${payouts[0].status} ${payouts[0].txIds[0] ?? ''}`.trim(),
  }))
  const tables: readonly [string, string][] = [
    [`transfers: ${transfers.length} of ${view.transferCount}`, formatTable(transfers)],
    [`reports: ${reports.length} of ${view.reportCount}`, formatTable(reports)],
    [`refunds: ${refunds.length} of ${view.refundCount}`, formatTable(refundRows)],
    ['ledger', formatTable(view.ledger)],
  ]
  return [view.explanation, formatFields(facts), ...tables.map(([title, table]) => `${title}\n${table}`)].join('\n\n')
}

/** A day is one of UTC. */
function parseTime(text: string): Date {
  const time = new Date(/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?Z)?$/.test(text) ? text : Number.NaN)
  if (!Number.isNaN(time.getTime())) return time
  throw new InvalidArgumentError('Not a time in UTC, such as 2026-05-01 or 2026-05-01T12:00Z.')
}
