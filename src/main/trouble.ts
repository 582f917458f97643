// Shows a worker's operators the paid orders whose money went away again.

import type { Database } from '../db/connection/pool.ts'
import { countOrdersInDoubt } from '../db/doubt.ts'
import { Gauge, type Logger, type Registry } from '../telemetry.ts'
import { repeat } from './repeat.ts'

const TROUBLE_EVERY_MS = 15_000

export function watchTrouble(database: Database, registry: Registry, logger: Logger, signal: AbortSignal): void {
  const orders = new Gauge({
    name: 'holdfast_orders_in_doubt',
    help: 'Paid orders whose money lost its block (at_risk) or is gone (reversed).',
    labelNames: ['state'],
    registers: [registry],
  })
  const measure = async (): Promise<void> => {
    const { atRisk, reversed } = await countOrdersInDoubt(database)
    orders.set({ state: 'at_risk' }, atRisk)
    orders.set({ state: 'reversed' }, reversed)
  }
  void repeat(measure, TROUBLE_EVERY_MS, signal, (error) =>
    logger.warn({ err: error }, 'orders in doubt could not be counted'),
  )
}
