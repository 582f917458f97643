// Activities of the naive saga on the same tables as ours: each is a plain transaction that locks, reads and writes.

import { randomBytes } from 'node:crypto'
import type { Database } from '../../src/db/connection/pool.ts'
import { statement } from '../../src/db/connection/pool.ts'

export type NaiveLine = { productId: string; quantity: number; unitPrice: string }

const PUT_CUSTOMER = statement('naive_customer', 'insert into customer (user_id) values ($1) on conflict do nothing')
const PUT_ORDER = statement(
  'naive_order',
  `insert into orders (order_id, user_id, currency, total, address_sealed) values ($1, $2, 'EUR', $3, $4)`,
)
const PUT_LINE = statement(
  'naive_line',
  `insert into order_line (order_id, line_no, product_id, product_version, name, quantity, unit_price)
   select $1, $2, product_id, version, name, $4, unit_price from product where product_id = $3`,
)
const PUT_INVOICE = statement(
  'naive_invoice',
  `insert into invoice (order_id, network, asset, address, amount_due, rate, expires_at, grace, confirm_within)
   values ($1, 'ethereum', 'ETH', $2, 1, 2000.00, clock_timestamp() + interval '15 minutes', interval '1 minute', interval '1 hour')`,
)

const LOCK_STOCK = statement(
  'naive_lock_stock',
  'select on_hand - reserved as available from stock where product_id = $1 for update',
)
const FIND_HOLD = statement('naive_find_hold', 'select from reservation where order_id = $1 and product_id = $2')
const HOLD = statement(
  'naive_hold',
  `insert into reservation (order_id, product_id, quantity, expires_at)
   values ($1, $2, $3, clock_timestamp() + interval '15 minutes')`,
)
const TAKE = statement('naive_take', 'update stock set reserved = reserved + $2 where product_id = $1')
const NOTE_MOVEMENT = statement(
  'naive_movement',
  `insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
   values ($1, $2, 1, $3, $4, $5, 'naive')`,
)

/** Always true. Sets the transaction's actor to one that may ship. */
const AS_ADMIN = `(select set_config('holdfast.actor', '{"actor":"user:1","role":"admin"}', true)) is not null`

const SET_PAID = statement(
  'naive_paid',
  `update orders set status = 'processing', payment_state = 'paid' where order_id = $1 and status = 'pending'`,
)
const COMMIT_HOLDS = statement(
  'naive_commit',
  `update reservation set state = 'committed' where order_id = $1 and state = 'held'`,
)
const SET_SHIPPED = statement(
  'naive_shipped',
  `update orders set status = 'shipped' where order_id = $1 and status = 'processing' and ${AS_ADMIN}`,
)
const CONSUME_HOLDS = statement(
  'naive_consume',
  `update reservation set state = 'consumed' where order_id = $1 and state = 'committed' returning product_id, quantity`,
)
const TAKE_OFF_SHELF = statement(
  'naive_off_shelf',
  'update stock set on_hand = on_hand - $2, reserved = reserved - $2 where product_id = $1',
)
const SET_DELIVERED = statement(
  'naive_delivered',
  `update orders set status = 'delivered' where order_id = $1 and status = 'shipped' and ${AS_ADMIN}`,
)

/** Writes what a front would before it starts the workflow. */
export async function putNaiveOrder(
  database: Database,
  orderId: string,
  userId: number,
  lines: readonly NaiveLine[],
): Promise<void> {
  const cents = lines.reduce((sum, line) => sum + Number(line.unitPrice.replace('.', '')) * line.quantity, 0)
  await database.transaction(async (tx) => {
    await tx.run(PUT_CUSTOMER, [userId])
    await tx.run(PUT_ORDER, [orderId, userId, (cents / 100).toFixed(2), randomBytes(64)])
    for (const [at, line] of lines.entries()) await tx.run(PUT_LINE, [orderId, at + 1, line.productId, line.quantity])
    await tx.run(PUT_INVOICE, [orderId, `0x${randomBytes(20).toString('hex')}`])
  })
}

export type NaiveActivities = ReturnType<typeof createNaiveActivities>

/** @param reached called when an activity has ended, with its name, and the product where it is `reserve` */
export function createNaiveActivities(database: Database, reached: (orderId: string, name: string) => void) {
  return {
    reserve: async (orderId: string, { productId, quantity }: NaiveLine): Promise<void> => {
      await database.transaction(async (tx) => {
        const [stock] = await tx.run<{ available: bigint }>(LOCK_STOCK, [productId])
        const isHeld = (await tx.run(FIND_HOLD, [orderId, productId])).length > 0
        if (isHeld) return
        if (stock === undefined || stock.available < BigInt(quantity)) throw new Error('out of stock')
        await tx.run(HOLD, [orderId, productId, quantity])
        await tx.run(TAKE, [productId, quantity])
        await tx.run(NOTE_MOVEMENT, [productId, orderId, 'reserve', 0, quantity])
      })
      reached(orderId, `reserve ${productId}`)
    },

    confirmPayment: async (orderId: string): Promise<void> => {
      await database.transaction(async (tx) => {
        await tx.run(SET_PAID, [orderId])
        await tx.run(COMMIT_HOLDS, [orderId])
      })
      reached(orderId, 'confirmPayment')
    },

    ship: async (orderId: string): Promise<void> => {
      await database.transaction(async (tx) => {
        await tx.run(SET_SHIPPED, [orderId])
        const holds = await tx.run<{ product_id: string; quantity: bigint }>(CONSUME_HOLDS, [orderId])
        for (const { product_id: productId, quantity } of holds) {
          await tx.run(TAKE_OFF_SHELF, [productId, quantity])
          await tx.run(NOTE_MOVEMENT, [productId, orderId, 'consume', -quantity, -quantity])
        }
      })
      reached(orderId, 'ship')
    },

    deliver: async (orderId: string): Promise<void> => {
      await database.run(SET_DELIVERED, [orderId])
      reached(orderId, 'deliver')
    },
  }
}
