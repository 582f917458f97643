// The worker process of the naive saga, with its front's work in it: no gRPC, no token, no idempotency key.

import { fileURLToPath } from 'node:url'
import { isDatabaseUnavailable, openDatabase } from '../../src/db/connection/pool.ts'
import { systemActor } from '../../src/domain/audit.ts'
import { createMilestones, readConfig, runLoop } from '../loop.ts'
import { openEngine, type EngineConfig } from './engine.ts'
import { createNaiveActivities, putNaiveOrder, type NaiveLine } from './naive_activities.ts'
import { delivered, paid, shipped } from './naive_workflow.ts'

type Config = EngineConfig & {
  databaseUrl: string
  customers: number
  products: readonly { id: string; price: string }[]
  linesPerOrder: number
}

const POOL_SIZE = 10
const MAX_TRIES = 10

const config = await readConfig<Config>()
const database = await openDatabase({
  url: config.databaseUrl,
  poolSize: POOL_SIZE,
  applicationName: 'bench-naive',
  actor: systemActor('worker'),
})
const milestones = createMilestones()
const engine = await openEngine(config, {
  workflowsPath: fileURLToPath(new URL('naive_workflow.ts', import.meta.url)),
  activities: createNaiveActivities(database, milestones.reached),
})
const { workflow } = engine.client

await runLoop(config, async (orderId, phase) => {
  const lines = pickLines()
  await phase('create', async () => {
    const reserved = milestones.reach(orderId, `reserve ${lines.at(-1)?.productId}`)
    await put(orderId, lines)
    await workflow.start('naive', { workflowId: orderId, taskQueue: engine.taskQueue, args: [orderId, lines] })
    await reserved
  })
  const handle = workflow.getHandle(orderId)
  for (const [name, signal, milestone] of [
    ['pay', paid, 'confirmPayment'],
    ['ship', shipped, 'ship'],
    ['deliver', delivered, 'deliver'],
  ] as const) {
    await phase(name, async () => {
      const done = milestones.reach(orderId, milestone)
      await handle.signal(signal)
      await done
    })
  }
})
await database.close()
await engine.close()

/** Retries a call that got no database session within a second, as a front would make its caller do. */
async function put(orderId: string, lines: readonly NaiveLine[]): Promise<void> {
  const userId = 1 + pick(config.customers)
  for (let tries = 1; ; tries += 1) {
    try {
      return await putNaiveOrder(database, orderId, userId, lines)
    } catch (error) {
      if (!isDatabaseUnavailable(error) || tries === MAX_TRIES) throw error
    }
  }
}

function pick(below: number): number {
  return Math.floor(Math.random() * below)
}

function pickLines(): NaiveLine[] {
  const chosen = new Map<string, NaiveLine>()
  while (chosen.size < config.linesPerOrder) {
    const product = config.products[pick(config.products.length)]
    if (product !== undefined) chosen.set(product.id, { productId: product.id, quantity: 1, unitPrice: product.price })
  }
  return [...chosen.values()]
}
