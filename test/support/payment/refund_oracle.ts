// A test oracle of refunds: what an order gives back, written from the state machine of payments, from D-7 and D-8, and
// from decisions 38, 40 and 41, not from the code.

/** Two people approve (decision 38). */
const APPROVALS = 2

export type RefundWord =
  'awaiting_destination' | 'awaiting_approval' | 'approved' | 'paying' | 'paid' | 'rejected' | 'cancelled'

type Refund = {
  kind: 'owed' | 'goodwill'
  amount: bigint
  status: RefundWord
  /** Who approved the present version. */
  readonly approvers: Set<string>
  /** Its transaction was executed without effect, and an operator released it to be sent again. */
  isFailed: boolean
}

/** What the order has, as it was assessed last. */
export type RefundedMoney = {
  status: string
  /** What is owed back in all. */
  due: bigint
  /** Final money of the order that no replacement took. */
  received: bigint
  /** There is news of the money that is not assessed. */
  hasNews: boolean
  isSuspended: boolean
}

const OPEN: readonly RefundWord[] = ['awaiting_destination', 'awaiting_approval']
const BEGUN: readonly RefundWord[] = ['paying', 'paid']
const ENDED: readonly RefundWord[] = ['rejected', 'cancelled']
const lesser = (a: bigint, b: bigint): bigint => (a < b ? a : b)

export class RefundOracle {
  private readonly refunds: Refund[] = []
  /** Payouts that were executed without effect: the shop bears their fees too. */
  private failures = 0
  private readonly money: () => RefundedMoney
  private readonly dust: bigint

  constructor(dust: bigint, money: () => RefundedMoney) {
    this.dust = dust
    this.money = money
  }

  /** Refunds that began to be paid, or were. */
  get begun(): bigint {
    return this.sum(({ status }) => BEGUN.includes(status))
  }
  /** The way back of money is decided on: the order buys nothing with it. */
  get isDecided(): boolean {
    return this.refunds.some(({ status }) => status === 'approved' || BEGUN.includes(status))
  }

  view(): [kind: string, amount: string, status: string][] {
    return this.refunds.map(({ kind, amount, status }) => [kind, amount.toString(), status])
  }

  /** What the ledger has of refunds: paid, with the fees of all payouts, and owed but not paid (decisions 41 and 47). */
  ledger(fee: bigint): { refunded: string; refund_due: string } {
    const { due, received } = this.money()
    const isPaid = ({ status }: Refund): boolean => status === 'paid'
    const paid = this.sum(isPaid)
    const fees = fee * BigInt(this.refunds.filter(isPaid).length + this.failures)
    const unpaid = lesser(due - this.sum((each) => isPaid(each) && each.kind === 'owed'), received - paid)
    return {
      refunded: (-(paid + fees)).toString(),
      refund_due: (unpaid > this.dust ? -unpaid : 0n).toString(),
    }
  }

  /** The payment state that the money alone gives, once refunds are counted. */
  stateOf(unrefunded: string, pays: (amount: bigint) => boolean): string {
    const { status, received } = this.money()
    if (status === 'pending' || this.begun === 0n) return unrefunded
    if (status !== 'cancelled') {
      if (unrefunded === 'at_risk' || unrefunded === 'reversed') return unrefunded
      // An excess that goes back changes nothing.
      if (pays(received - this.begun)) return 'paid'
      const excess = this.sum((each) => BEGUN.includes(each.status) && each.kind === 'owed')
      if (!pays(received - excess)) return 'reversed'
    }
    if (this.refunds.some(({ status: each }) => each === 'paying')) return 'refunding'
    return received - this.begun > this.dust ? 'partially_refunded' : 'refunded'
  }

