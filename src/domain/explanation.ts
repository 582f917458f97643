// Why an order is where it is, in plain English: for people of the shop who answer «I paid, where is my order?». Pure
// functions from facts to sentences. They explain and decide nothing.

import { formatUnits } from './money.ts'
import type { CancelReason, OrderHold, OrderStatus } from './order.ts'
import { ASSET_POLICY, isEnough, minimumOf, type Asset, type PaymentState } from './payment.ts'
import type { RefundStatus } from './refund.ts'

export type OrderFacts = {
  status: OrderStatus
  paymentState: PaymentState
  hold: OrderHold
  cancelReason: CancelReason | null
  network: string
  asset: Asset
  due: bigint
  /** The quote's end and its grace. */
  endsAt: Date
  now: Date
  /** Sums of the order's money, as order_money has them. */
  money: { seen: bigint; final: bigint; lateSeen: bigint; lateFinal: bigint; owed: bigint }
  /** Confirmations of the transfer that has the fewest; undefined: one is in no block, or none is awaited. */
  confirmations: number | undefined
  /** Reports that are not assessed. */
  waitingReports: bigint
  /** Outputs that the sources do not agree on. */
  doubts: readonly { kind: 'lone' | 'differing' }[]
  hasWrongAsset: boolean
  hasEarly: boolean
  late: { replacementId: string | null; refusal: string | null } | null
  replacesOrderId: string | null
  suspensions: readonly { cause: string }[]
  isSuspended: boolean
  /** The newest first. */
  refunds: readonly { status: RefundStatus; asset: Asset; amount: bigint; approvals: number }[]
}

/** One paragraph: where the payment is, then what it waits for, then what a person must do. */
export const explainOrderMoney = (facts: OrderFacts): string =>
  joined([
    ...[STATES[facts.paymentState](facts), ...lateOf(facts), ...oddMoneyOf(facts)],
    ...[...waitsOf(facts), ...refundsOf(facts)],
  ])

const joined = (sentences: readonly string[]): string => sentences.filter((sentence) => sentence !== '').join(' ')

const coins = ({ asset }: Pick<OrderFacts, 'asset'>, units: bigint): string =>
  `${formatUnits(units, ASSET_POLICY[asset].decimals)} ${asset}`
const timeOf = (time: Date): string => `${time.toISOString().slice(0, 16).replace('T', ' ')} UTC`
const isOver = ({ now, endsAt }: OrderFacts): boolean => now > endsAt

const CANCELLED: Readonly<Record<CancelReason, string>> = {
  customer: 'The customer cancelled it',
  admin: 'The shop cancelled it',
  expired: 'It expired',
  underpaid: 'It ended with too little money',
  out_of_stock: 'It was cancelled because stock was no longer available',
  fraud: 'A fraud review cancelled it',
}
const cancelOf = ({ cancelReason }: OrderFacts): string =>
  cancelReason === null ? 'It is not open any more' : CANCELLED[cancelReason]

/** What each state means. A state without a sentence does not compile. */
const STATES: Readonly<Record<PaymentState, (facts: OrderFacts) => string>> = {
  awaiting: (facts) =>
    isOver(facts)
      ? `No money was seen until ${timeOf(facts.endsAt)}, its last moment. ${EXPIRES}`
      : `It waits for ${coins(facts, facts.due)} until ${timeOf(facts.endsAt)}; no money was seen yet.`,
  partial: (facts) => {
    const seen = `${coins(facts, facts.money.seen)} of ${coins(facts, facts.due)} was seen.`
    if (isOver(facts)) return `Only ${seen} Its last moment was ${timeOf(facts.endsAt)}. ${EXPIRES}`
    const missing = coins(facts, facts.due - facts.money.seen)
    return `${seen} ${missing} is missing, and may come to the same address until ${timeOf(facts.endsAt)}.`
  },
  confirming: (facts) => {
    const { money, due } = facts
    if (isEnough(money.final, due)) return `Enough money is final: ${coins(facts, money.final)}.`
    return (
      `Enough money was seen: ${coins(facts, money.seen)} of ${coins(facts, due)}. ` +
      `${coins(facts, money.final)} of it is final. ${confirmationsOf(facts)}`
    )
  },
  paid: (facts) => joined([`It is paid: ${amountOfPaid(facts)}.`, shippingOf(facts)]),
  at_risk: (facts) =>
    joined([
      `It was paid, and a reorganisation took money out of the chain again: ${finalOf(facts)}.`,
      stopOf(facts),
      'It is paid again once that money is final, and reversed if it is lost.',
    ]),
  reversed: (facts) =>
    joined([
      `It was paid, and the money is lost: ${finalOf(facts)}.`,
      stopOf(facts),
      'Ask the customer to pay again, or cancel the order.',
    ]),
  expired: (facts) => `${cancelOf(facts)}: no money is owed for it.`,
  late_confirming: (facts) =>
    `${cancelOf(facts)}, and money came that is not final yet: ` +
    `${coins(facts, facts.money.seen + facts.money.lateSeen)} was seen. What becomes of it is decided once it is final.`,
  unresolved: (facts) => `${cancelOf(facts)}, and has money that goes back: ${coins(facts, facts.money.owed)}.`,
  cancelled: (facts) => `${cancelOf(facts)}, and no money is owed for it.`,
  refunding: () => 'Its money is being sent back.',
  partially_refunded: () => 'A part of its money was sent back.',
  refunded: () => 'All of its money was sent back.',
}

const EXPIRES =
  'It expires once the watcher has read the chain past that moment, unless a payment from before is found until then.'

