// What must be true at the end of kill chaos, by the chain's own blocks: each output is credited once, each refund is sent
// once, and each order is where its money says. Written from the requirements, with none of our own functions.

import type { Transfer } from './chain_truth.ts'

/** 0.1 % may be missing, and an excess up to the floor is kept. */
const TOLERANCE = 1_000n
const DUST_FLOOR = 10_000_000_000_000n
const OVER: readonly string[] = ['paid', 'rejected', 'cancelled']

export type OrderRow = {
  order_id: string
  status: string
  payment_state: string
  address: string
  due: string
  replacement_id: string | null
  replaces: string | null
}
export type PaymentRow = { order_id: string; tx_id: string; amount: string; state: string }
export type RefundRow = {
  refund_id: string
  order_id: string
  user_id: string
  status: string
  amount: string
  destination: string | null
}
export type Books = {
  orders: readonly OrderRow[]
  payments: readonly PaymentRow[]
  refunds: readonly RefundRow[]
  /** Sums of the ledger: of each posting's accounts, and of all postings. */
  ledger: { zero: string; received: string; refunded: string; fees: string }
}

const sumOf = (amounts: readonly bigint[]): bigint => amounts.reduce((sum, amount) => sum + amount, 0n)
const groupBy = <T>(rows: readonly T[], keyOf: (row: T) => string): ReadonlyMap<string, readonly T[]> =>
  Map.groupBy(rows, keyOf)

/** What is not as the chain says; empty in a correct system. */
export function differencesOf(books: Books, transfers: readonly Transfer[], wallet: string): string[] {
  const to = groupBy(transfers, (each) => each.to)
  const differences = [
    ...orderDifferences(books, to),
    ...books.refunds.flatMap((refund) => refundDifferences(refund, to)),
    ...ledgerDifferences(books, transfers, wallet),
  ]
  const known = new Set([
    ...books.orders.map(({ address }) => address),
    ...books.refunds.flatMap(({ destination }) => destination ?? []),
  ])
  for (const { txId, to: address } of transfers)
    if (!known.has(address)) differences.push(`transfer ${txId} went to an unknown address`)
  return differences
}

function orderDifferences(
  { orders, payments, refunds }: Books,
  to: ReadonlyMap<string, readonly Transfer[]>,
): string[] {
  const paymentsOf = groupBy(payments, (each) => each.order_id)
  const refundsOf = groupBy(refunds, (each) => each.order_id)
  const byId = new Map(orders.map((order) => [order.order_id, order]))
  const receivedOf = (order: OrderRow | undefined): bigint =>
    sumOf((to.get(order?.address ?? '') ?? []).map(({ value }) => value))
  return orders.flatMap((order) => {
    const say = (text: string): string => `order ${order.order_id} (${order.status}, ${order.payment_state}): ${text}`
    const credited = (paymentsOf.get(order.order_id) ?? []).map((row) => `${row.tx_id} ${row.amount} ${row.state}`)
    const sent = (to.get(order.address) ?? []).map(({ txId, value }) => `${txId} ${value} final`)
    const found: string[] = []
    if (credited.toSorted().join() !== sent.toSorted().join())
      found.push(say(`credited [${credited.join()}], the chain has [${sent.join()}]`))
    const source = order.replaces === null ? order : byId.get(order.replaces)
    const isBought = byId.get(order.replacement_id ?? '')?.status === 'processing'
    const owed = owedOf(order, { received: receivedOf(order), forIt: receivedOf(source), isBought })
    if (typeof owed === 'string') return [...found, say(owed)]
    const paid = sumOf(
      (refundsOf.get(order.order_id) ?? [])
        .filter(({ status }) => status === 'paid')
        .map(({ amount }) => BigInt(amount)),
    )
    if (paid !== owed) found.push(say(`${owed} is owed back, ${paid} was`))
    return found
  })
}

/** What such an order owes back in all, or what is wrong with its status. */
function owedOf(
  { status, due }: OrderRow,
  { received, forIt, isBought }: { received: bigint; forIt: bigint; isBought: boolean },
): bigint | string {
  const price = BigInt(due)
  const atLeast = price - price / TOLERANCE
  const aboveDust = (amount: bigint): bigint => (amount > DUST_FLOOR ? amount : 0n)
  const kept = received < price ? received : price
  if (status === 'cancelled') return aboveDust(isBought ? received - kept : received)
  if (status !== 'processing') return 'it is neither paid nor cancelled'
  if (forIt < atLeast) return `it goes on with ${forIt} of ${price}`
  return aboveDust(received - kept)
}

function refundDifferences(refund: RefundRow, to: ReadonlyMap<string, readonly Transfer[]>): string[] {
  const { refund_id: id, status, destination, amount } = refund
  const sent = destination === null ? [] : (to.get(destination) ?? [])
  const text = sent.map(({ txId, value }) => `${txId} ${value}`).join()
  const found = OVER.includes(status) ? [] : [`refund ${id} is ${status}`]
  const isRight = status === 'paid' ? sent.length === 1 && sent[0]?.value === BigInt(amount) : sent.length === 0
  return isRight ? found : [...found, `refund ${id} (${status}) of ${amount} was sent as [${text}]`]
}

function ledgerDifferences({ ledger }: Books, transfers: readonly Transfer[], wallet: string): string[] {
  const isIn = ({ from }: Transfer): boolean => from === wallet
  const out = transfers.filter((each) => !isIn(each))
  const fees = sumOf(out.map(({ fee }) => fee))
  const wanted = {
    zero: '0',
    received: String(sumOf(transfers.filter(isIn).map(({ value }) => value))),
    refunded: String(-sumOf(out.map(({ value }) => value)) - fees),
    fees: String(fees),
  }
  const [has, wants] = [JSON.stringify(ledger), JSON.stringify(wanted)]
  return has === wants ? [] : [`the ledger says ${has}, the chain ${wants}`]
}
