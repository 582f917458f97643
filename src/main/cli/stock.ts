// holdfast stock ..., holdfast product ...: stock and catalogue.

import type { Command } from 'commander'
import { UsageError } from './exit.ts'
import { countArgument, keyOption, MAX_PAGE, parseInt64, versionOption } from './option.ts'
import { formatFields, formatTable, print } from './print.ts'
import { callerOptions, withSession, type Session, type Shell } from './session.ts'
import { given, productView, stockView } from './view.ts'

type AdjustOptions = { delta?: bigint; onHand?: bigint; reason: string; expectedVersion?: bigint; key: string }

export function addStockCommands(program: Command, shell: Shell): void {
  const stock = program.command('stock').description('show and correct stock levels')

  const get = stock.command('get').description('show units on hand, reserved and available').argument('<product...>')
  callerOptions(get, 'customer').action(async (productIds: string[], _options: object, command: Command) =>
    withSession(shell, command, async ({ client, output }) => {
      const answer = await client().stock.getAvailability({ productIds })
      const rows = answer.stock.map(stockView)
      print(output, rows, () => formatTable(rows))
    }),
  )

  const adjust = stock
    .command('adjust')
    .description('add or remove units, or set the number counted')
    .argument('<product>', 'product id')
    .option('--delta <n>', 'units to add, or to remove where negative', parseInt64)
    .option('--on-hand <n>', 'units counted; needs --expected-version', parseInt64)
    .option('--reason <text>', 'a note for the stock ledger', 'holdfast stock adjust')
    .addOption(versionOption('stock'))
    .addOption(keyOption())
  callerOptions(adjust, 'admin').action(async (productId: string, options: AdjustOptions, command: Command) =>
    withSession(shell, command, async ({ admin, output }) => {
      const { expectedVersion } = options
      const answer = await admin().stock.adjustStock({
        idempotencyKey: options.key,
        productId,
        change: changeOf(options),
        reason: options.reason,
        ...(expectedVersion !== undefined && { expectedVersion }),
      })
      const view = stockView(given(answer.stock))
      print(output, view, () => formatTable([view]))
    }),
  )
}

function changeOf({ delta, onHand }: AdjustOptions) {
  if (delta !== undefined && onHand === undefined) return { $case: 'delta', value: delta } as const
  if (onHand !== undefined && delta === undefined) return { $case: 'onHand', value: onHand } as const
  throw new UsageError('give either --delta or --on-hand')
}

type PutOptions = { name: string; price: string; withdrawn?: true; expectedVersion?: bigint; key: string }

export function addProductCommands(program: Command, shell: Shell): void {
  const product = program.command('product').description('show and change the catalogue')

  const put = product
    .command('put')
    .description('create a product, or replace its catalogue entry')
    .argument('<product>', 'product id')
    .requiredOption('--name <text>', 'display name')
    .requiredOption('--price <decimal>', "unit price in the shop's currency, such as 12.50")
    .option('--withdrawn', 'no longer on sale')
    .addOption(versionOption('product'))
    .addOption(keyOption())
  callerOptions(put, 'admin').action(async (productId: string, options: PutOptions, command: Command) =>
    withSession(shell, command, async (session) => {
      const { name, price, expectedVersion } = options
      const answer = await session.admin().catalog.putProduct({
        idempotencyKey: options.key,
        productId,
        name,
        unitPrice: price,
        isActive: options.withdrawn !== true,
        ...(expectedVersion !== undefined && { expectedVersion }),
      })
      showProduct(session, productView(given(answer.product)))
    }),
  )

  const get = product.command('get').description('show one product').argument('<product>', 'product id')
  callerOptions(get, 'customer').action(async (productId: string, _options: object, command: Command) =>
    withSession(shell, command, async (session) => {
      const answer = await session.client().catalog.getProduct({ productId })
      showProduct(session, productView(given(answer.product)))
    }),
  )

  const list = product
    .command('list')
    .description('list the products on sale')
    .option('--limit <n>', 'page size', countArgument(1, MAX_PAGE), 20)
    .option('--cursor <cursor>', 'continue after an earlier page', '')
  callerOptions(list, 'customer').action(async (options: { limit: number; cursor: string }, command: Command) =>
    withSession(shell, command, async ({ client, output }) => {
      const { products, nextCursor } = await client().catalog.listProducts(options)
      const views = products.map(productView)
      print(output, { products: views, nextCursor }, () =>
        [
          formatTable(
            views.map(({ productId, name, unitPrice, currency }) => ({
              ...{ product: productId, name, price: `${unitPrice} ${currency}` },
            })),
          ),
          ...(nextCursor === '' ? [] : [`more: --cursor ${nextCursor}`]),
        ].join('\n'),
      )
    }),
  )
}

function showProduct({ output }: Session, product: ReturnType<typeof productView>): void {
  const { productId, name, unitPrice, currency, isActive, version } = product
  print(output, product, () =>
    formatFields({ product: productId, name, price: `${unitPrice} ${currency}`, 'on sale': isActive, version }),
  )
}
