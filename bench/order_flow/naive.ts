// The system «naive»: the order saga as tutorials write it, on our tables.

import { fileURLToPath } from 'node:url'
import type { System } from '../benchmark.ts'
import { drive } from '../driver.ts'
import { products, putProducts } from '../holdfast.ts'
import { CUSTOMERS, LINES_PER_ORDER, type Setup } from './setup.ts'

const NAMESPACE = 'bench-naive'

/** The order saga as tutorials write it, on the same server and tables. */
export async function createNaive({ servers, loop, historyIn }: Setup): Promise<System> {
  await servers.createNamespace(NAMESPACE)
  const database = await servers.createDatabase('bench_naive')
  await putProducts(database)
  // One role for front and worker: the one that may change a status.
  await database.query('grant insert on customer, orders, order_line, invoice to app_worker')
  return {
    name: 'naive',
    about:
      'Naive saga: plain start, an ordinary activity per line to reserve it; then for payment, shipping and delivery a ' +
      'signal and an ordinary activity each; one transaction per activity on our tables. ' +
      'Its clients are in its worker process; no gRPC, no token, no idempotency, no keys.',
    measure: () =>
      drive({
        servers,
        name: 'worker',
        command: process.execPath,
        args: [fileURLToPath(new URL('naive_worker.ts', import.meta.url))],
        config: {
          ...loop,
          temporalAddress: servers.temporalAddress,
          namespace: NAMESPACE,
          databaseUrl: database.urlOf('app_worker'),
          customers: CUSTOMERS,
          products,
          linesPerOrder: LINES_PER_ORDER,
        },
        database: database.name,
        historyOf: historyIn(NAMESPACE),
      }),
  }
}
