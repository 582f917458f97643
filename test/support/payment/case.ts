// A case of payments: an order, and what is reported and done about it, step by step.

import { expect } from '@jest/globals'
import type { AcceptedOrder } from '../../../src/db/accept/accept.ts'
import { expireOrder } from '../../../src/db/order.ts'
import { assessLatePayments, assessPayments, recordReport } from '../../../src/db/payment.ts'
import type { ReportedObservation } from '../../../src/domain/chain.ts'
import type { TransferState } from '../../../src/domain/payment.ts'
import { buildObservation, nextOf, runOf, type Run, type TestShop } from '../shop.ts'
import { until } from '../until.ts'

const HOUR_MS = 3_600_000
/** Late money buys an expired order again. */
const POLICY = { accepts: true, withinMs: 24 * HOUR_MS, driftBps: 200, rateAgeMs: HOUR_MS }

type Fact = ReportedObservation
/** One order and all that happens to it. */
export class PaymentCase {
  readonly shop: TestShop
  readonly order: AcceptedOrder
  readonly run: Run
  constructor(shop: TestShop, order: AcceptedOrder) {
    this.shop = shop
    this.order = order
    this.run = runOf(order)
  }
  get due(): bigint {
    return this.order.amountDue
  }
  /** An output; by default the amount due, final, seen in time. */
  out(overrides: Partial<Fact> = {}): Fact {
    return buildObservation(this.order, { firstSeenAt: this.order.createdAt, ...overrides })
  }
  lateOut(overrides: Partial<Fact> = {}): Fact {
    return this.out({ firstSeenAt: new Date(this.order.expiresAt.getTime() + HOUR_MS), ...overrides })
  }
  /** Reports facts, and assesses the order after each. */
  async hear(...facts: readonly Fact[]): Promise<this> {
    for (const fact of facts) {
      await recordReport(this.shop.api, 'w1', [fact])
      await this.assess()
    }
    return this
  }
  async assess(): Promise<void> {
    const { status } = await this.shop.state(this.order)
    const isEnded = status === 'cancelled' || status === 'delivered'
    if (isEnded) await assessLatePayments(this.shop.worker, this.order.orderId, POLICY)
    else await assessPayments(this.shop.worker, this.run.next())
  }
  /** The states that follow, reported of the same output. */
  async follow(fact: Fact, ...states: readonly TransferState[]): Promise<Fact> {
    let last = fact
    for (const state of states) {
      last = nextOf(last, { state })
      await this.hear(last)
    }
    return last
  }
  async expire(): Promise<this> {
    await until(async () => (await expireOrder(this.shop.worker, this.run.next())).status === 'cancelled')
    return this
  }
  async ask(...commands: readonly ('cancel' | 'ship' | 'deliver')[]): Promise<this> {
    for (const command of commands) expect(await this.shop.ask(command, this.run.next())).toMatchObject({ ok: true })
    return this
  }
  async is(status: string, paymentState: string, flags: readonly string[] = [], owed: bigint | null = null) {
    const [row] = await this.shop.query(
      `select status, payment_state as "paymentState", payment_flags as flags,
         (select d.amount from refund_due d where d.order_id = o.order_id) as owed
       from orders o where order_id = $1`,
      [this.order.orderId],
    )
    expect(row).toEqual({ status, paymentState, flags, owed: owed?.toString() ?? null })
  }
  /** Units that the order holds or has taken. */
  async holds(units: bigint): Promise<void> {
    expect((await this.shop.stock(this.order)).reserved).toBe(units)
  }
  async replacement(): Promise<string | null> {
    const [row] = await this.shop.query<{ id: string | null }>(
      'select replacement_id as id from late_decision where order_id = $1',
      [this.order.orderId],
    )
    return row?.id ?? null
  }
  async told(status: string): Promise<number> {
    const rows = await this.shop.query('select from notification where order_id = $1 and status = $2', [
      this.order.orderId,
      status,
    ])
    return rows.length
  }
}
