// Catalogue: the products that the shop sells. Orders have their own copy of name and price, so a change here changes
// no order.

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import { DomainError } from '../domain/failure.ts'
import { formatFiat } from '../domain/money.ts'
import { answerOnce, type Attempt } from './idempotency.ts'
import type { Database } from './connection/pool.ts'

/** As stored with an answer, so that a repeated call returns the same bytes: 64-bit numbers and prices are text. */
const PRODUCT = z.object({
  productId: z.string(),
  name: z.string(),
  unitPrice: z.string(),
  currency: z.string(),
  isActive: z.boolean(),
  version: z.string(),
  updatedAt: z.string(),
})
export type ProductView = z.output<typeof PRODUCT>

const columns = sql.fragment`product_id as "productId", name, unit_price::text as "unitPrice", currency,
  is_active as "isActive", version::text, to_char(updated_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "updatedAt"`

export async function findProduct(
  database: Pick<Database, 'sql'>,
  productId: string,
): Promise<ProductView | undefined> {
  const product = await database.sql.maybeOne(sql.type(PRODUCT)`
    select ${columns} from product where product_id = ${productId}`)
  return product ?? undefined
}

/** Products on sale, by id. `after` is the last id of the previous page. */
export async function listProducts(
  database: Pick<Database, 'sql'>,
  page: { limit: number; offset: number; after: string | undefined },
): Promise<readonly ProductView[]> {
  const after = page.after === undefined ? sql.fragment`` : sql.fragment`and product_id > ${page.after}`
  return database.sql.any(sql.type(PRODUCT)`
    select ${columns} from product where is_active ${after}
    order by product_id limit ${page.limit} offset ${page.offset}`)
}

export type ProductToPut = {
  productId: string
  name: string
  unitPriceMinor: bigint
  currency: string
  isActive: boolean
  /** 0: the product must be new. Undefined: no comparison. */
  expectedVersion: number | undefined
}

/**
 * Creates a product with an empty stock row, or replaces its catalogue entry; once per attempt.
 * @throws {DomainError} VERSION_MISMATCH, and those of answerOnce
 */
export const putProduct = (
  database: Pick<Database, 'sql'>,
  attempt: Attempt,
  product: ProductToPut,
  deadline: number,
): Promise<{ answer: ProductView; isReplay: boolean }> =>
  answerOnce(database, attempt, PRODUCT, (tx) => writeProduct(tx, product), deadline)

async function writeProduct(tx: DatabaseTransactionConnection, product: ProductToPut): Promise<ProductView> {
  const { productId, name, currency, isActive, expectedVersion } = product
  const unitPrice = formatFiat(product.unitPriceMinor)
  const created = await tx.maybeOne(sql.type(PRODUCT)`
    insert into product (product_id, name, unit_price, currency, is_active)
    values (${productId}, ${name}, ${unitPrice}::numeric, ${currency}, ${isActive})
    on conflict do nothing returning ${columns}`)
  if (created !== null) {
    refuseOtherVersion(expectedVersion, '0')
    await tx.query(sql.type(z.unknown())`insert into stock (product_id) values (${productId})`)
    return created
  }
  // Race with accepting orders, which read prices under the locks of their stock rows: this locks the stock row first,
  // so that each order is either before or after this change. Every product has a stock row.
  await tx.query(sql.type(z.unknown())`select from stock where product_id = ${productId} for no key update`)
  const updated = await tx.one(sql.type(PRODUCT.extend({ before: z.string() }))`
    update product set name = ${name}, unit_price = ${unitPrice}::numeric, currency = ${currency}, is_active = ${isActive}
    where product_id = ${productId} returning ${columns}, (version - 1)::text as before`)
  refuseOtherVersion(expectedVersion, updated.before)
  return PRODUCT.parse(updated)
}

/** The exception rolls the transaction back. */
function refuseOtherVersion(expected: number | undefined, found: string): void {
  if (expected === undefined || String(expected) === found) return
  throw new DomainError('VERSION_MISMATCH', 'The product has changed since it was read.', {
    metadata: { version: found },
  })
}
