// The present price of each coin, as the api quotes it: other processes decide with it about late money.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Asset } from '../domain/payment.ts'
import { formatFiat } from '../domain/money.ts'
import type { Database } from './connection/pool.ts'

export type AssetRate = { asset: Asset; rateMinor: bigint }

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
