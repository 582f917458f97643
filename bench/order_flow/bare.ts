// The system «bare»: Temporal alone, without an application.

import { fileURLToPath } from 'node:url'
import type { System } from '../benchmark.ts'
import { drive } from '../driver.ts'
import type { Setup } from './setup.ts'

const NAMESPACE = 'bench-bare'

/** The upper bound: what Temporal alone drains. */
export async function createBare({ servers, loop, historyIn }: Setup): Promise<System> {
  await servers.createNamespace(NAMESPACE)
  return {
    name: 'bare',
    about:
      'Bare engine: eager start, local activity, timer, empty signal, local activity, two updates, close. ' +
      'Its clients are in its worker process; no gRPC, no token, no table.',
    measure: () =>
      drive({
        servers,
        name: 'worker',
        command: process.execPath,
        args: [fileURLToPath(new URL('bare_worker.ts', import.meta.url))],
        config: { ...loop, temporalAddress: servers.temporalAddress, namespace: NAMESPACE },
        historyOf: historyIn(NAMESPACE),
      }),
  }
}
