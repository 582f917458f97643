// A reference model of the shop, written from the requirements: no locks, no SQL, and no code of the shop itself. Each
// method is one atomic call; it returns what the caller must be told.

import { quoteDue, totalOf } from './oracle.ts'

export type Wanted = { productId: string; quantity: bigint; priceMinor: bigint }
export type ModelProduct = { onHand: bigint; reserved: bigint; priceMinor: bigint }
export type TransferModel = { amount: bigint; state: 'seen' | 'final' | 'reorged'; isInTime: boolean }
export type ModelOrder = {
  wants: ReadonlyMap<string, bigint>
  total: bigint
  due: bigint
  status: 'pending' | 'processing' | 'shipped' | 'delivered' | 'cancelled'
  paymentState: string
  hold: 'none' | 'payment'
  cancelReason: string | null
  reservation: 'held' | 'committed' | 'consumed' | 'released' | 'expired'
  flags: Set<string>
  version: number
  owed: bigint | null
  /** The quote expired at once. */
  isShort: boolean
  /** Enough money was seen in time: the hold outlasts the quote. */
  isExtended: boolean
  transfers: TransferModel[]
  /** The transfers that the last assessment counted. */
  counted: readonly TransferModel[]
  hasUnassessed: boolean
}
export type Answer = Readonly<Record<string, unknown>>

/** At the one rate of these tests: 2,000.00 per coin of 18 decimals. */
const dueOf = (totalMinor: bigint): bigint => quoteDue(totalMinor, 200_000n, 18)
const pays = (sum: bigint, due: bigint): boolean => sum * 1000n >= due * 999n
/** In ether: the cost of refunding it. */
const DUST = 10n ** 13n
const sumOf = (transfers: readonly TransferModel[], ...states: string[]): bigint =>
  transfers.filter(({ state }) => states.includes(state)).reduce((sum, { amount }) => sum + amount, 0n)

export class ShopModel {
  readonly products = new Map<string, ModelProduct>()
  readonly orders: ModelOrder[] = []
  /** Answers by idempotency key, with the request's hash. */
  readonly #answers = new Map<string, { hash: string; answer: Answer }>()

  create(key: string, hash: string, wanted: readonly Wanted[], isShort: boolean): Answer {
    const known = this.#answers.get(key)
    if (known !== undefined) {
      if (known.hash !== hash) return { verdict: 'IDEMPOTENCY_KEY_REUSED' }
      return known.answer['verdict'] === 'accepted' ? { ...known.answer, verdict: 'replayed' } : known.answer
    }
    const answer = this.#decide(wanted, isShort)
    this.#answers.set(key, { hash, answer })
    return answer
  }

