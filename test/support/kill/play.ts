// Kill chaos with money: orders are paid in every way and owed money goes back, while a seeded killer ends watcher, api,
// worker, payer and node with SIGKILL. At the end the chain's own blocks judge.

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { DomainError } from '../../../src/domain/failure.ts'
import type { CreateOrderResponse } from '../../../src/grpc/client.ts'
import { EXIT } from '../../../src/main/cli/exit.ts'
import { runMain } from '../command.ts'
import { persist } from '../persist.ts'
import { startTestStack, STOCK_VIOLATIONS, type TestStack } from '../stack.ts'
import { until } from '../until.ts'
import { countDone, countOpen, readBooks, readRefunds } from './books.ts'
import { readTransfers } from './chain_truth.ts'
import { differencesOf } from './judge.ts'
import { planOf, WAYS, type KillPlan, type KillSize, type Way } from './plan.ts'
import { createRefundDesk } from './refund_desk.ts'
import { createWallet, type Wallet } from './wallet.ts'

/** Long enough for most payments although processes are restarted, short enough to wait for its end. */
const WINDOW_MS = 30_000
const CUSTOMERS = 20
/** Orders under way at a time; most wait for the chain or for their end. */
const IN_FLIGHT = 40
/**
 * Blocks between two saves of the chain. A killed node comes back with the last one, so that it loses blocks with every
 * kill, and fewer than make a payment final: a chain that takes back final blocks is another test.
 */
const MINE_BLOCKS = 4
const MINE_EVERY_MS = 800
/** Anvil that was started again now and then answers nothing at all. An operator would start it again. */
const HUNG_AFTER_MS = 30_000
const LIFE_WITHIN_MS = 300_000
const PLENTY = 1_000_000
/** Orders are placed while so much of the kills is done; the rest falls on the last payments and refunds. */
const PLACED_BY = 0.7
/** Of so many orders, one wants the scarce product, of which there is too little. */
const SCARCE_EVERY = 4
const SCARCE_SHARE = 0.15
const SETTINGS = {
  HOLDFAST_PAYMENT_WINDOW_MS: String(WINDOW_MS),
  HOLDFAST_ETH_GRACE_MS: '500',
  HOLDFAST_POOL_TARGET: '2048',
}

export type KillReport = {
  /** What is not as the chain says; empty in a correct system. */
  differences: readonly string[]
  outputs: number
  refundsPaid: number
  kills: Readonly<Record<string, number>>
  /** Orders by status and payment state. */
  ends: Readonly<Record<string, number>>
}
export type KillOptions = KillSize & { seed: number; settleWithinMs: number; log?: (line: string) => void }

type World = { stack: TestStack; wallet: Wallet; plan: KillPlan; log: (line: string) => void; killed: number }

export async function playKills(options: KillOptions): Promise<KillReport> {
  const log = options.log ?? (() => undefined)
  const plan = planOf(options.seed, options)
  log(`seed ${plan.seed}: ${plan.ways.length} orders, ${options.payments} payments, ${plan.kills.length} kills`)
  const stack = await startTestStack(SETTINGS, { apis: 2 })
  const stopping = new AbortController()
  try {
    // The payer's funds too: a node that is killed would forget them.
    await stack.saveChain()
    await stack.putProduct('lamp', PLENTY)
    await stack.putProduct('vase', Math.ceil(plan.ways.length * SCARCE_SHARE))
    const wallet = createWallet(stack.chainUrl ?? '')
    const world: World = { stack, wallet, plan, log, killed: 0 }
    const desk = createRefundDesk(stack)
    const background = [keepMining(world, stopping.signal), desk.run(stopping.signal)]
    const [kills] = await Promise.all([killAll(world), liveAll(world)])
    log('all orders are placed and all kills done; waiting for the end')
    const differences = await settle(world, options.settleWithinMs)
    stopping.abort()
    await Promise.all(background)
    desk.close()
    return { ...(await reportOf(world)), kills, differences: [...differences, ...(await audit(stack))] }
  } finally {
    stopping.abort()
    await stack.stop()
  }
}

