// The shared setup of the compared systems: servers, shop size, and shape of the load.

import { Client, Connection } from '@temporalio/client'
import type { Options } from '../benchmark.ts'
import { PRODUCTS } from '../holdfast.ts'
import type { LoopConfig } from '../loop.ts'
import { startBenchServers, type BenchServers } from '../servers.ts'

/** Enough to keep two cores busy, whatever the orders wait for. */
const IN_FLIGHT = 64
const SMOKE_IN_FLIGHT = 8
/** Long enough for a workflow to become idle before its next event, as in production. */
const THINK_MS = 200
/**
 * Warm-up of new processes. Ours are four, each with its own code to warm: after 6 s an order cost a third more than
 * after 30 s, while a single worker was almost warm.
 */
const WARM_UP_MS = 30_000
const SMOKE_WARM_UP_MS = 1_000

export const CUSTOMERS = 100
export const LINES_PER_ORDER = 3

export type Setup = Options & {
  servers: BenchServers
  loop: LoopConfig
  /** Reads the size of a history. @param idOf from an order's id to its workflow's */
  historyIn: (
    namespace: string,
    idOf?: (orderId: string) => string,
  ) => (orderId: string) => Promise<{ events: number; bytes: number }>
  facts: Readonly<Record<string, string | number>>
  close: () => Promise<void>
}

export async function openSetup(options: Options): Promise<Setup> {
  const servers = await startBenchServers(options.dataDir, options.log)
  const connection = Connection.lazy({ address: servers.temporalAddress })
  const loop = {
    inFlight: options.isSmoke ? SMOKE_IN_FLIGHT : IN_FLIGHT,
    warmUpMs: options.isSmoke ? SMOKE_WARM_UP_MS : WARM_UP_MS,
    measureMs: options.seconds * 1_000,
    thinkMs: THINK_MS,
  }
  return {
    ...options,
    servers,
    loop,
    historyIn:
      (namespace, idOf = (orderId) => orderId) =>
      async (orderId) => {
        const { workflow } = new Client({ connection, namespace })
        const { historyLength, historySize } = await workflow.getHandle(idOf(orderId)).describe()
        return { events: historyLength, bytes: historySize ?? Number.NaN }
      },
    facts: { ...loop, customers: CUSTOMERS, products: PRODUCTS, linesPerOrder: LINES_PER_ORDER, ...servers.versions },
    close: async () => {
      await connection.close()
      await servers.stop()
    },
  }
}
