// Limits and arithmetic of order lines. The guard itself is the database's.

export const MAX_LINES = 100
export const MAX_QUANTITY_PER_LINE = 1_000
export const PRODUCT_ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

export type Line = { productId: string; quantity: number; unitPriceMinor: bigint }

/** What one product lacks for an order, as told to the caller. */
export type Shortage = { productId: string; wanted: bigint; available: bigint }

/** Quantities summed per product, in product order: splitting a line never changes the verdict. */
export function quantitiesOf(lines: readonly Pick<Line, 'productId' | 'quantity'>[]): Map<string, number> {
  const sums = new Map<string, number>()
  for (const line of lines) sums.set(line.productId, (sums.get(line.productId) ?? 0) + line.quantity)
  return new Map([...sums].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