async function liveAll(world: World): Promise<void> {
  const { ways, kills } = world.plan
  const isDue = (index: number): boolean => world.killed >= Math.floor((index / ways.length) * PLACED_BY * kills.length)
  let next = 0
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (next < ways.length) {
        const index = next
        next += 1
        await until(() => isDue(index), { withinMs: LIFE_WITHIN_MS })
        await live(world, ways[index] ?? 'exact', index)
      }
    }),
  )
}

/** One order, from its creation to the last act of its customer. */
async function live({ stack, wallet }: World, way: Way, index: number): Promise<void> {
  const userId = 1 + (index % CUSTOMERS)
  const customer = stack.as('customer', String(userId))
  const { orderId, paymentRequest } = await place(stack, userId, index % SCARCE_EVERY === 0 ? 'vase' : 'lamp')
  const [address, due] = [paymentRequest?.address ?? '', BigInt(paymentRequest?.amount?.units ?? '0')]
  const isEnded = async (): Promise<boolean> =>
    (await stack.query(`select from orders where order_id = $1 and status <> 'pending'`, [orderId])).length > 0
  /** False where it had expired while no process answered. */
  const cancel = async (id: string): Promise<boolean> => {
    const idempotencyKey = randomUUID()
    return persist(() => customer.order.cancelOrder({ idempotencyKey, orderId: id })).then(
      () => true,
      (error: unknown) => {
        if (!(error instanceof DomainError)) throw error
        return false
      },
    )
  }
  const pay = (amount: bigint) => wallet.pay(address, amount)
  const acts: Readonly<Record<Way, () => Promise<unknown>>> = {
    exact: () => pay(due),
    split: () => Promise.all([pay(due / 3n), pay(due - due / 3n)]),
    over: () => pay(due + due / 4n + BigInt(index)),
    under: () => pay(due / 2n + BigInt(index)),
    overtaken: async () => {
      await pay(due)
      if (await cancel(orderId)) return
      const bought = await findBought(stack, orderId)
      if (bought !== undefined) await cancel(bought)
    },
    unpaid: async () => undefined,
    cancelled: async () => {
      await pay(due)
      const bought = await findBought(stack, orderId)
      if (bought !== undefined) await cancel(bought)
    },
    late: async () => {
      await until(isEnded, { withinMs: LIFE_WITHIN_MS })
      await pay(due)
    },
  }
  await acts[way]()
}

/** The order that the money has paid, which may be its replacement. Undefined: the money is owed back. */
async function findBought(stack: TestStack, orderId: string): Promise<string | undefined> {
  const row = await until(
    async () =>
      (
        await stack.query<{ bought: string | null }>(
          `select case when o.status = 'processing' then o.order_id else d.replacement_id end as bought
           from orders o left join late_decision d using (order_id)
           where o.order_id = $1
             and (o.status = 'processing' or d.order_id is not null or exists (select from refund r where r.order_id = o.order_id))`,
          [orderId],
        )
      )[0],
    { withinMs: LIFE_WITHIN_MS },
  )
  return row.bought ?? undefined
}

async function place(stack: TestStack, userId: number, product: string): Promise<CreateOrderResponse> {
  const key = randomUUID()
  const customer = stack.as('customer', String(userId))
  try {
    return await persist(() => stack.createOrder(customer, userId, { [product]: 1 }, key))
  } catch (error) {
    if (!(error instanceof DomainError && error.reason === 'OUT_OF_STOCK') || product === 'lamp') throw error
    return place(stack, userId, 'lamp')
  }
}

/** Each turn saves what the one before has mined: see MINE_BLOCKS. Errors are those of a node that is down. */
async function keepMining({ stack, wallet, log }: World, signal: AbortSignal): Promise<void> {
  let minedAt = performance.now()
  const turn = async (): Promise<void> => {
    await stack.saveChain()
    await wallet.sendAll()
    await stack.chain.mine(MINE_BLOCKS)
    minedAt = performance.now()
  }
  while (!signal.aborted) {
    await turn().catch(() => undefined)
    const anvil = stack.parts.get('anvil')
    if (performance.now() - minedAt > HUNG_AFTER_MS && anvil?.current() !== undefined) {
      log('anvil hangs, and is killed')
      await anvil.kill9()
      minedAt = performance.now()
    }
    await sleep(MINE_EVERY_MS)
  }
}