  #decide(wanted: readonly Wanted[], isShort: boolean): Answer {
    const unknown = wanted.filter(({ productId }) => !this.products.has(productId))
    if (unknown.length > 0) return { verdict: 'PRODUCT_UNKNOWN' }
    const changed = wanted.filter(({ productId, priceMinor }) => this.product(productId).priceMinor !== priceMinor)
    if (changed.length > 0) return { verdict: 'PRICE_CHANGED' }
    const wants = new Map<string, bigint>()
    for (const { productId, quantity } of wanted) wants.set(productId, (wants.get(productId) ?? 0n) + quantity)
    const short = (): string[] => [...wants].filter(([id, units]) => units > this.available(id)).map(([id]) => id)
    // Expired holds on short products are released first. A shop that cannot do so at once answers «try again». That
    // answer is not stored: the caller repeats the call until it has this one. When even released stock would not be
    // enough, the order does not wait, and nothing is released for it.
    const missing = short()
    const returning = this.orders.filter(
      (order) => this.#mayReclaim(order) && missing.some((id) => order.wants.has(id)),
    )
    const attainable = (id: string): bigint =>
      returning.reduce((sum, order) => sum + (order.wants.get(id) ?? 0n), this.available(id))
    const isHopeless = missing.some((id) => (wants.get(id) ?? 0n) > attainable(id))
    const due = isHopeless ? [] : returning
    for (const order of due) this.#end(order, 'expired', 'expired')
    const shortages = short().toSorted()
    if (shortages.length > 0)
      return {
        verdict: 'OUT_OF_STOCK',
        shortages: shortages.map((productId) => ({
          ...{ productId, wanted: wants.get(productId), available: this.available(productId) },
        })),
      }
    const total = totalOf(wanted.map(({ quantity, priceMinor }) => ({ quantity, unitPriceMinor: priceMinor })))
    for (const [id, units] of wants) this.product(id).reserved += units
    this.orders.push({
      ...{ wants, total, due: dueOf(total), status: 'pending', paymentState: 'awaiting', hold: 'none' },
      ...{ cancelReason: null, reservation: 'held', flags: new Set(), version: 1, owed: null, isShort },
      ...{ isExtended: false, transfers: [], counted: [], hasUnassessed: false },
    })
    return { verdict: 'accepted', order: this.orders.length - 1, total, due: dueOf(total) }
  }

  /** A transfer that was not known; or, of a known one, its new state. */
  report(order: ModelOrder, transfer: TransferModel, known?: number): void {
    if (known === undefined) order.transfers.push(transfer)
    else order.transfers[known] = transfer
    order.hasUnassessed = true
    const inTime = order.transfers.filter(({ isInTime }) => isInTime)
    if (pays(sumOf(inTime, 'seen', 'reorged', 'final'), order.due)) order.isExtended = true
  }

  assess(order: ModelOrder): void {
    if (!order.hasUnassessed) return
    order.counted = order.transfers.map((transfer) => ({ ...transfer }))
    order.hasUnassessed = false
    const before = JSON.stringify([order.status, order.paymentState, order.hold, [...order.flags].toSorted()])
    const inTime = order.counted.filter((transfer) => transfer.isInTime)
    const [final, seen] = [sumOf(inTime, 'final'), sumOf(inTime, 'seen', 'reorged', 'final')]
    const all = sumOf(order.counted, 'final')
    const isPaid = pays(final, order.due)
    const isEnded = order.status === 'cancelled'
    const tooMuch = isEnded ? all : (final > order.due ? final - order.due : 0n) + all - final
    const owed = tooMuch > DUST ? tooMuch : 0n
    if (isEnded) order.paymentState = this.#endState(order)
    else if (isPaid) order.paymentState = 'paid'
    else if (order.status !== 'pending') order.paymentState = pays(seen, order.due) ? 'at_risk' : 'reversed'
    else order.paymentState = pays(seen, order.due) ? 'confirming' : seen > 0n ? 'partial' : 'awaiting'
    if (order.status === 'pending' && isPaid) Object.assign(order, { status: 'processing', reservation: 'committed' })
    if (order.status === 'processing') order.hold = isPaid ? 'none' : 'payment'
    const mark = (flag: string, is: boolean): unknown => (is ? order.flags.add(flag) : order.flags.delete(flag))
    mark('over', all > order.due)
    if (order.paymentState === 'paid' && final < order.due) order.flags.add('within_tolerance')
    mark('under', isEnded && this.#isUnder(order))
    if (order.counted.some(({ isInTime }) => !isInTime)) order.flags.add('late')
    if (order.counted.some(({ state }) => state === 'reorged')) order.flags.add('reorged')
    if (owed > 0n || order.owed !== null) order.owed = owed
    const after = JSON.stringify([order.status, order.paymentState, order.hold, [...order.flags].toSorted()])
    if (before !== after) order.version += 1
  }

  command(order: ModelOrder, command: 'cancel' | 'ship' | 'deliver', role: string, expected?: number): Answer {
    const refuse = (reason: string): Answer => ({ ok: false, reason })
    if (expected !== undefined && expected !== order.version) return refuse('VERSION_MISMATCH')
    if (command === 'cancel') {
      if (order.status !== 'pending' && order.status !== 'processing') return refuse('ORDER_STATUS')
      this.#end(order, 'released', role)
    } else if (command === 'ship') {
      if (order.status !== 'processing') return refuse('ORDER_STATUS')
      if (order.hold !== 'none' || order.paymentState !== 'paid') return refuse('ORDER_ON_HOLD')
      if (order.hasUnassessed) return refuse('ENGINE_UNAVAILABLE')
      for (const [id, units] of order.wants) {
        this.product(id).onHand -= units
        this.product(id).reserved -= units
      }
      Object.assign(order, { status: 'shipped', reservation: 'consumed', version: order.version + 1 })
    } else {
      if (order.status !== 'shipped') return refuse('ORDER_STATUS')
      Object.assign(order, { status: 'delivered', version: order.version + 1 })
    }
    return { ok: true }
  }

  changeAddress(order: ModelOrder, expected?: number): Answer {
    if (expected !== undefined && expected !== order.version) return { reason: 'VERSION_MISMATCH' }
    if (order.status !== 'pending' && order.status !== 'processing') return { reason: 'ORDER_STATUS' }
    order.version += 1
    return { version: order.version }
  }

  /** Called by the order's own workflow. */
  expire(order: ModelOrder): void {
    if (this.#mayReclaim(order)) this.#end(order, 'expired', 'expired')
  }

  /** @returns how many ended */
  sweep(): number {
    const due = this.orders.filter((order) => this.#mayReclaim(order))
    for (const order of due) this.#end(order, 'expired', 'expired')
    return due.length
  }

  adjust(productId: string, units: bigint): Answer {
    const product = this.product(productId)
    if (product.onHand + units < product.reserved) return { reason: 'STOCK_BELOW_RESERVED' }
    product.onHand += units
    return { onHand: product.onHand, reserved: product.reserved }
  }

  product(id: string): ModelProduct {
    const product = this.products.get(id)
    if (product === undefined) throw new Error(`the model has no product ${id}`)
    return product
  }

  available(id: string): bigint {
    const { onHand, reserved } = this.product(id)
    return onHand - reserved
  }

  /** The quote and its hold have expired, and no payment keeps the order open. */
  #mayReclaim({ status, paymentState, isShort, isExtended, hasUnassessed }: ModelOrder): boolean {
    const isUnpaid = ['awaiting', 'partial'].includes(paymentState)
    return status === 'pending' && isUnpaid && isShort && !isExtended && !hasUnassessed
  }

  /** The refund owed for an order that has ended. */
  #endState({ counted, cancelReason }: Pick<ModelOrder, 'counted' | 'cancelReason'>): string {
    if (sumOf(counted, 'final') > DUST) return 'unresolved'
    if (sumOf(counted, 'seen', 'reorged') > 0n) return 'late_confirming'
    return cancelReason === 'expired' ? 'expired' : 'cancelled'
  }

  /** Some money arrived, and it is not enough. */
  #isUnder({ counted, due }: ModelOrder): boolean {
    const came = sumOf(counted, 'seen', 'reorged', 'final')
    return came > 0n && !pays(came, due)
  }

  #end(order: ModelOrder, reservation: 'released' | 'expired', reason: string): void {
    const final = sumOf(order.counted, 'final')
    if (this.#isUnder(order)) order.flags.add('under')
    for (const [id, units] of order.wants) this.product(id).reserved -= units
    Object.assign(order, {
      ...{ status: 'cancelled', cancelReason: reason, reservation, version: order.version + 1 },
      paymentState: this.#endState({ counted: order.counted, cancelReason: reason }),
      owed: final > DUST ? final : order.owed,
    })
  }
}
