// The system «ours»: Holdfast end to end, through its public API.

import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { WATCHER_SOURCE } from '../../src/servers/wiring.ts'
import { orderWorkflowId } from '../../src/workflows/message.ts'
import type { System } from '../benchmark.ts'
import { drive } from '../driver.ts'
import { mintToken, products, putChain, putProducts, startHoldfast, untilPoolIsFull } from '../holdfast.ts'
import { programAt } from '../program.ts'
import { CUSTOMERS, LINES_PER_ORDER, type Setup } from './setup.ts'

const NAMESPACE = 'bench-ours'
const PROTOSET = fileURLToPath(new URL('../../proto/holdfast.binpb', import.meta.url))
/** Two of the blocks that the api leases: few enough to be created before each slot. */
const POOL_TARGET = 512
const FULFILMENT_USER = '1000000'

/** Holdfast end to end, as its callers see it. */
export async function createOurs(setup: Setup): Promise<System> {
  const { servers, loop, historyIn, dataDir } = setup
  await servers.createNamespace(NAMESPACE)
  const database = await servers.createDatabase('bench_ours')
  await putProducts(database)
  await putChain(database)
  return {
    name: 'ours',
    about:
      'Holdfast: api, worker and keys processes; CreateOrder with a token, a signed report of one final transfer, ' +
      'MarkShipped and MarkDelivered, all through gRPC; each order with its own address and key. ' +
      'The driver, in Go, shares the machine.',
    measure: async () => {
      const settings = { HOLDFAST_POOL_TARGET: String(POOL_TARGET) }
      const processes = ['keys', 'api', 'worker'] as const
      const ours = await startHoldfast({ servers, database, namespace: NAMESPACE, dataDir, processes, settings })
      try {
        await untilPoolIsFull(database, POOL_TARGET)
        const customers = Array.from({ length: CUSTOMERS }, async (_, index) => {
          const userId = index + 1
          return { userId, token: await mintToken(servers, 'customer', String(userId)) }
        })
        return await drive({
          servers,
          name: 'driver',
          command: programAt('HOLDFAST_BENCH_DRIVER'),
          args: [],
          config: {
            ...loop,
            address: ours.address,
            protoset: PROTOSET,
            customers: await Promise.all(customers),
            fulfilmentToken: await mintToken(servers, 'fulfilment', FULFILMENT_USER),
            watcherToken: await mintToken(servers, 'watcher', WATCHER_SOURCE),
            source: WATCHER_SOURCE,
            sourceSecret: await readFile(servers.secrets.sourceSecret, 'utf8'),
            network: 'ethereum',
            asset: 'ETH',
            products,
            linesPerOrder: LINES_PER_ORDER,
          },
          pids: ours.pids,
          database: database.name,
          historyOf: historyIn(NAMESPACE, orderWorkflowId),
        })
      } finally {
        await ours.stop()
      }
    },
  }
}
