// holdfast refund ...: lists, requests, approves and rejects refunds, and gives the address of one.

import { InvalidArgumentError, Option, type Command } from 'commander'
import { FEE_BEARERS, RATE_BASES, REFUND_STATUSES, type FeeBearer, type RefundStatus } from '../../domain/refund.ts'
import { feeBearer, rateBasis, refundStatus, type RequestRefundRequest } from '../../grpc/client.ts'
import { UsageError } from './exit.ts'
import { countArgument, keyOption, MAX_PAGE, parsePositive, parseUuid } from './option.ts'
import { formatFields, formatTable, print } from './print.ts'
import { callerOptions, withSession, type Shell } from './session.ts'
import { refundView } from './view.ts'

export function addRefundCommands(program: Command, shell: Shell): void {
  const refund = program.command('refund').description('show and decide on money that goes back to customers')
  addList(refund, shell)
  addRequest(refund, shell)
  addDecisions(refund, shell)
  addAddress(refund, shell)
}

const orderArgument = ['<order>', 'order id', parseUuid] as const
const refundArgument = ['<refund>', 'refund id, as `refund list` shows it', parseUuid] as const

function addList(refund: Command, shell: Shell): void {
  type Options = { order?: string; status?: RefundStatus; limit: number; cursor: string }
  const list = refund
    .command('list')
    .description(
      'list the refunds of an order, newest first, or of all orders, oldest first; `payment show` has whole addresses (role admin)',
    )
    .option('--order <order>', 'only the refunds of this order', parseUuid)
    .addOption(
      new Option('--status <status>', 'of all orders, only those in this status')
        .choices(REFUND_STATUSES)
        .conflicts('order'),
    )
    .option('--limit <n>', 'page size', countArgument(1, MAX_PAGE), 20)
    .option('--cursor <cursor>', 'continue after an earlier page', '')
  callerOptions(list, 'admin').action(async (options: Options, command: Command) =>
    withSession(shell, command, async ({ client, admin, output }) => {
      const { order, status, limit, cursor } = options
      const { refunds, nextCursor } =
        order === undefined
          ? await admin().refund.listRefundQueue({
              ...{ limit, cursor },
              ...(status !== undefined && { status: refundStatus.codeOf(status) }),
            })
          : { ...(await client().refund.listRefunds({ orderId: order })), nextCursor: '' }
      const views = refunds.map(refundView)
      print(output, { refunds: views, nextCursor }, () =>
        [formatTable(views), ...(nextCursor === '' ? [] : [`more: --cursor ${nextCursor}`])].join('\n'),
      )
    }),
  )
}

type RequestOptions = {
  all?: true
  units?: string
  fiat?: string
  rate?: string
  feeBearer?: FeeBearer
  reason: string
  key: string
}

function addRequest(refund: Command, shell: Shell): void {
  const request = refund
    .command('request')
    .description('ask for a refund of a paid order; two other people approve it')
    .argument(...orderArgument)
    .option('--all', 'all that is left')
    .option('--units <n>', 'base units of the coin')
    .option('--fiat <amount>', "an amount in the order's currency")
    .option('--rate <rate>', '`order`, `today`, or a price of one coin: the rate of --fiat (default: `order`)')
    .addOption(new Option('--fee-bearer <who>', "who bears the network's fee").choices(FEE_BEARERS))
    .requiredOption('--reason <text>', 'why; stored with the refund')
    .addOption(keyOption())
  callerOptions(request, 'admin').action(async (orderId: string, options: RequestOptions, command: Command) =>
    withSession(shell, command, async ({ admin, output }) => {
      const answer = await admin().refund.requestRefund({
        ...{ idempotencyKey: options.key, orderId, reason: options.reason, amount: amountOf(options) },
        ...(options.feeBearer !== undefined && { feeBearer: feeBearer.codeOf(options.feeBearer) }),
      })
      show(output, { ...decisionView(answer), units: answer.units })
    }),
  )
}

function amountOf({ all, units, fiat, rate }: RequestOptions): NonNullable<RequestRefundRequest['amount']> {
  if ([all, units, fiat].filter((one) => one !== undefined).length !== 1)
    throw new UsageError('give one of --all, --units and --fiat')
  if (rate !== undefined && fiat === undefined) throw new UsageError('--rate is the rate of --fiat: give --fiat')
  if (all === true) return { $case: 'everything', value: true }
  if (units !== undefined) return { $case: 'units', value: units }
  const basis =
    rate === undefined ? 'order' : (RATE_BASES.find((word) => word === rate && word !== 'stated') ?? 'stated')
  return {
    $case: 'fiat',
    value: { amount: fiat ?? '', basis: rateBasis.codeOf(basis), rate: basis === 'stated' ? rate : undefined },
  }
}

function addDecisions(refund: Command, shell: Shell): void {
  const approve = refund
    .command('approve')
    .description('approve a refund as it is in this version; needs a second factor')
    .argument(...orderArgument)
    .argument(...refundArgument)
    .argument('<version>', 'version that you have seen', parsePositive)
    .addOption(keyOption())
  callerOptions(approve, 'admin').action(
    async (orderId: string, refundId: string, version: bigint, { key }: { key: string }, command: Command) =>
      withSession(shell, command, async ({ admin, output }) => {
        const answer = await admin().refund.approveRefund({ idempotencyKey: key, orderId, refundId, version })
        show(output, { ...decisionView(answer), approvals: answer.approvals })
      }),
  )

  const reject = refund
    .command('reject')
    .description('reject a refund that is not being paid; what is still owed is opened again')
    .argument(...orderArgument)
    .argument(...refundArgument)
    .requiredOption('--reason <text>', "why; stored in the order's history")
    .addOption(keyOption())
  callerOptions(reject, 'admin').action(
    async (orderId: string, refundId: string, { key, reason }: { key: string; reason: string }, command: Command) =>
      withSession(shell, command, async ({ admin, output }) => {
        show(
          output,
          decisionView(await admin().refund.rejectRefund({ idempotencyKey: key, orderId, refundId, reason })),
        )
      }),
  )
}

function addAddress(refund: Command, shell: Shell): void {
  const address = refund
    .command('address')
    .description("give the address of an own order's refund, then confirm it by --confirm; needs a second factor")
    .argument(...orderArgument)
    .argument(...refundArgument)
    .argument('<address>', 'where the money goes, with its checksum', parseDestinationArgument)
    .option('--confirm', 'confirm the address that was given before')
    .addOption(keyOption())
  type Options = { confirm?: true; key: string }
  callerOptions(address, 'customer').action(
    async (orderId: string, refundId: string, to: string, { confirm, key }: Options, command: Command) =>
      withSession(shell, command, async ({ client, output }) => {
        const request = { idempotencyKey: key, orderId, refundId, address: to, confirm: confirm === true }
        const answer = await client().refund.setRefundAddress(request)
        show(output, { ...decisionView(answer), destination: answer.destination })
      }),
  )
}

function parseDestinationArgument(text: string): string {
  if (/^[!-~]{1,128}$/.test(text)) return text
  throw new InvalidArgumentError('Not an address.')
}

const decisionView = ({ refundId, status, version }: { refundId: string; status: number; version: bigint }) => ({
  refundId,
  status: refundStatus.wordOf(status) ?? 'unknown',
  version: Number(version),
})

function show(output: Parameters<typeof print>[0], view: Record<string, string | number>): void {
  print(output, view, () => formatFields(view))
}
