// One product that everybody wants, asked for by callers in this process: what combining is worth by itself.

import { createAcceptor, type Acceptor } from '../../src/db/accept/accept.ts'
import { openDatabase } from '../../src/db/connection/pool.ts'
import { POOLS } from '../../src/servers/wiring.ts'
import { buildLine, buildProposal, putProduct } from '../../test/support/builder.ts'
import { crowd } from '../../test/support/concurrent.ts'
import type { Measurement, System } from '../benchmark.ts'
import type { Scene } from '../order_flow/scene.ts'
import type { BenchDatabase } from '../servers.ts'
import { IN_FLIGHT, PLENTY, warmUpOf, type Combining } from './setting.ts'
import { runLoad } from './load.ts'
import { findOversold } from './truth.ts'

/** More buyers than units. */
const [LAST_UNITS, LAST_BUYERS] = [100, 3 * IN_FLIGHT]

/** @param combining false for one statement and one commit per order, by the same function and the same pool */
export function createHot({ servers, seconds, isSmoke }: Scene, combining: Combining): System {
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

/** Decides several calls together, as ours does, or each by itself. */
export function createBenchAcceptor(
  database: Parameters<typeof createAcceptor>[0]['database'],
  combining: Combining,
): Acceptor {
  const deps = { database, giveBack: () => undefined }
  const together = createAcceptor(deps)
  // An acceptor that has one order has nothing to combine it with.
  return combining === 'combined' ? together : { ...together, accept: (order) => createAcceptor(deps).accept(order) }
}

/** The last units go to so many buyers, and to no more. */
async function sellOut(database: BenchDatabase, acceptor: Acceptor): Promise<string[]> {
  const { productId } = await putProduct(database, { onHand: BigInt(LAST_UNITS) })
  const buy = () => acceptor.accept(buildProposal({ lines: [buildLine({ productId })] }))
  const verdicts = await crowd(LAST_BUYERS, buy, IN_FLIGHT)
  const sold = verdicts.filter(({ verdict }) => verdict === 'accepted').length
  return [
    ...(await findOversold(database)),
    ...(sold === LAST_UNITS ? [] : [`${sold} of the last ${LAST_UNITS} units were sold`]),
  ]
}
