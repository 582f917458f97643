// Write scenarios of late money: a part of scenario.ts.

import { expireOrder } from '../../src/db/order.ts'
import { saveAssetRates } from '../../src/db/asset_rate.ts'
import { assessLatePayments, recordReport } from '../../src/db/payment.ts'
import type { LatePolicy } from '../../src/domain/late.ts'
import { putAddresses } from './address.ts'
import { buildLine } from './builder.ts'
import type { Scenario } from './scenario.ts'
import { buildObservation, runOf } from './shop.ts'
import { until } from './until.ts'

const ACCEPT_LATE: LatePolicy = { accepts: true, withinMs: 3_600_000, driftBps: 200, rateAgeMs: 3_600_000 }
const RATES = [{ asset: 'ETH', rateMinor: 200_000n }] as const

export const LATE_SCENARIOS: Readonly<Record<string, Scenario>> = {
  'late money buys its order again': {
    of: 'assessLatePayments decide_late_money open_replacement order_money',
    prepare: async ({ shop }) => {
      const lines = [await shop.product(), await shop.product()].map(({ productId }) => buildLine({ productId }))
      const order = await shop.order({ lines, windowMs: 1, graceMs: 0 })
      const run = runOf(order)
      await shop.catchUp()
      await until(async () => (await expireOrder(shop.worker, run.next())).status === 'cancelled')
      await saveAssetRates(shop.api, 'EUR', RATES)
      await putAddresses(shop.test, 1)
      const firstSeenAt = new Date(order.expiresAt.getTime() + 1_000)
      await recordReport(shop.api, 'w1', [buildObservation(order, { firstSeenAt })])
      return ({ worker }) => assessLatePayments(worker, order.orderId, ACCEPT_LATE)
    },
  },
  'prices of coins are published': {
    of: 'saveAssetRates',
    prepare:
      async () =>
      ({ api }) =>
        saveAssetRates(api, 'EUR', RATES),
    // The time of the price.
    rewrites: ['asset_rate'],
  },
}
