// Orders of one hot product, accepted in process: measures what batching by itself is worth.

import { createAcceptor, type Acceptor } from '../../src/db/accept/accept.ts'
import { openDatabase } from '../../src/db/connection/pool.ts'
import { POOLS } from '../../src/servers/wiring.ts'
import { buildLine, buildProposal, putProduct } from '../../test/support/builder.ts'
import { callConcurrently } from '../../test/support/concurrent.ts'
import type { Measurement, System } from '../benchmark.ts'
import type { Setup } from '../order_flow/setup.ts'
import type { BenchDatabase } from '../servers.ts'
import { IN_FLIGHT, PLENTY, warmUpOf, type Combining } from './setting.ts'
import { runLoad } from './load.ts'
import { findOversold } from './oversold.ts'

/** More buyers than units. */
const [LAST_UNITS, LAST_BUYERS] = [100, 3 * IN_FLIGHT]

/** @param combining `one by one` uses one statement and one commit per order, with the same function and pool */
export function createHot({ servers, seconds, isSmoke }: Setup, combining: Combining): System {
  return {
    name: `in process, ${combining}`,
    about: `The accept function called in process, ${IN_FLIGHT} in flight on one product, ${combining}.`,
    measure: async () => {
      const database = await servers.createDatabase('bench_hot')
      const pool = { poolSize: POOLS.app_api, applicationName: 'bench', forceGenericPlan: true }
      const api = await openDatabase({ url: database.urlOf('app_api'), ...pool })
      try {
        const acceptor = createBenchAcceptor(api, combining)
        const { productId } = await putProduct(database, { onHand: PLENTY })
        const lines = [buildLine({ productId })]
        const load = { inFlight: IN_FLIGHT, warmUpS: warmUpOf(isSmoke), seconds }
        const { rate, p50Ms, p99Ms, ...errors } = await runLoad(load, async () => {
          const { verdict } = await acceptor.accept(buildProposal({ lines }))
          if (verdict !== 'accepted') throw new Error(verdict)
        })
        const wrong = [...(await findOversold(database)), ...(await sellOut(database, acceptor))]
        return {
          figures: { 'orders/s': rate, 'create ms, p50': p50Ms, 'create ms, p99': p99Ms },
          errors: errors.errors + wrong.length,
          messages: [...wrong, ...errors.messages],
        } satisfies Measurement
      } finally {
        await api.close()
      }
    },
  }
}

/** An acceptor that batches concurrent calls, as ours does, or accepts each one alone. */
export function createBenchAcceptor(
  database: Parameters<typeof createAcceptor>[0]['database'],
  combining: Combining,
): Acceptor {
  const deps = { database, giveBack: () => undefined }
  const together = createAcceptor(deps)
  // An acceptor with a single order has nothing to batch it with.
  return combining === 'combined' ? together : { ...together, accept: (order) => createAcceptor(deps).accept(order) }
}

/** Sells the last units to too many buyers; returns what is inconsistent afterwards. */
async function sellOut(database: BenchDatabase, acceptor: Acceptor): Promise<string[]> {
  const { productId } = await putProduct(database, { onHand: BigInt(LAST_UNITS) })
  const buy = () => acceptor.accept(buildProposal({ lines: [buildLine({ productId })] }))
  const verdicts = await callConcurrently(LAST_BUYERS, buy, IN_FLIGHT)
  const sold = verdicts.filter(({ verdict }) => verdict === 'accepted').length
  return [
    ...(await findOversold(database)),
    ...(sold === LAST_UNITS ? [] : [`${sold} of the last ${LAST_UNITS} units were sold`]),
  ]
}
