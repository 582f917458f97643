// A test oracle of payments: what an order's money means, written from the state machine and the edge cases of the
// requirements (D-1, D-4 to D-9), not from the code. Amounts are compared as exact fractions.

import { RefundOracle } from './refund_oracle.ts'

/** An exact fraction; the denominator is positive. */
export type Fraction = { over: bigint; under: bigint }

export const fractionOf = (over: bigint, under: bigint): Fraction => ({ over, under })

/** The sign of a − b. */
export const compareFractions = (a: Fraction, b: Fraction): number => {
  const difference = a.over * b.under - b.over * a.under
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

const NOTHING = fractionOf(0n, 1n)
const TOLERANCE = fractionOf(1n, 1_000n)

/** D-4: the part of the amount due that is missing is at most a thousandth of it. */
export const paysEnough = (received: bigint, due: bigint): boolean => {
  const missing = received < due ? fractionOf(due - received, due) : NOTHING
  return compareFractions(missing, TOLERANCE) <= 0
}

export type OutputState = 'seen' | 'final' | 'reorged' | 'dropped' | 'replaced'
/** When a source first saw an output: before its order was made, in its quote and grace, or after them. */
export type Sighting = 'early' | 'in_time' | 'late'
/** What a source says of an output. Of its words on one output, that with the highest seq counts. */
export type Word = {
  source: string
  output: string
  seq: number
  state: OutputState
  amount: bigint
  isRightAsset: boolean
  sighting: Sighting
}

/** What all orders of a network share: the outputs on which its sources contradict each other suspend it. */
export class NetworkOracle {
  readonly contradicted = new Set<string>()
  get isSuspended(): boolean {
    return this.contradicted.size > 0
  }
}

type Output = {
  state: OutputState
  amount: bigint
  isRightAsset: boolean
  isEarly: boolean
  isInTime: boolean
}

const COUNTED: readonly OutputState[] = ['seen', 'reorged', 'final']
/** The least favourable first (D-9): money that is gone, that may be gone, that is there. */
const FAVOUR: Readonly<Record<OutputState, number>> = { replaced: 0, dropped: 1, reorged: 2, final: 3, seen: 3 }

const byFavour = (a: Word, b: Word): number => {
  if (FAVOUR[a.state] !== FAVOUR[b.state]) return FAVOUR[a.state] - FAVOUR[b.state]
  if (a.state !== b.state) return a.state === 'final' ? -1 : 1
  return a.amount < b.amount ? -1 : a.amount > b.amount ? 1 : 0
}

const isGood = ({ state }: Word): boolean => FAVOUR[state] === 3

/** What an order's customer and operator see of it. */
export type OrderView = {
  status: string
  payment_state: string
  hold: string
  flags: string[]
  owed: string | null
  final: string
  refunds: [kind: string, amount: string, status: string][]
  ledger: { received: string; refunded: string; refund_due: string }
  replacement: Omit<OrderView, 'flags' | 'final' | 'replacement' | 'ledger'> | null
}
/** What the network takes for a transaction of a refund; the shop bears it. */
export const NETWORK_FEE = 21_000n

export type OrderTerms = {
  due: bigint
  /** An amount up to this is not owed back. */
  dust: bigint
  /** How many sources must agree that money is final. */
  requiredSources: number
  /** Whether late money buys an expired order again (D-8); otherwise it is owed back. */
  acceptsLate: boolean
  network: NetworkOracle
}

/** One order and the reports about its address. A report changes nothing before an assessment. */
export class OrderOracle {
  readonly terms: OrderTerms
  status = 'pending'
  private paymentState = 'awaiting'
  private hold = 'none'
  private readonly flags = new Set<string>()
  private owed: bigint | undefined
  private ended: 'cancelled' | 'expired' | undefined
  private readonly words: Word[] = []
  private readonly news = new Set<string>()
  private credited = new Map<string, Output>()
  /** Enough money is there, and the suspension of the network keeps it from paying. */
  private isWaiting = false
  private isDecided = false
  /** The order that its late money bought. */
  replacement: ReplacementOracle | undefined
  readonly refunds: RefundOracle

  constructor(terms: OrderTerms) {
    this.terms = terms
    this.refunds = new RefundOracle(terms.dust, () => ({
      status: this.status,
      due: this.owed ?? 0n,
      received: this.sum(['final']) - this.taken,
      hasNews: this.hasNews,
      isSuspended: terms.network.isSuspended,
    }))
  }

  /** There is news of its money that is not assessed. */
  get hasNews(): boolean {
    return this.news.size > 0
  }
  /** Final money that bought it again. What has left for refunds buys nothing. */
  private get taken(): bigint {
    return this.replacement === undefined ? 0n : this.replacement.share(this.sum(['final']))
  }

  get isTerminal(): boolean {
    return this.status === 'cancelled' || this.status === 'delivered'
  }

  /** D-5: a fact is stored once. @returns whether it is new */
  hear(word: Word): boolean {
    const isKnown = this.words.some((known) => isSameFact(known, word))
    if (isKnown) return false
    this.words.push(word)
    this.news.add(word.output)
    return true
  }

  assess(): void {
    const { network, acceptsLate } = this.terms
    for (const output of this.news) this.credit(output)
    const hasNews = this.hasNews
    this.news.clear()
    const isResumed = this.isWaiting && !network.isSuspended
    const isUndecided = this.ended === 'expired' && !this.isDecided && this.pays(this.sum(['final']))
    if (isUndecided) {
      this.isWaiting = network.isSuspended
      if (!network.isSuspended) {
        this.isDecided = true
        // Exactly one of the two: money whose refund is decided on buys nothing.
        if (acceptsLate && !this.refunds.isDecided) this.replacement = new ReplacementOracle(this)
      }
    } else if (this.status === 'pending' && this.pays(this.sum(['final'], true))) this.isWaiting = network.isSuspended
    else if (!network.isSuspended) this.isWaiting = false
    if (!hasNews && !isResumed && !isUndecided) return
    this.judge()
    this.replacement?.judge()
  }

  cancel(): void {
    if (this.status === 'pending' || this.status === 'processing') this.end('cancelled')
  }

  /** After the end of quote and grace. Paid in time is never given away, and nothing expires that is not assessed. */
  expire(): void {
    const isUnpaid = this.paymentState === 'awaiting' || this.paymentState === 'partial'
    if (this.status !== 'pending' || !isUnpaid || this.news.size > 0) return
    if (!this.terms.network.isSuspended && !this.isWaiting) this.end('expired')
  }

  ship(): void {
    const isPaid = ['paid', 'partially_refunded'].includes(this.stateWithRefunds)
    if (this.status === 'processing' && this.hold === 'none' && isPaid && !this.hasNews) this.status = 'shipped'
  }

  deliver(): void {
    if (this.status === 'shipped') this.status = 'delivered'
  }

  view(): OrderView {
    const final = this.sum(['final']).toString()
    const { replacement } = this
    return {
      ...this.viewAsReplacement(),
      flags: [...this.flags].toSorted(),
      final,
      ledger: { received: final, ...this.refunds.ledger(NETWORK_FEE) },
      replacement: replacement === undefined ? null : replacement.viewAsReplacement(),
    }
  }

  viewAsReplacement(): NonNullable<OrderView['replacement']> {
    const { status, hold, owed } = this
    const refunds = this.refunds.view()
    return { status, payment_state: this.stateWithRefunds, hold, owed: textOf(owed), refunds }
  }

  private get stateWithRefunds(): string {
    return this.refunds.stateOf(this.paymentState, (amount) => this.pays(amount))
  }

  private pays(amount: bigint): boolean {
    return paysEnough(amount, this.terms.due)
  }

  sum(states: readonly OutputState[], isInTime?: boolean): bigint {
    let total = 0n
    for (const output of this.credited.values())
      if (states.includes(output.state) && (isInTime ?? output.isInTime) === output.isInTime) total += output.amount
    return total
  }

  /** What the sources together say of an output now. */
  private credit(output: string): void {
    const { network, requiredSources } = this.terms
    const all = this.words.filter((word) => word.output === output)
    const latest = new Map<string, Word>()
    for (const word of all) if (word.seq > (latest.get(word.source)?.seq ?? 0)) latest.set(word.source, word)
    const words = [...latest.values()].toSorted(byFavour)
    const [chosen] = words
    if (chosen === undefined) return
    const finals = words.filter((word) => word.state === 'final')
    const hasOtherAmount = words.some((word) => word.amount !== chosen.amount)
    if (hasOtherAmount || (finals.length > 0 && words.some((word) => !isGood(word)))) network.contradicted.add(output)
    else network.contradicted.delete(output)
    const agreeing = finals.filter((word) => word.amount === chosen.amount).length
    const present: Output = {
      state: chosen.state === 'final' && agreeing < requiredSources ? 'seen' : chosen.state,
      amount: chosen.amount,
      isRightAsset: chosen.isRightAsset,
      isEarly: words.every(({ sighting }) => sighting === 'early'),
      // The earliest sighting of any source counts: in the favour of the customer.
      isInTime: words.some(({ sighting }) => sighting !== 'late'),
    }
    if (!present.isRightAsset) this.flags.add('wrong_asset')
    else if (present.isEarly) this.flags.add('manual')
    else this.credited.set(output, present)
  }

  protected judge(): void {
    const { due, dust, network } = this.terms
    const [final, lateFinal] = [this.sum(['final'], true), this.sum(['final'], false)]
    const seen = this.sum(COUNTED, true)
    if (this.status === 'cancelled') this.settle()
    else {
      const excess = (final > due ? final - due : 0n) + lateFinal
      this.owe(excess > dust ? excess : 0n)
      const isPaid = this.pays(final) && !(this.status === 'pending' && network.isSuspended)
      if (isPaid) this.paymentState = 'paid'
      else if (this.status === 'pending')
        this.paymentState = this.pays(seen) ? 'confirming' : seen > 0n ? 'partial' : 'awaiting'
      else this.paymentState = this.pays(seen) ? 'at_risk' : 'reversed'
      if (this.status === 'pending' && isPaid) this.status = 'processing'
      if (this.status === 'processing') this.hold = isPaid ? 'none' : 'payment'
      if (isPaid && final < due) this.flags.add('within_tolerance')
    }
    this.refunds.follow()
    this.mark()
  }

  private mark(): void {
    const outputs = [...this.credited.values()]
    const [came, final] = [this.sum(COUNTED), this.sum(['final'])]
    this.set('over', final > this.terms.due)
    this.set('under', this.status === 'cancelled' && came > 0n && !this.pays(came))
    if (outputs.some(({ isInTime }) => !isInTime)) this.flags.add('late')
    for (const state of ['reorged', 'replaced'] as const)
      if (outputs.some((output) => output.state === state)) this.flags.add(state)
  }

  private set(flag: string, is: boolean): void {
    if (is) this.flags.add(flag)
    else this.flags.delete(flag)
  }

  private owe(amount: bigint): void {
    if (amount > 0n || this.owed !== undefined) this.owed = amount
  }

  private end(how: 'cancelled' | 'expired'): void {
    this.status = 'cancelled'
    this.ended = how
    this.isWaiting = false
    this.settle()
    const came = this.sum(COUNTED)
    this.set('under', came > 0n && !this.pays(came))
  }

  /** An order that ended: all its final money is owed back, but for what bought it again. */
  private settle(): void {
    const left = this.sum(['final']) - this.taken
    const owed = left > this.terms.dust ? left : 0n
    this.owe(owed)
    const isAwaited = this.sum(['seen', 'reorged']) > 0n
    this.paymentState = owed > 0n ? 'unresolved' : isAwaited ? 'late_confirming' : (this.ended ?? 'cancelled')
    this.refunds.follow()
  }
}

/** An order that late money bought: it lives on the money of the order that it replaces, as much as it costs. */
export class ReplacementOracle extends OrderOracle {
  private readonly replaced: OrderOracle

  constructor(replaced: OrderOracle) {
    super(replaced.terms)
    this.replaced = replaced
    this.status = 'processing'
  }

  /** What it has of this money of the replaced order: what has left for refunds is not there. */
  share(money: bigint): bigint {
    const left = money - this.replaced.refunds.begun
    return left < 0n ? 0n : left < this.terms.due ? left : this.terms.due
  }
  override get hasNews(): boolean {
    return this.replaced.hasNews
  }
  override sum(states: readonly OutputState[], isInTime = true): bigint {
    if (!isInTime) return 0n
    const [seen, final] = [this.share(this.replaced.sum(COUNTED)), this.share(this.replaced.sum(['final']))]
    return states.includes('final') ? (states.includes('seen') ? seen : final) : seen - final
  }
  override judge(): void {
    super.judge()
  }
}

const textOf = (amount: bigint | undefined): string | null => (amount === undefined ? null : amount.toString())
const isSameFact = (a: Word, b: Word): boolean => a.source === b.source && a.output === b.output && a.seq === b.seq
