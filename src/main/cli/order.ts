// holdfast order ...

import { InvalidArgumentError, Option, type Command } from 'commander'
import { ORDER_STATUSES, type OrderStatus } from '../../domain/order.ts'
import { ASSETS } from '../../domain/payment.ts'
import { orderStatus, type HoldfastClient } from '../../grpc/client.ts'
import { followOrder } from './follow.ts'
import { countArgument, keyOption, MAX_PAGE, parsePositive, versionOption } from './option.ts'
import { formatCoins, formatFields, formatJson, formatTable, print } from './print.ts'
import { addRestartCommand } from './restart.ts'
import { callerOptions, withSession, type Session, type Shell } from './session.ts'
import { commandView, createdView, given, orderView, refundView, summaryView } from './view.ts'

const SAMPLE_ADDRESS = 'Sample Street 1\n12345 Sample Town'

type LineArgument = { productId: string; quantity: number; price: string | undefined }

/** `PRODUCT[:QUANTITY[:PRICE]]`, as a list over several arguments. */
export function parseLine(text: string, before: readonly LineArgument[] = []): LineArgument[] {
  const [productId = '', quantity = '1', price, ...rest] = text.split(':')
  if (productId === '' || rest.length > 0 || !/^[1-9][0-9]{0,3}$/.test(quantity))
    throw new InvalidArgumentError('Write PRODUCT, PRODUCT:QUANTITY or PRODUCT:QUANTITY:PRICE.')
  return [...before, { productId, quantity: Number(quantity), price }]
}

export function addOrderCommands(program: Command, shell: Shell): void {
  const order = program.command('order').description('create, show and change orders')
  addCreate(order, shell)
  addReads(order, shell)
  addMoves(order, shell)
  addRestartCommand(order, shell)
}

type CreateOptions = { asset: string; address: string; key: string }

function addCreate(order: Command, shell: Shell): void {
  const create = order
    .command('create')
    .description("order products; without a price, the catalogue's price is expected")
    .argument('<line...>', 'PRODUCT[:QUANTITY[:PRICE]]', parseLine)
    .addOption(new Option('--asset <asset>', 'coin to pay with').choices(ASSETS).default('ETH'))
    .option('--address <text>', 'delivery address', SAMPLE_ADDRESS)
    .addOption(keyOption())
  callerOptions(create, 'customer').action(async (lines: LineArgument[], options: CreateOptions, command: Command) =>
    withSession(shell, command, async (session) => {
      const client = session.client()
      const created = createdView(
        await client.order.createOrder({
          idempotencyKey: options.key,
          userId: session.userId(),
          lines: await Promise.all(lines.map((line) => priced(client, line))),
          asset: options.asset,
          shippingAddress: options.address,
        }),
      )
      print(session.output, created, () =>
        [
          formatFields({
            order: created.orderId,
            total: `${created.total} ${created.currency}`,
            pay: formatCoins(created.payment.asset, created.payment.units),
            'pay to': created.payment.address,
            'pay until': created.payment.expiresAt,
          }),
          '',
          formatTable(created.lines),
        ].join('\n'),
      )
    }),
  )
}

async function priced(client: HoldfastClient, { productId, quantity, price }: LineArgument) {
  const expectedUnitPrice = price ?? given((await client.catalog.getProduct({ productId })).product).unitPrice
  return { productId, quantity, expectedUnitPrice }
}

type ListOptions = { status?: OrderStatus; customer?: bigint; limit: number; cursor: string }