async function killAll(world: World): Promise<Record<string, number>> {
  const { stack, plan, log } = world
  const count: Record<string, number> = {}
  for (const { victim, other, afterMs } of plan.kills) {
    await sleep(afterMs)
    for (const name of new Set([victim, ...(other === undefined ? [] : [other])])) {
      const part = stack.parts.get(name)
      await part?.ready()
      await part?.kill9()
      count[name] = (count[name] ?? 0) + 1
      log(`${name} killed when ${await countDone(stack)} outputs and refunds were done`)
    }
    world.killed += 1
  }
  for (const part of stack.parts.values()) await part.ready()
  return count
}

/** Waits until nothing is under way and the chain agrees. @returns the differences that remain */
async function settle({ stack, wallet }: World, withinMs: number): Promise<readonly string[]> {
  let found: readonly string[] = ['something is under way']
  const isSettled = async (): Promise<boolean> => {
    if ((await countOpen(stack)) > 0) return false
    const transfers = await readTransfers(stack.chainUrl ?? '')
    const missing = wallet.count() - transfers.filter(({ from }) => from === wallet.address).length
    found = [
      ...(missing === 0 ? [] : [`${missing} payments are in no block`]),
      ...differencesOf(await readBooks(stack), transfers, wallet.address),
    ]
    return found.length === 0
  }
  await until(isSettled, { withinMs }).catch(() => undefined)
  return found
}

const VERIFIED = z.object({ differences: z.array(z.unknown()) })

/** `holdfast verify`, and the stock. */
async function audit(stack: TestStack): Promise<string[]> {
  const env = {
    DATABASE_URL: stack.auditorUrl,
    TEMPORAL_ADDRESS: stack.temporalAddress,
    TEMPORAL_NAMESPACE: stack.temporalNamespace,
  }
  // Without a verdict, as when a busy machine keeps it from a session in time, it is asked again.
  const { code, stdout, stderr } = await until(async () => {
    const ended = await runMain(['cli.ts', 'verify', '--json'], env).ended
    return ended.code === EXIT.usage ? undefined : ended
  })
  const verified = VERIFIED.safeParse(code === 0 || stdout !== '' ? JSON.parse(stdout) : undefined)
  const stock = await stack.query(STOCK_VIOLATIONS)
  const oversold = await stack.query(
    `select l.product_id from order_line l join orders o using (order_id) join stock s using (product_id)
     where o.status = 'processing' group by l.product_id, s.on_hand having sum(l.quantity) > s.on_hand`,
  )
  return [
    ...(code === 0
      ? []
      : [`holdfast verify: ${verified.success ? JSON.stringify(verified.data.differences) : stderr}`]),
    ...stock.map((row) => `stock is inconsistent: ${JSON.stringify(row)}`),
    ...oversold.map((row) => `stock is oversold: ${JSON.stringify(row)}`),
  ]
}

async function reportOf({ stack, wallet }: World): Promise<Pick<KillReport, 'outputs' | 'refundsPaid' | 'ends'>> {
  const rows = await stack.query<{ end: string; count: string }>(
    `select status || ' ' || payment_state as end, count(*) from orders group by 1 order by 1`,
  )
  const refunds = await readRefunds(stack)
  return {
    outputs: wallet.count(),
    refundsPaid: refunds.filter(({ status }) => status === 'paid').length,
    ends: Object.fromEntries(rows.map(({ end, count }) => [end, Number(count)])),
  }
}

/** Refunds that a plan makes owed, at least. */
export const owedIn = (ways: readonly Way[]): number => ways.filter((way) => WAYS[way].isOwed).length
