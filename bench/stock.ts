// The stock benchmark: one hot product, availability in a very large shop, and the cost of the audit. Compares ours
// with and without one of its parts, and with the bare engine.

import { figureOf, type Benchmark, type Round, type System } from './benchmark.ts'
import { acceptRateOf, createAccept, ENTRIES } from './order_flow/accept.ts'
import { createBare } from './order_flow/bare.ts'
import { openSetup } from './order_flow/setup.ts'
import type { BenchDatabase } from './servers.ts'
import { createFront } from './stock/front.ts'
import { createHot } from './stock/hot.ts'
import { AVAILABILITY_LARGE, AVAILABILITY_SMALL, createAvailability, NOTHING, openShops } from './stock/availability.ts'

const RATE = 'orders/s'
const CALLS = 'calls/s'
const P95 = 'availability ms, p95'

const rateOf = (round: Round, system: string): number => figureOf(round, system, RATE)
/** How many times faster the first system answers than the second. */
const speedupOf = (first: string, second: string) => (round: Round) =>
  figureOf(round, second, P95) / figureOf(round, first, P95)

const UNAUDITED = 'accept, no audit'

export const stock: Benchmark = {
  name: 'stock',
  question: 'How do one hot product, a very large catalogue and a full audit slow down requests?',
  headline: CALLS,
  ratios: {
    'in process, combined / one by one': (round) =>
      rateOf(round, 'in process, combined') / rateOf(round, 'in process, one by one'),
    'CreateOrder, combined / one by one': (round) =>
      rateOf(round, 'CreateOrder, combined') / rateOf(round, 'CreateOrder, one by one'),
    'no-op p95 / availability p95': speedupOf(AVAILABILITY_SMALL.name, NOTHING.name),
    'small shop p95 / large shop p95': speedupOf(AVAILABILITY_LARGE.name, AVAILABILITY_SMALL.name),
    'audit entries / order': (round) => figureOf(round, 'accept', ENTRIES),
    'audited / unaudited': (round) => acceptRateOf(round) / acceptRateOf(round, UNAUDITED),
    'accept / bare': (round) => acceptRateOf(round) / rateOf(round, 'bare'),
  },
  goals: {
    'hot product in process': { ratio: 'in process, combined / one by one', atLeast: 10 },
    'hot product through gRPC': { ratio: 'CreateOrder, combined / one by one', atLeast: 2.5 },
    'availability at most twice a no-op': { ratio: 'no-op p95 / availability p95', atLeast: 1 / 2 },
    'a million products at most 1.2 of a thousand': { ratio: 'small shop p95 / large shop p95', atLeast: 1 / 1.2 },
    'the audit is whole': { ratio: 'audit entries / order', atLeast: 1 },
    'the audit costs a fifth at most': { ratio: 'audited / unaudited', atLeast: 0.8 },
    'accepts / drain': { ratio: 'accept / bare', atLeast: 15 },
  },
  async open(options) {
    const setup = await openSetup(options)
    try {
      const { small, large } = await openShops(setup)
      const unaudited = {
        name: UNAUDITED,
        about: 'The same on a database whose audit triggers were dropped.',
        prepare: dropAudit,
      }
      const systems = [
        createHot(setup, 'combined'),
        createHot(setup, 'one by one'),
        createFront(setup, 'combined'),
        createFront(setup, 'one by one'),
        createAvailability(setup, small, NOTHING),
        createAvailability(setup, small, AVAILABILITY_SMALL),
        createAvailability(setup, large, AVAILABILITY_LARGE),
        createAccept(setup),
        createAccept(setup, unaudited),
        await createBare(setup),
      ]
      return { systems: systems.map(withCalls), facts: setup.facts, close: setup.close }
    } catch (error) {
      await setup.close()
      throw error
    }
  },
}

/** One headline figure for orders and for availability calls. */
const withCalls = (system: System): System => ({
  ...system,
  measure: async () => {
    const { figures, ...rest } = await system.measure()
    return { figures: { [CALLS]: figures[CALLS] ?? figures[RATE] ?? Number.NaN, ...figures }, ...rest }
  },
})

/** Drops all audit triggers. @throws {Error} when there are none: the ratio would compare a system with itself */
async function dropAudit(database: BenchDatabase): Promise<void> {
  const triggers = await database.query<{ drop: string }>(
    `select format('drop trigger %I on %s', t.tgname, t.tgrelid::regclass) as drop
     from pg_trigger t join pg_proc p on p.oid = t.tgfoid
     where not t.tgisinternal and t.tgparentid = 0 and p.proname like 'audit%'`,
  )
  if (triggers.length === 0) throw new Error('there is no audit trigger to drop')
  for (const { drop } of triggers) await database.query(drop)
}
