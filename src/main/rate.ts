// Rates of the api: fixed ones by the configuration, all others from the price sources.

import type { Config } from '../config.ts'
import { findAssetRates } from '../db/asset_rate.ts'
import type { Database } from '../db/connection/pool.ts'
import { RETRY_HINT_MS } from '../domain/failure.ts'
import { parseFiat } from '../domain/money.ts'
import type { Asset } from '../domain/payment.ts'
import { parseRateSources, type Rate, type RateOutage } from '../domain/rate.ts'
import { createRateBook } from '../rate/book.ts'
import { createGetJson } from '../rate/http.ts'
import { createRateSource, SYSTEM_CLOCKS } from '../rate/source.ts'
import { enabledAssetsOf } from './asset.ts'
import type { ServiceContext } from './process.ts'

/** A price that is older says little about today's: its move since would be taken for a jump. */
const EARLIER_WITHIN_MS = 86_400_000

type Rates = {
  rateOf: (asset: Asset) => Rate | RateOutage
  /** Refreshes until the process stops; ends at once where all rates are fixed. */
  run: () => Promise<void>
}

/** HOLDFAST_<ASSET>_RATE fixes a rate; HOLDFAST_RATE_SOURCES is for the other assets. Both are explicit choices. */
export function createRates(
  service: Pick<ServiceContext<'api'>, 'config' | 'logger' | 'registry' | 'stopping' | 'beat' | 'endBeat'>,
  database: Pick<Database, 'sql'>,
): Rates {
  const { config, logger, registry, stopping, beat, endBeat } = service
  const fixed = fixedRatesOf(config)
  const assets = enabledAssetsOf(config.HOLDFAST_ENABLED_ASSETS).filter((asset) => !fixed.has(asset))
  // A list that cannot be parsed has refused the start.
  const choices = parseRateSources(config.HOLDFAST_RATE_SOURCES) ?? []
  const hasBook = assets.length > 0 && choices.length > 0
  const everyMs = config.HOLDFAST_RATE_EVERY_MS
  const maxAgeMs = config.HOLDFAST_RATE_MAX_AGE_MS
  const deps = { get: createGetJson(), currency: config.HOLDFAST_CURRENCY, maxAgeMs, clocks: SYSTEM_CLOCKS }
  const book = hasBook
    ? createRateBook({
        ...{ assets, everyMs, registry, logger },
        findEarlier: () => findAssetRates(database, config.HOLDFAST_CURRENCY, EARLIER_WITHIN_MS),
        sources: choices.map((choice) => createRateSource(choice, deps)),
        rules: {
          leastSources: config.HOLDFAST_RATE_LEAST_SOURCES,
          maxAgeMs,
          maxSpreadBps: BigInt(config.HOLDFAST_RATE_MAX_SPREAD_BPS),
          maxJumpBps: BigInt(config.HOLDFAST_RATE_MAX_JUMP_BPS),
          jumpHoldMs: config.HOLDFAST_RATE_JUMP_HOLD_MS,
        },
      })
    : undefined
  return {
    rateOf: (asset) => fixed.get(asset) ?? book?.rateOf(asset) ?? { retryAfterMs: RETRY_HINT_MS.chain },
    run: async () => {
      await book?.run(stopping, () => beat('rates'))
      endBeat('rates')
    },
  }
}

/** Assets without HOLDFAST_<ASSET>_RATE are absent. */
function fixedRatesOf(config: Config<'api'>): ReadonlyMap<Asset, Rate> {
  const table = new Map<Asset, Rate>()
  for (const asset of enabledAssetsOf(config.HOLDFAST_ENABLED_ASSETS)) {
    const rateMinor = parseFiat(config[`HOLDFAST_${asset}_RATE`] ?? '')
    // One that cannot be parsed has refused the start.
    if (rateMinor !== undefined) table.set(asset, { rateMinor })
  }
  return table
}
