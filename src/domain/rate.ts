// Rates: the price of a coin, as the median of several sources that agree. A source that lies alone is left out; a jump
// is refused until it has lasted. Prices are exact integers.

import { FIAT_DECIMALS, MAX_FIAT_MINOR } from './money.ts'

export const RATE_SOURCES = ['kraken', 'coinbase', 'bitstamp'] as const
export type RateSourceName = (typeof RATE_SOURCES)[number]
/** `base`: the URL to ask instead of the exchange's own. */
export type RateSourceChoice = { name: RateSourceName; base: string | undefined }

export const RATE_SOURCES_RULE = `must be sources out of ${RATE_SOURCES.join(', ')}, each once, separated by commas, each as NAME or NAME=URL`
/** `kraken,coinbase=https://mirror.example`; undefined where a word is no source, or is there twice. Empty: no source. */
export function parseRateSources(list: string): readonly RateSourceChoice[] | undefined {
  const words = list
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
  const found = words.flatMap((word) => {
    const [, text = '', base] = /^([^=]*)(?:=(.*))?$/.exec(word) ?? []
    const name = RATE_SOURCES.find((each) => each === text)
    return name === undefined || (base !== undefined && !isBase(base)) ? [] : [{ name, base }]
  })
  const isRight = found.length === words.length && new Set(found.map(({ name }) => name)).size === found.length
  return isRight ? found : undefined
}

/** Without a query, a fragment or a login: paths are appended to it, and it may be logged. */
function isBase(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, search, hash, username, password } = new URL(text)
  return /^https?:$/.test(protocol) && search + hash + username + password === ''
}

export const RATE_DEFAULTS = {
  leastSources: 2,
  everyMs: 20_000,
  /** Five turns may fail. */
  maxAgeMs: 120_000,
  /** Between exchanges, prices of these assets usually differ by less than half of this. */
  maxSpreadBps: 100,
  maxJumpBps: 1_000,
  /** Longer than a flash crash of one exchange, and than the age at which the last rate ends anyway. */
  jumpHoldMs: 600_000,
} as const

/** Decimals of a price as it is computed with; more than any exchange gives. */
const PRICE_DECIMALS = 18
const PRICE = /^(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,18}))?$/
const MINOR = 10n ** BigInt(PRICE_DECIMALS - FIAT_DECIMALS)

/** "2512.34" -> 2512.34 × 10^18; undefined unless a plain decimal of at least one cent, without sign or exponent. */
export function parsePrice(text: string): bigint | undefined {
  const [, whole, fraction = ''] = PRICE.exec(text) ?? []
  if (whole === undefined) return undefined
  const price = BigInt(whole + fraction.padEnd(PRICE_DECIMALS, '0'))
  return price < MINOR || price > MAX_FIAT_MINOR * MINOR ? undefined : price
}

/** A price that a source gave: as it wrote it, exact, and when it was read by both clocks (the first only grows). */
export type SourcePrice = { source: RateSourceName; text: string; price: bigint; readAtMs: number; readAt: Date }

/** Which prices made a rate, and when the oldest of them was read. Stored with each quote. */
export type RateOrigin = { rateId: string; madeAt: Date; prices: readonly SourcePrice[] }
/** Minor units per coin. Without an origin: fixed by the configuration. */
export type Rate = { rateMinor: bigint; origin?: RateOrigin | undefined }
/** There is no rate now; after this time there may be one. */
export type RateOutage = { retryAfterMs: number }

export type RateRules = {
  /** How many sources must agree. */
  leastSources: number
  maxAgeMs: number
  /** A source further from the median than this is left out. In 1/10,000. */
  maxSpreadBps: bigint
  /** A rate further from the last accepted one than this is a jump. In 1/10,000. */
  maxJumpBps: bigint
  /** A jump that has lasted this long is accepted. */
  jumpHoldMs: number
}

export const RATE_REFUSALS = ['sources', 'spread', 'jump'] as const
/** sources: too few fresh prices. spread: too few that agree. jump: too far from the last accepted rate. */
export type RateRefusal = (typeof RATE_REFUSALS)[number]

type AcceptedPrice = { rateMinor: bigint; prices: readonly SourcePrice[]; readAtMs: number }
/** `jump`: the level that differs too much from the last accepted one, and since when. */
export type RateState = {
  accepted: AcceptedPrice | undefined
  jump: { sinceMs: number; rateMinor: bigint } | undefined
}
export const NO_RATE: RateState = { accepted: undefined, jump: undefined }

const BPS = 10_000n
const distance = (a: bigint, b: bigint): bigint => (a > b ? a - b : b - a)
const isWithin = (value: bigint, from: bigint, bps: bigint): boolean => distance(value, from) * BPS <= from * bps

/** The middle one of an odd number; of an even number the mean of the two in the middle, rounded down. */
export function medianOf(values: readonly bigint[]): bigint {
  const sorted = values.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? 0n
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0n) + upper) / 2n
}

/** Largest difference between the prices, in 1/10,000 of their median. */
export function spreadOf(prices: readonly bigint[]): bigint {
  const middle = medianOf(prices)
  if (middle === 0n) return 0n
  const least = prices.reduce((a, b) => (a < b ? a : b))
  const most = prices.reduce((a, b) => (a > b ? a : b))
  return ((most - least) * BPS) / middle
}

/**
 * Judges the newest price of each source. The accepted rate is rounded down to a cent, so that the amount due is never
 * too small. A refusal leaves the last accepted rate as it is; it still ends with its age.
 */
export function judgeRate(
  state: RateState,
  prices: readonly SourcePrice[],
  nowMs: number,
  rules: RateRules,
): { state: RateState; refusal: RateRefusal | undefined } {
  const fresh = prices.filter(({ readAtMs }) => nowMs - readAtMs <= rules.maxAgeMs)
  if (fresh.length < rules.leastSources) return { state, refusal: 'sources' }
  const middle = medianOf(fresh.map(({ price }) => price))
  const agreeing = fresh.filter(({ price }) => isWithin(price, middle, rules.maxSpreadBps))
  if (agreeing.length < rules.leastSources) return { state, refusal: 'spread' }
  const rateMinor = medianOf(agreeing.map(({ price }) => price)) / MINOR
  const { accepted } = state
  if (accepted !== undefined && !isWithin(rateMinor, accepted.rateMinor, rules.maxJumpBps)) {
    const { jump } = state
    const isLasting = jump !== undefined && isWithin(rateMinor, jump.rateMinor, rules.maxJumpBps)
    const sinceMs = isLasting ? jump.sinceMs : nowMs
    if (nowMs - sinceMs < rules.jumpHoldMs)
      return { state: { accepted, jump: { sinceMs, rateMinor } }, refusal: 'jump' }
  }
  const readAtMs = Math.min(...agreeing.map((each) => each.readAtMs))
  return { state: { accepted: { rateMinor, prices: agreeing, readAtMs }, jump: undefined }, refusal: undefined }
}

/** The rate to quote with: none while a jump is undecided, or once the oldest of its prices is too old. */
export function currentRate({ accepted, jump }: RateState, nowMs: number, rules: RateRules): AcceptedPrice | undefined {
  if (accepted === undefined || jump !== undefined || nowMs - accepted.readAtMs > rules.maxAgeMs) return undefined
  return accepted
}
