// Kill chaos with money. `npm run chaos:kill` plays the full numbers, and any seed again.

import { expect, test } from '@jest/globals'
import { playKills } from '../support/kill/play.ts'
import { count, seed } from '../support/scale.ts'

const PAYMENTS = count(60, 500)
const REFUNDS = count(20, 200)
const KILLS = count(10, 100)
const SETTLE_WITHIN_MS = 400_000

test(`${PAYMENTS} payments are credited once and ${REFUNDS} refunds sent once, whatever is killed (seed ${seed})`, async () => {
  const said: string[] = []
  const report = await playKills({
    ...{ payments: PAYMENTS, refunds: REFUNDS, kills: KILLS, seed, settleWithinMs: SETTLE_WITHIN_MS },
    log: (line) => void said.push(line),
  })
  expect({ differences: report.differences, said: report.differences.length === 0 ? [] : said }).toEqual({
    differences: [],
    said: [],
  })
  expect(report.outputs).toBe(PAYMENTS)
  expect(report.refundsPaid).toBeGreaterThan(REFUNDS / 2)
}, 1_800_000)
