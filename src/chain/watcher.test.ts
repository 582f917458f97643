import { expect, test } from '@jest/globals'
import type { Database } from '../db/connection/pool.ts'
import { createLogger, createRegistry } from '../telemetry.ts'
import { ChainError } from './client.ts'
import { createChainMetrics } from './metrics.ts'
import { createWatcher } from './watcher.ts'

test('the series of reorganisations begins before the first one, or an alarm would miss that', async () => {
  const away = async (): Promise<never> => {
    throw new ChainError('away')
  }
  const registry = createRegistry('test')
  createWatcher({
    client: { network: 'sim', getTip: away, findHeader: away, findBlock: away },
    database: {} as Database,
    ...{ confirmations: 12, startHeight: 0, maxBlockAgeMs: Infinity, source: 'watcher-1', sendReport: away },
    ...{ metrics: createChainMetrics(registry), logger: createLogger({ process: 'test', level: 'silent' }) },
  })
  expect(await registry.metrics()).toMatch(/holdfast_chain_reorg_depth_blocks_bucket\{(?=[^}]*le="\+Inf")[^}]*\} 0/)
})