function addReads(order: Command, shell: Shell): void {
  const get = order
    .command('get')
    .description('show one order')
    .argument('<order>', 'order id')
    .option('--with-address', 'show the delivery address too; each access is logged')
  callerOptions(get, 'customer').action(async (orderId: string, options: { withAddress?: true }, command: Command) =>
    withSession(shell, command, async (session) => {
      const request = { orderId, includeShippingAddress: options.withAddress === true }
      const { order: client, refund } = session.client()
      const shown = orderView(given((await client.getOrder(request)).order))
      // Who sees the payment of an order sees its refunds.
      const { refunds } = shown.payment === null ? { refunds: [] } : await refund.listRefunds({ orderId })
      showOrder(session, { ...shown, refunds: refunds.map(refundView) })
    }),
  )

  const list = order
    .command('list')
    .description('list orders, newest first')
    .addOption(new Option('--status <status>', 'only orders in this status').choices(ORDER_STATUSES))
    .option('--customer <id>', "only this customer's orders; for roles that see all orders", parsePositive)
    .option('--limit <n>', 'page size', countArgument(1, MAX_PAGE), 20)
    .option('--cursor <cursor>', 'continue after an earlier page', '')
  callerOptions(list, 'customer').action(async (options: ListOptions, command: Command) =>
    withSession(shell, command, async (session) => {
      const { orders, nextCursor } = await session.client().order.listOrders({
        limit: options.limit,
        cursor: options.cursor,
        ...(options.status !== undefined && { status: orderStatus.codeOf(options.status) }),
        ...(options.customer !== undefined && { userId: options.customer }),
      })
      const views = orders.map(summaryView)
      print(session.output, { orders: views, nextCursor }, () =>
        [
          formatTable(
            views.map(({ orderId, status, paymentState, cancelReason, total, currency, createdAt }) => ({
              ...{ order: orderId, status, payment: paymentState, 'cancel reason': cancelReason },
              ...{ total: `${total} ${currency}`, created: createdAt },
            })),
          ),
          ...(nextCursor === '' ? [] : [`more: --cursor ${nextCursor}`]),
        ].join('\n'),
      )
    }),
  )

  const watch = order
    .command('watch')
    .description('show each change of an order until it is final (with --json: a document per line)')
    .argument('<order>', 'order id')
  callerOptions(watch, 'customer').action(async (orderId: string, _options: object, command: Command) =>
    withSession(shell, command, async ({ client, output, untilInterrupted }) => {
      for await (const state of followOrder(client(), orderId, untilInterrupted())) {
        const { status, paymentState, hold, cancelReason } = state
        const words = [status, `payment ${paymentState}`, ...(hold === 'none' ? [] : [`hold ${hold}`])]
        if (cancelReason !== null) words.push(`because ${cancelReason}`)
        output.write(`${output.json ? formatJson(state, 0) : `${new Date().toISOString()}  ${words.join(', ')}`}\n`)
      }
    }),
  )
}

type OrderWithRefunds = ReturnType<typeof orderView> & { refunds: ReturnType<typeof refundView>[] }

function showOrder(session: Session, order: OrderWithRefunds): void {
  const { payment } = order
  print(session.output, order, () =>
    [
      formatFields({
        order: order.orderId,
        customer: order.userId,
        status: order.status,
        payment: order.paymentState,
        hold: order.hold,
        'cancel reason': order.cancelReason,
        total: `${order.total} ${order.currency}`,
        ...(payment !== null && {
          pay: formatCoins(payment.asset, payment.units),
          'pay to': payment.address,
          'pay until': payment.expiresAt,
          received: formatCoins(payment.asset, order.receivedUnits ?? '0'),
          flags: order.paymentFlags.join(', ') || null,
        }),
        ...(order.shippingAddress !== null && { 'ship to': order.shippingAddress }),
        created: order.createdAt,
        updated: order.updatedAt,
        version: order.version,
      }),
      '',
      formatTable(order.lines),
      ...(order.refunds.length === 0 ? [] : ['', 'refunds:', formatTable(order.refunds)]),
    ].join('\n'),
  )
}

type MoveOptions = { key: string; expectedVersion?: bigint }
type Move = {
  name: string
  about: string
  role: 'customer' | 'fulfilment'
  call: (client: HoldfastClient, request: MoveRequest) => ReturnType<HoldfastClient['order']['cancelOrder']>
}
type MoveRequest = { idempotencyKey: string; orderId: string; expectedVersion?: bigint }

const MOVES: readonly Move[] = [
  {
    name: 'cancel',
    about: 'cancel an order that is not shipped yet',
    role: 'customer',
    call: (client, request) => client.order.cancelOrder(request),
  },
  {
    name: 'ship',
    about: 'mark a paid order as shipped',
    role: 'fulfilment',
    call: (client, request) => client.fulfilment.markShipped(request),
  },
  {
    name: 'deliver',
    about: 'mark a shipped order as delivered',
    role: 'fulfilment',
    call: (client, request) => client.fulfilment.markDelivered(request),
  },
]

function addMoves(order: Command, shell: Shell): void {
  for (const { name, about, role, call } of MOVES) {
    const move = order
      .command(name)
      .description(about)
      .argument('<order>', 'order id')
      .addOption(versionOption('order'))
      .addOption(keyOption())
    callerOptions(move, role).action(async (orderId: string, options: MoveOptions, command: Command) =>
      withSession(shell, command, async ({ client, output }) => {
        const { key, expectedVersion } = options
        const request = { idempotencyKey: key, orderId, ...(expectedVersion !== undefined && { expectedVersion }) }
        const moved = commandView(await call(client(), request))
        print(output, moved, () => `${moved.orderId} is ${moved.status} (version ${moved.version})`)
      }),
    )
  }
}
