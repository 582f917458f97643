// Rate book: refresh-ahead cache of the rates of all assets. A background loop reads the sources; the path of an order
// looks into a Map and waits for nothing.

import { randomUUID } from 'node:crypto'
import type { Asset } from '../domain/payment.ts'
import {
  currentRate,
  judgeRate,
  NO_RATE,
  spreadOf,
  type Rate,
  type RateOutage,
  type RateRules,
  type RateSourceName,
  type RateState,
  type SourcePrice,
} from '../domain/rate.ts'
import { repeat } from '../repeat.ts'
import type { Logger, Registry } from '../telemetry.ts'
import { RateSourceError } from './http.ts'
import { createRateMetrics, type RateReading } from './metrics.ts'
import { SYSTEM_CLOCKS, type RateClocks, type RateSource } from './source.ts'

/** No client is told to come back sooner. */
const MIN_RETRY_MS = 1_000

export type RateBookOptions = {
  assets: readonly Asset[]
  sources: readonly RateSource[]
  rules: RateRules
  /** From the end of one turn to the begin of the next. */
  everyMs: number
  registry: Registry
  logger: Pick<Logger, 'warn' | 'info'>
  clocks?: RateClocks
  /**
   * The last rates of an earlier process, with their ages. The first rate is compared with them as a jump from them; they
   * are given to no order. While they cannot be read, no rate is accepted.
   */
  findEarlier?: () => Promise<readonly { asset: Asset; rateMinor: bigint; ageMs: number }[]>
}

export type RateBook = {
  rateOf: (asset: Asset) => Rate | RateOutage
  /** Reads all sources once and judges what they said. Rejects only while the earlier rates cannot be read. */
  refresh: (signal: AbortSignal) => Promise<void>
  /** Refreshes until stopped. @param onTurn called before each turn */
  run: (signal: AbortSignal, onTurn: () => void) => Promise<void>
}

type Entry = { state: RateState; rate: Rate | undefined; refusal: string | undefined; prices: Map<string, SourcePrice> }

export function createRateBook(options: RateBookOptions): RateBook {
  const { assets, sources, rules, everyMs, registry, logger, clocks = SYSTEM_CLOCKS } = options
  const entries = new Map<Asset, Entry>(
    assets.map((asset) => [asset, { state: NO_RATE, rate: undefined, refusal: undefined, prices: new Map() }]),
  )
  /** Until when a source asked not to be asked. */
  const pausedUntil = new Map<RateSourceName, number>()
  const metrics = createRateMetrics(registry, () =>
    [...entries].map(([asset, entry]) => readingOf(asset, entry, clocks.now(), rules)),
  )
  let nextTurnAt = clocks.now()
  let hasEarlier = options.findEarlier === undefined

  async function read(source: RateSource, asset: Asset, signal: AbortSignal): Promise<void> {
    if (clocks.now() < (pausedUntil.get(source.name) ?? Number.NEGATIVE_INFINITY)) return
    const labels = { asset, source: source.name }
    try {
      const price = await source.read(asset, signal)
      entries.get(asset)?.prices.set(source.name, price)
      metrics.reads.inc({ ...labels, outcome: 'ok' })
    } catch (error) {
      // A stop is no failure of the source.
      if (signal.aborted) return
      const { reason, pauseMs } =
        error instanceof RateSourceError ? error : { reason: 'unexpected' as const, pauseMs: 0 }
      if (pauseMs > 0) pausedUntil.set(source.name, clocks.now() + pauseMs)
      metrics.reads.inc({ ...labels, outcome: reason })
      logger.warn({ ...labels, outcome: reason, err: error }, 'rate source not read')
    }
  }

  async function recallEarlier(): Promise<void> {
    if (hasEarlier) return
    for (const { asset, rateMinor, ageMs } of (await options.findEarlier?.()) ?? []) {
      const entry = entries.get(asset)
      // Older than any rate that is quoted: its prices were read by another process.
      const readAtMs = clocks.now() - Math.max(ageMs, rules.maxAgeMs + 1)
      if (entry !== undefined) entry.state = { accepted: { rateMinor, prices: [], readAtMs }, jump: undefined }
    }
    hasEarlier = true
  }

  function judge(asset: Asset, entry: Entry): void {
    const { state, refusal } = judgeRate(entry.state, [...entry.prices.values()], clocks.now(), rules)
    if (state.accepted !== undefined && state.accepted !== entry.state.accepted) entry.rate = rateFrom(state.accepted)
    entry.state = state
    if (refusal !== undefined) metrics.refusals.inc({ asset, reason: refusal })
    if (refusal !== entry.refusal) {
      if (refusal === undefined) logger.info({ asset }, 'rate accepted again')
      else logger.warn({ asset, refusal }, 'rate refused')
    }
    entry.refusal = refusal
  }

  async function refresh(signal: AbortSignal): Promise<void> {
    await recallEarlier()
    await Promise.all(assets.flatMap((asset) => sources.map((source) => read(source, asset, signal))))
    if (signal.aborted) return
    for (const [asset, entry] of entries) judge(asset, entry)
    nextTurnAt = clocks.now() + everyMs
  }

  return {
    rateOf: (asset) => {
      const entry = entries.get(asset)
      const isCurrent = entry !== undefined && currentRate(entry.state, clocks.now(), rules) !== undefined
      if (isCurrent && entry.rate !== undefined) return entry.rate
      // Nothing changes before the next turn has ended.
      return { retryAfterMs: Math.max(MIN_RETRY_MS, Math.ceil(nextTurnAt - clocks.now())) }
    },
    refresh,
    run: (signal, onTurn) =>
      repeat(() => refresh(signal), {
        ...{ signal, everyMs, onTurn },
        onError: (error) => logger.warn({ err: error }, 'rates not refreshed'),
      }),
  }
}

/** Each accepted rate has an id of its own, under which its prices are stored with the first quote that uses it. */
function rateFrom({ rateMinor, prices }: { rateMinor: bigint; prices: readonly SourcePrice[] }): Rate {
  const madeAt = new Date(Math.min(...prices.map(({ readAt }) => readAt.getTime())))
  return { rateMinor, origin: { rateId: randomUUID(), madeAt, prices } }
}

function readingOf(asset: Asset, { state, prices }: Entry, nowMs: number, rules: RateRules): RateReading {
  const fresh = [...prices.values()].filter(({ readAtMs }) => nowMs - readAtMs <= rules.maxAgeMs)
  return {
    asset,
    isAvailable: currentRate(state, nowMs, rules) !== undefined,
    ageS: state.accepted && (nowMs - state.accepted.readAtMs) / 1_000,
    spread: fresh.length === 0 ? undefined : Number(spreadOf(fresh.map(({ price }) => price))) / 10_000,
  }
}
