// holdfast pay: for development stacks only.

import type { Command } from 'commander'
import { openDevelopmentChain } from '../../chain/development.ts'
import { ASSET_POLICY } from '../../domain/payment.ts'
import { parseUnits } from '../../domain/money.ts'
import { UsageError } from './exit.ts'
import { countArgument, parseInteger, parseUuid } from './option.ts'
import { formatCoins, print } from './print.ts'
import { assertGenuine } from './quote.ts'
import { callerOptions, withSession, type Session, type Shell } from './session.ts'
import { given } from './view.ts'

const ADDRESS = /^0x[0-9a-f]{40}$/i
const MAX_BLOCKS = 10_000

type PayOptions = { amount?: bigint; mine: number }
type Bill = { address: string; amount: bigint }

export function addPayCommand(program: Command, shell: Shell): void {
  const pay = program
    .command('pay')
    .description('pay on the development chain: an order, or an amount to an address')
    .argument('<order|address>', 'order id, or 0x and 40 hex digits')
    .option('--amount <wei>', 'amount; default for an order: the amount due', parseInteger)
    .option('--mine <blocks>', 'blocks to mine after it', countArgument(0, MAX_BLOCKS), ASSET_POLICY.ETH.confirmations)
  callerOptions(pay, 'admin').action(async (target: string, options: PayOptions, command: Command) =>
    withSession(shell, command, async (session) => {
      const { address, amount } = await billOf(session, target, options.amount)
      const chain = await openDevelopmentChain(session.chainUrl())
      const txId = await chain.pay(address, amount)
      if (options.mine > 0) await chain.mine(options.mine)
      const paid = { txId, address, units: amount.toString(), minedBlocks: options.mine }
      print(session.output, paid, () => {
        const mined = options.mine > 0 ? `, and ${options.mine} blocks mined` : ''
        return `sent ${formatCoins('ETH', paid.units)} to ${address} in ${txId}${mined}`
      })
    }),
  )
}

async function billOf({ client, quoteKeys }: Session, target: string, amount: bigint | undefined): Promise<Bill> {
  if (amount !== undefined && amount <= 0n) throw new UsageError('--amount must be above zero')
  if (ADDRESS.test(target)) {
    if (amount === undefined) throw new UsageError('an address needs an --amount')
    return { address: target, amount }
  }
  const orderId = parseUuid(target)
  const { order } = await client().order.getOrder({ orderId })
  assertGenuine(quoteKeys, orderId, order?.paymentRequest)
  const request = given(given(order).paymentRequest)
  const { asset, units } = given(request.amount)
  if (asset !== 'ETH')
    throw new UsageError(`the order must be paid in ${asset}, but the development chain has only ETH`)
  return { address: request.address, amount: amount ?? given(parseUnits(units)) }
}