const finalOf = (facts: OrderFacts): string =>
  `${coins(facts, facts.money.final)} of ${coins(facts, facts.due)} is final`

function amountOfPaid(facts: OrderFacts): string {
  const { final } = facts.money
  const { due } = facts
  if (final > due) return `${coins(facts, final)} is final, ${coins(facts, final - due)} more than was due`
  if (final === due) return `${coins(facts, final)} is final`
  if (final >= minimumOf(due))
    return `${coins(facts, final)} is final, which is accepted although ${coins(facts, due - final)} is missing`
  return finalOf(facts)
}

function confirmationsOf({ asset, confirmations }: OrderFacts): string {
  const { confirmations: needed } = ASSET_POLICY[asset]
  return confirmations === undefined
    ? `The rest is in no block yet; it needs ${needed} confirmations.`
    : `The rest has ${Math.min(confirmations, needed)} of at least ${needed} confirmations.`
}

function shippingOf(facts: OrderFacts): string {
  switch (facts.status) {
    case 'processing':
      return facts.hold === 'none' ? 'It waits to be shipped.' : stopOf(facts)
    case 'shipped':
      return 'It is shipped.'
    case 'delivered':
      return 'It is delivered.'
    case 'pending':
    case 'cancelled':
      return ''
  }
}

const HOLDS_ON_SHIPPING: Readonly<Record<OrderHold, string>> = {
  none: '',
  payment: 'It is not shipped meanwhile.',
  fraud: 'A fraud review stops it from being shipped.',
  manual: 'An operator stopped it from being shipped.',
}
function stopOf({ status, hold }: OrderFacts): string {
  if (status === 'processing') return HOLDS_ON_SHIPPING[hold]
  return status === 'shipped' || status === 'delivered' ? 'The goods have left.' : ''
}

const LATE_REFUSALS: Readonly<Record<string, string>> = {
  policy: 'the shop takes no late money',
  on_hold: 'the order was on hold',
  refund_begun: 'a refund of it had begun',
  too_late: 'not enough of it came within the time that late money has',
  rate_unknown: 'there was no price of the coin',
  product_gone: 'a product was no longer sold',
  price_moved: 'the price had moved too far',
  out_of_stock: 'the stock was gone',
}

function lateOf({ late, replacesOrderId }: OrderFacts): string[] {
  const sentences: string[] = []
  if (replacesOrderId !== null) sentences.push(`The late money of order ${replacesOrderId} pays it.`)
  if (late === null) return sentences
  if (late.replacementId !== null) return [...sentences, `Its late money pays order ${late.replacementId}.`]
  const why = LATE_REFUSALS[late.refusal ?? '']
  return [...sentences, `Its late money could not buy it again${why === undefined ? '' : `: ${why}`}.`]
}

const oddMoneyOf = ({ hasWrongAsset, hasEarly, asset }: OrderFacts): string[] => [
  hasWrongAsset
    ? `Money in another asset than ${asset} came to its address, and pays nothing: look at the reports and the ignored transfers.`
    : '',
  hasEarly ? 'Money was at its address before the order was made, and pays nothing: look at the reports.' : '',
]

const CAUSES: Readonly<Record<string, string>> = {
  deep_reorg: 'a reorganisation went below final blocks, and an operator must look at it',
  sources_differ: 'two sources contradict each other',
}

/** What keeps the order where it is, beside the state itself. */
function waitsOf(facts: OrderFacts): string[] {
  const { waitingReports, doubts, suspensions, isSuspended, network, paymentState } = facts
  const mayChange = paymentState !== 'refunded' && paymentState !== 'cancelled'
  const sentences: string[] = []
  if (waitingReports > 0n)
    sentences.push(
      `${waitingReports} ${waitingReports === 1n ? 'report waits' : 'reports wait'} to be assessed: usually for a ` +
        'second; longer if no worker runs.',
    )
  if (doubts.some(({ kind }) => kind === 'lone'))
    sentences.push('Fewer sources than its amount needs have its money as final: it waits for another source.')
  if (doubts.some(({ kind }) => kind === 'differing')) sentences.push('Its sources contradict each other.')
  if (mayChange && (isSuspended || suspensions.length > 0)) {
    const why = suspensions.map(({ cause }) => CAUSES[cause] ?? cause).join('; ')
    sentences.push(`No order of ${network} becomes paid at the moment${why === '' ? '' : `: ${why}`}.`)
  }
  return sentences
}

const REFUND_STEPS: Readonly<Record<RefundStatus, (approvals: number) => string>> = {
  awaiting_destination: () => 'waits for an address, which the customer gives and confirms',
  awaiting_approval: (approvals) => `waits for approval by two people; it has ${approvals}`,
  approved: () => 'is approved, and waits to be sent',
  paying: () => 'is being sent',
  paid: () => 'was sent, and is final',
  rejected: () => 'was rejected',
  cancelled: () => 'is no longer owed',
}
/** Refunds that are told one by one. */
const MAX_REFUNDS_TOLD = 3

/** Those that are not over first: they are what someone waits for. */
function refundsOf({ refunds }: OrderFacts): string[] {
  const told = refunds.filter(({ status }) => status !== 'rejected' && status !== 'cancelled')
  const open = told.filter(({ status }) => status !== 'paid')
  const chosen = [...open, ...told.filter(({ status }) => status === 'paid')].slice(0, MAX_REFUNDS_TOLD)
  const rest = told.length - chosen.length
  return [
    ...chosen.map(
      (refund) => `A refund of ${coins(refund, refund.amount)} ${REFUND_STEPS[refund.status](refund.approvals)}.`,
    ),
    rest > 0 ? `There are ${rest} more refunds.` : '',
  ]
}
