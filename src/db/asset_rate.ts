// The present price of each coin, as the api quotes it: other processes decide with it about late money, and an api that
// starts compares its first rate with it.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Asset } from '../domain/payment.ts'
import { formatFiat, parseFiat } from '../domain/money.ts'
import type { Database } from './connection/pool.ts'

export type AssetRate = { asset: Asset; rateMinor: bigint }

const ASSET_RATE = z.object({
  asset: z.string().transform((asset) => asset as Asset),
  rateMinor: z.string().transform((text) => parseFiat(text) ?? 0n),
  ageMs: z.number(),
})

/** The last price of each coin that any api stored within `withinMs`, with its age. */
export async function findAssetRates(
  database: Pick<Database, 'sql'>,
  currency: string,
  withinMs: number,
): Promise<readonly (AssetRate & { ageMs: number })[]> {
  return database.sql.any(sql.type(ASSET_RATE)`
    select asset, rate as "rateMinor", extract(epoch from clock_timestamp() - at)::float8 * 1000 as "ageMs"
    from asset_rate where currency = ${currency} and at > clock_timestamp() - ${withinMs} * interval '1 millisecond'`)
}

/** Stores prices with the present time. Repeated by every api process: the last one counts. */
export async function saveAssetRates(
  database: Pick<Database, 'sql'>,
  currency: string,
  rates: readonly AssetRate[],
): Promise<void> {
  const rows = rates.map(({ asset, rateMinor }) => ({ asset, rate: formatFiat(rateMinor) }))
  // In order of the key, so that two processes never wait for each other in a circle.
  await database.sql.query(sql.type(z.unknown())`
    insert into asset_rate (asset, currency, rate)
    select r.asset, ${currency}, r.rate from jsonb_to_recordset(${sql.jsonb(rows)}) as r (asset text, rate numeric)
    order by r.asset
    on conflict (asset, currency) do update set rate = excluded.rate, at = clock_timestamp()`)
}
