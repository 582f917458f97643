// Stock levels: read for display, and corrected by operators. Orders change stock elsewhere, in the transactions that
// accept and end them.

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import { DomainError } from '../domain/failure.ts'
import { answerOnce, type Attempt } from './idempotency.ts'
import type { Database } from './connection/pool.ts'

const MAX_ON_HAND = 1_000_000_000_000n

/** As stored with an answer, so that a repeated call returns the same bytes: 64-bit numbers are text. */
const STOCK = z.object({ productId: z.string(), onHand: z.string(), reserved: z.string(), version: z.string() })
export type StockView = z.output<typeof STOCK>

const columns = sql.fragment`product_id as "productId", on_hand::text as "onHand", reserved::text, version::text`

/** Stock rows in any order. For display only: decisions are made under the rows' locks. */
export const readStock = (
  database: Pick<Database, 'sql'>,
  productIds: readonly string[],
): Promise<readonly StockView[]> =>
  database.sql.any(sql.type(STOCK)`
    select ${columns} from stock where product_id = any (${sql.array([...productIds], 'text')})`)

export type Adjustment = {
  productId: string
  /** Added to the units on hand, or the new count. */
  change: { kind: 'delta' | 'onHand'; units: bigint }
  actor: string
  reason: string
  expectedVersion: number | undefined
}

/**
 * Changes the units on hand and records the movement, once per attempt.
 * @throws {DomainError} NOT_FOUND, VERSION_MISMATCH, STOCK_BELOW_RESERVED, AMOUNT_OUT_OF_RANGE, and those of answerOnce
 */
export const adjustStock = (
  database: Pick<Database, 'sql'>,
  attempt: Attempt,
  adjustment: Adjustment,
  deadline: number,
): Promise<{ answer: StockView; isReplay: boolean }> =>
  answerOnce(
    database,
    { ...attempt, by: { ...attempt.by, reason: adjustment.reason } },
    STOCK,
    (tx) => writeAdjustment(tx, adjustment),
    deadline,
  )

async function writeAdjustment(tx: DatabaseTransactionConnection, adjustment: Adjustment): Promise<StockView> {
  const { productId, change, actor, reason, expectedVersion } = adjustment
  // Race with orders that reserve or ship: the row is read under the lock that it is changed under.
  const stock = await tx.maybeOne(sql.type(z.object({ onHand: z.bigint(), reserved: z.bigint(), version: z.bigint() }))`
    select on_hand as "onHand", reserved, version from stock where product_id = ${productId} for no key update`)
  if (stock === null)
    throw new DomainError('NOT_FOUND', 'There is no such product.', { metadata: { product_id: productId } })
  if (expectedVersion !== undefined && BigInt(expectedVersion) !== stock.version)
    throw new DomainError('VERSION_MISMATCH', 'The stock has changed since it was read.', {
      metadata: { version: String(stock.version) },
    })
  const onHand = change.kind === 'delta' ? stock.onHand + change.units : change.units
  if (onHand < stock.reserved)
    throw new DomainError(
      'STOCK_BELOW_RESERVED',
      'Fewer units would remain than orders have reserved, or less than none.',
      {
        metadata: { product_id: productId, reserved: String(stock.reserved) },
      },
    )
  if (onHand > MAX_ON_HAND)
    throw new DomainError('AMOUNT_OUT_OF_RANGE', `There cannot be more than ${MAX_ON_HAND} units of a product.`)
  await tx.query(sql.type(z.unknown())`
    insert into stock_movement (product_id, kind, on_hand_delta, reserved_delta, actor, reason)
    values (${productId}, 'adjust', ${onHand - stock.onHand}, 0, ${actor}, ${reason})`)
  return tx.one(sql.type(STOCK)`
    update stock set on_hand = ${onHand}, version = version + 1 where product_id = ${productId} returning ${columns}`)
}
