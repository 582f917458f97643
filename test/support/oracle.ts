// Test oracles: a second implementation of rules that production computes in SQL: the total of an order (write_orders)
// and the amount due of a quote (quote_due). Amounts are integers: minor units of fiat, base units of a coin.

export const totalOf = (lines: readonly { quantity: number | bigint; unitPriceMinor: bigint }[]): bigint =>
  lines.reduce((sum, line) => sum + BigInt(line.quantity) * line.unitPriceMinor, 0n)

/** Base units due for a fiat total at a price of `rateMinor` minor units per coin, rounded up to one unit. */
export const quoteDue = (totalMinor: bigint, rateMinor: bigint, decimals: number): bigint =>
  (totalMinor * 10n ** BigInt(decimals) + rateMinor - 1n) / rateMinor