  /** Exactly one open refund of what is owed beyond what was approved, never more than the money that is there. */
  follow(): void {
    const { due, received } = this.money()
    const open = this.refunds.find(({ kind, status }) => kind === 'owed' && OPEN.includes(status))
    const settled = this.sum((each) => each.kind === 'owed' && each !== open && !ENDED.includes(each.status))
    const promised = this.sum((each) => each !== open && !ENDED.includes(each.status))
    const owed = lesser(due - settled, received - promised)
    const amount = owed > this.dust ? owed : 0n
    if (open === undefined) {
      if (amount > 0n) this.refunds.push(refundOf('owed', amount))
    } else if (amount === 0n) open.status = 'cancelled'
    else if (amount !== open.amount) {
      open.amount = amount
      open.approvers.clear()
    }
  }

  /** An operator asks for an amount; undefined: for everything that is left. @returns whether it is taken */
  ask(units: bigint | undefined): boolean {
    const { status, received } = this.money()
    const left = received - this.sum((each) => !ENDED.includes(each.status))
    const amount = units ?? left
    if (amount <= 0n || amount > left || status === 'pending') return false
    this.refunds.push(refundOf('goodwill', amount))
    return true
  }

  /** The customer gives an address, and gives it again. @returns undefined: no refund waits for one */
  address(): boolean | undefined {
    const refund = this.refunds.find(({ status }) => status === 'awaiting_destination')
    if (refund === undefined) return undefined
    refund.status = 'awaiting_approval'
    refund.approvers.clear()
    return true
  }

  /** An address, and both approvals of that refund. @returns whether it is approved; undefined: none waits for one */
  settle(by: readonly [string, string]): boolean | undefined {
    const refund = this.refunds.find(({ status }) => status === 'awaiting_destination')
    if (refund === undefined) return undefined
    refund.status = 'awaiting_approval'
    refund.approvers.clear()
    return this.approveOne(refund, by[0]) && this.approveOne(refund, by[1])
  }

  /** @returns whether the approval counts; undefined: no refund waits for one */
  approve(by: string): boolean | undefined {
    const refund = this.refunds.find(({ status }) => status === 'awaiting_approval')
    return refund && this.approveOne(refund, by)
  }

  private approveOne(refund: Refund, by: string): boolean {
    if (refund.approvers.has(by)) return false
    const isLast = refund.approvers.size + 1 >= APPROVALS
    if (isLast && !this.isCovered()) return false
    refund.approvers.add(by)
    if (isLast) refund.status = 'approved'
    return true
  }

  /** @returns undefined: there is none to reject */
  reject(): boolean | undefined {
    const refund = this.refunds.find(({ status }) => OPEN.includes(status) || status === 'approved')
    if (refund === undefined) return undefined
    refund.status = 'rejected'
    this.follow()
    return true
  }

  /** The payer takes a refund and signs its transaction. @returns what it is told; undefined: there is none to send */
  send(): string | undefined {
    const again = this.refunds.find(({ status, isFailed }) => status === 'paying' && isFailed)
    if (again !== undefined) {
      again.isFailed = false
      return 'prepared'
    }
    const refund = this.refunds.find(({ status }) => status === 'approved')
    if (refund === undefined) return undefined
    const { hasNews, isSuspended } = this.money()
    if (isSuspended) return 'suspended'
    if (hasNews) return 'unassessed'
    if (!this.isCovered()) return 'not_covered'
    refund.status = 'paying'
    return 'prepared'
  }

  /** Its transaction is final; reverted: without effect. @returns undefined: none was sent */
  end(isReverted: boolean): string | undefined {
    const refund = this.refunds.find(({ status, isFailed }) => status === 'paying' && !isFailed)
    if (refund === undefined) return undefined
    if (isReverted) {
      refund.isFailed = true
      this.failures += 1
    } else refund.status = 'paid'
    return isReverted ? 'failed' : 'confirmed'
  }

  private isCovered(): boolean {
    return this.sum(({ status }) => !ENDED.includes(status)) <= this.money().received
  }

  private sum(isCounted: (refund: Refund) => boolean): bigint {
    return this.refunds.filter(isCounted).reduce((total, { amount }) => total + amount, 0n)
  }
}

const refundOf = (kind: Refund['kind'], amount: bigint): Refund => ({
  ...{ kind, amount, status: 'awaiting_destination', approvers: new Set(), isFailed: false },
})
