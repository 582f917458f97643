// npm run demo: orders played from beginning to end on a temporary stack, which is removed afterwards.

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openDevelopmentChain } from '../../chain/development.ts'
import { findSettings, loadConfig, type Config } from '../../config.ts'
import { dropDatabase, ensureDatabase } from '../../db/cluster.ts'
import { removeNamespace } from '../../servers/namespace.ts'
import { removeData, type Stack } from '../../servers/stack.ts'
import { DEFAULT_UI_URL } from '../../servers/wiring.ts'
import { formatTable } from '../cli/print.ts'
import { given, orderView, type OrderOutput } from '../cli/view.ts'
import { createProgress, launchStack, metricsUrlOf, stopSignal, type Launch } from './launch.ts'
import { playLate, playReorganised, playToppedUp } from './money_scenario.ts'
import {
  beginUnpaid,
  LAMP,
  playCancelled,
  playDelivered,
  playRace,
  playRefunded,
  VASE,
  type Played,
  type Stage,
} from './scenario.ts'
import { openShop, type Shop, type StockRow } from './shop.ts'
import { createStory } from './story.ts'

/** Long enough to pay in on a loaded machine, short enough to watch it pass. */
const WINDOW_MS = 20_000
const SETTINGS = {
  HOLDFAST_PAYMENT_WINDOW_MS: String(WINDOW_MS),
  HOLDFAST_ETH_GRACE_MS: '1000',
  HOLDFAST_POLL_MS: '250',
}
/** The chain's own clock must pass an unpaid order's end. */
const DEMO_MINING = { everySeconds: 1 } as const
/** Availability may be a second old. */
const STOCK_WITHIN_MS = 5_000
const STOCK_INTERVAL_MS = 200

const EXPECTED = {
  delivered: { status: 'delivered', paymentState: 'paid', cancelReason: null },
  expired: { status: 'cancelled', paymentState: 'expired', cancelReason: 'expired' },
  cancelled: { status: 'cancelled', paymentState: 'cancelled', cancelReason: 'customer' },
  refunded: { status: 'cancelled', paymentState: 'refunded', cancelReason: 'customer' },
  'topped up': { status: 'processing', paymentState: 'paid', cancelReason: null },
  reorganised: { status: 'processing', paymentState: 'paid', cancelReason: null },
  late: { status: 'processing', paymentState: 'paid', cancelReason: null },
  race: { status: 'processing', paymentState: 'paid', cancelReason: null },
} as const
type Name = keyof typeof EXPECTED

type Scenario = {
  name: Name
  orderId: string
  status: string
  paymentState: string
  cancelReason: string | null
  ms: number
}
type Report = { ok: boolean; scenarios: Scenario[]; stock: Omit<StockRow, 'version'>[] }

