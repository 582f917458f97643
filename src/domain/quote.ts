// What the shop signs of a quote: everything that a customer needs in order to pay the right amount to the right address
// in time. Clients build the text below from the answer that they got. Its form is fixed: another one gets a new first
// line.

export type QuoteTerms = {
  orderId: string
  network: string
  asset: string
  /** As it is shown, with its checksum. */
  address: string
  /** Base units, in decimal digits. */
  units: string
  /** The same amount in whole coins. */
  amountDecimal: string
  uri: string
  /** Fiat per whole coin, with two decimals. */
  rate: string
  /** Unix milliseconds. */
  expiresAtMs: bigint
}

/** Eleven lines, each ended by one line feed: the first is fixed, the others are a name, a space and a value. */
export const quoteText = (terms: QuoteTerms, keyId: string): string =>
  [
    'holdfast quote 1',
    `order ${terms.orderId}`,
    `network ${terms.network}`,
    `asset ${terms.asset}`,
    `address ${terms.address}`,
    `units ${terms.units}`,
    `amount ${terms.amountDecimal}`,
    `uri ${terms.uri}`,
    `rate ${terms.rate}`,
    `expires-ms ${terms.expiresAtMs}`,
    `key ${keyId}`,
    '',
  ].join('\n')

/** A value with a line feed could pretend to be another field: such a quote is not signed. */
export const isOneLineEach = (terms: QuoteTerms): boolean =>
  Object.values(terms).every((value) => !/[\n\r]/.test(value.toString()))
