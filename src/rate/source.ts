// Price sources: the public tickers of exchanges, each in the shape that its documentation gives. An answer must name the
// pair that was asked for where the exchange says it, and its last price must be a plain decimal.

import { z } from 'zod'
import type { Asset } from '../domain/payment.ts'
import { parsePrice, type RateSourceChoice, type RateSourceName, type SourcePrice } from '../domain/rate.ts'
import { RateSourceError, type GetJson } from './http.ts'

export type RateSource = {
  name: RateSourceName
  /** Rejects with RateSourceError. */
  read: (asset: Asset, signal: AbortSignal) => Promise<SourcePrice>
}

type Quoted = { text: string; /** The source's own time, in Unix seconds. */ atS?: number }
type Adapter = {
  base: string
  pathOf: (asset: Asset, currency: string) => string
  /** Undefined for an answer that is not the price of this pair. */
  parse: (answer: unknown, asset: Asset, currency: string) => Quoted | undefined
}

/** Kraken's old assets have a letter before each name, and its bitcoin is XBT. */
const KRAKEN_PAIR: Readonly<Record<Asset, (currency: string) => string>> = {
  BTC: (currency) => `XXBTZ${currency}`,
  LTC: (currency) => `XLTCZ${currency}`,
  ETH: (currency) => `XETHZ${currency}`,
  SOL: (currency) => `SOL${currency}`,
}
const KRAKEN = z.object({
  error: z.array(z.unknown()).max(0),
  // c: the last trade's price and volume.
  result: z.record(z.string(), z.object({ c: z.tuple([z.string()], z.unknown()) })),
})
const COINBASE = z.object({ data: z.object({ amount: z.string(), base: z.string(), currency: z.string() }) })
const BITSTAMP = z.object({
  last: z.string(),
  timestamp: z.string().regex(/^[0-9]{1,12}$/),
  /** Newer answers name the pair. */
  pair: z.string().optional(),
})

const ADAPTERS: Readonly<Record<RateSourceName, Adapter>> = {
  kraken: {
    base: 'https://api.kraken.com',
    pathOf: (asset, currency) => `/0/public/Ticker?pair=${KRAKEN_PAIR[asset](currency)}`,
    parse: (answer, asset, currency) => {
      const { result = {} } = KRAKEN.safeParse(answer).data ?? {}
      const pair = KRAKEN_PAIR[asset](currency)
      const found = Object.hasOwn(result, pair) ? result[pair] : undefined
      return found && { text: found.c[0] }
    },
  },
  coinbase: {
    base: 'https://api.coinbase.com',
    pathOf: (asset, currency) => `/v2/prices/${asset}-${currency}/spot`,
    parse: (answer, asset, currency) => {
      const { data } = COINBASE.safeParse(answer).data ?? {}
      return data?.base === asset && data.currency === currency ? { text: data.amount } : undefined
    },
  },
  bitstamp: {
    base: 'https://www.bitstamp.net',
    pathOf: (asset, currency) => `/api/v2/ticker/${`${asset}${currency}`.toLowerCase()}/`,
    parse: (answer, asset, currency) => {
      const ticker = BITSTAMP.safeParse(answer).data
      if (ticker === undefined || (ticker.pair ?? `${asset}/${currency}`) !== `${asset}/${currency}`) return undefined
      return { text: ticker.last, atS: Number(ticker.timestamp) }
    },
  },
}

export type RateClocks = {
  /** Monotonic milliseconds, for ages. */
  now: () => number
  /** Milliseconds since the epoch, for records and for the sources' own times. */
  wall: () => number
}
export const SYSTEM_CLOCKS: RateClocks = { now: () => performance.now(), wall: Date.now }

type SourceDeps = { get: GetJson; currency: string; maxAgeMs: number; clocks: RateClocks }

export function createRateSource({ name, base }: RateSourceChoice, deps: SourceDeps): RateSource {
  const { get, currency, maxAgeMs, clocks } = deps
  const { base: usual, pathOf, parse } = ADAPTERS[name]
  return {
    name,
    read: async (asset, signal) => {
      // A price is as old as the question, not as the answer.
      const [readAtMs, readAt] = [clocks.now(), new Date(clocks.wall())]
      const answer = await get(`${(base ?? usual).replace(/\/$/, '')}${pathOf(asset, currency)}`, signal)
      const quoted = parse(answer, asset, currency)
      const price = quoted && parsePrice(quoted.text)
      if (quoted === undefined || price === undefined) throw new RateSourceError('answer')
      const isStale = quoted.atS !== undefined && Math.abs(clocks.wall() - quoted.atS * 1_000) > maxAgeMs
      if (isStale) throw new RateSourceError('stale')
      return { source: name, text: quoted.text, price, readAtMs, readAt }
    },
  }
}