/** Plays and shows everything. @returns true when each scenario ended as expected and stock adds up */
export async function runDemoCommand({ json = false }: { json?: boolean }): Promise<boolean> {
  const log = createProgress()
  const signal = stopSignal(log)
  const config = loadConfig('stack')
  const id = randomBytes(4).toString('hex')
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-demo-'))
  const lent = await borrow(config, id)
  let isGood = false
  try {
    log(`starting a temporary stack in ${dataDir}`)
    const settings = { ...findSettings(), ...SETTINGS }
    const stack = await launchStack(config, { dataDir, mining: DEMO_MINING, settings, signal, ...lent.launch }, log)
    try {
      const report = await play(stack, json ? () => undefined : (text) => process.stdout.write(text), signal)
      if (json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
      isGood = report.ok
    } finally {
      await stack.stop()
    }
  } finally {
    await lent.giveBack()
    if (isGood || signal.aborted) await removeStack(dataDir)
    else log(`the logs of the processes are in ${join(dataDir, 'log')}`)
  }
  return isGood
}

/** On servers that the environment names: a temporary database and namespace, removed by `giveBack`. */
async function borrow(
  { DATABASE_URL: server, TEMPORAL_ADDRESS: temporal }: Config<'stack'>,
  id: string,
): Promise<{ launch: Pick<Launch, 'databaseUrl' | 'namespace'>; giveBack: () => Promise<void> }> {
  const [database, namespace] = [`holdfast_demo_${id}`, `holdfast-demo-${id}`]
  return {
    launch: { databaseUrl: server === undefined ? undefined : await ensureDatabase(server, database), namespace },
    giveBack: async () => {
      if (server !== undefined) await dropDatabase(server, database)
      if (temporal !== undefined) await removeNamespace(temporal, namespace)
    },
  }
}

async function removeStack(dataDir: string): Promise<void> {
  await removeData(dataDir)
  await rm(dataDir, { recursive: true })
}

async function play(stack: Stack, write: (text: string) => void, signal: AbortSignal): Promise<Report> {
  const shop = openShop(stack)
  const story = createStory(write)
  try {
    const chain = await openDevelopmentChain(given(stack.chainUrl))
    const stage: Stage = { shop, chain, story, signal, watcherMetrics: metricsUrlOf(stack.ports.watcher) }
    const products = [LAMP, VASE]
    for (const product of products) await shop.stockProduct(product)
    const productIds = products.map(({ productId }) => productId)
    const before = await shop.readStock(productIds)

    const ends = await playAll(stage)
    const scenarios = await Promise.all(ends.map(([name, played]) => describe(shop, name, played)))
    const { stock, addsUp } = await checkStock(shop, before)
    const isAsExpected = scenarios.every((scenario) => matches(scenario))
    story.show(
      formatTable(scenarios.map(({ name, orderId, ...rest }) => ({ scenario: name, order: orderId, ...rest }))),
    )
    story.show(`Stock before\n${formatTable(before.map(withoutVersion))}`)
    story.show(
      `Stock after (${addsUp ? 'it adds up' : 'it does NOT add up'})\n${formatTable(stock.map(withoutVersion))}`,
    )
    story.show(
      `${isAsExpected && addsUp ? 'Every order ended as expected.' : 'Something did not end as expected.'} ` +
        `To look around, run npm start: Temporal's UI is then at ${DEFAULT_UI_URL}`,
    )
    return { ok: isAsExpected && addsUp, scenarios, stock: stock.map(withoutVersion) }
  } finally {
    shop.close()
  }
}

type Ended = readonly [name: Name, played: Played | Error]

/** The unpaid order waits for its end while the others are played. */
async function playAll(stage: Stage): Promise<Ended[]> {
  const unpaid = await beginUnpaid(stage, WINDOW_MS)
  const delivered = await ended(stage, 'delivered', playDelivered(stage))
  const cancelled = await ended(stage, 'cancelled', playCancelled(stage))
  const refunded = await ended(stage, 'refunded', playRefunded(stage))
  const toppedUp = await ended(stage, 'topped up', playToppedUp(stage))
  const reorganised = await ended(stage, 'reorganised', playReorganised(stage))
  const race = await ended(stage, 'race', playRace(stage))
  const expiring = unpaid()
  const expired = await ended(stage, 'expired', expiring)
  const late = await ended(
    stage,
    'late',
    expiring.then((order) => playLate(stage, order)),
  )
  return [delivered, expired, cancelled, refunded, toppedUp, reorganised, late, race]
}

/** Prints the failure of a scenario and goes on with the others, unless the demo was stopped. */
async function ended({ signal }: Stage, name: Name, work: Promise<Played>): Promise<Ended> {
  try {
    return [name, await work]
  } catch (error) {
    if (signal.aborted) throw error
    const failure = error instanceof Error ? error : new Error('unknown error')
    process.stderr.write(`the scenario "${name}" failed: ${failure.message}\n`)
    return [name, failure]
  }
}

/** The order's end as the api reports it, not as the scenario believes. */
async function describe(shop: Shop, name: Name, played: Played | Error): Promise<Scenario> {
  if (played instanceof Error)
    return { name, orderId: '', status: 'failed', paymentState: 'unknown', cancelReason: null, ms: 0 }
  const { status, paymentState, cancelReason } = await readOrder(shop, played.orderId)
  return { name, orderId: played.orderId, status, paymentState, cancelReason, ms: played.ms }
}

const matches = ({ name, status, paymentState, cancelReason }: Scenario): boolean =>
  status === EXPECTED[name].status &&
  paymentState === EXPECTED[name].paymentState &&
  cancelReason === EXPECTED[name].cancelReason

async function readOrder(shop: Shop, orderId: string): Promise<OrderOutput> {
  return orderView(given((await shop.as('admin').order.getOrder({ orderId })).order))
}

/** Stock adds up when shipped units are gone, open orders' units are reserved, and nothing else has changed. */
async function checkStock(shop: Shop, before: readonly StockRow[]): Promise<{ stock: StockRow[]; addsUp: boolean }> {
  const { orders } = await shop.as('admin').order.listOrders({ limit: 100 })
  const all = await Promise.all(orders.map(({ state }) => readOrder(shop, given(state).orderId)))
  const unitsOf = (productId: string, statuses: readonly string[]): number =>
    all
      .filter(({ status }) => statuses.includes(status))
      .flatMap(({ lines }) => lines.filter((line) => line.productId === productId))
      .reduce((sum, { quantity }) => sum + quantity, 0)
  const fits = ({ productId, onHand, reserved, available }: StockRow): boolean => {
    const first = before.find((row) => row.productId === productId)
    return (
      onHand === (first?.onHand ?? 0) - unitsOf(productId, ['shipped', 'delivered']) &&
      reserved === unitsOf(productId, ['pending', 'processing']) &&
      available === onHand - reserved
    )
  }
  const productIds = before.map(({ productId }) => productId)
  const deadline = performance.now() + STOCK_WITHIN_MS
  for (;;) {
    const stock = await shop.readStock(productIds)
    const addsUp = stock.length === before.length && stock.every(fits)
    if (addsUp || performance.now() > deadline) return { stock, addsUp }
    await sleep(STOCK_INTERVAL_MS)
  }
}

const withoutVersion = ({ productId, onHand, reserved, available }: StockRow) => ({
  ...{ productId, onHand, reserved, available },
})
