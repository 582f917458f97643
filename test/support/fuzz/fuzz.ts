// Runs fuzz cases against a front in its own process, and collects what went wrong. The case of a seed and a number is
// always the same one.

import { randomUUID } from 'node:crypto'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createClient } from '../../../src/grpc/client.ts'
import { putAddresses } from '../address.ts'
import { putProduct, type TestProduct } from '../builder.ts'
import { compileCache } from '../bundle.ts'
import type { TestDatabase } from '../database.ts'
import { CALL_WITHIN_MS, until } from '../until.ts'
import { problemOf, summaryOf } from './answer.ts'
import { makeCall } from './call.ts'
import { createDice } from './dice.ts'
import type { Order, Started, State, Tokens } from './front_process.ts'
import { CANARY } from './hostile.ts'
import { playGarbage } from './garbage.ts'
import type { World } from './message.ts'
import { createSessions } from './session.ts'

export type FuzzOptions = {
  database: TestDatabase
  seed: number
  /** How many cases, from number `from` on. */
  count: number
  from?: number
  onProgress?: (done: number) => void
}

export type FuzzReport = {
  /** Each with the number of the first case that showed it. */
  problems: readonly string[]
  /** How often each answer was given, by path. */
  answers: ReadonlyMap<string, ReadonlyMap<string, number>>
  bytesBefore: number
  bytesAfter: number
}

const IN_FLIGHT = 48
const USER_ID = 7
const PRICE = '12.50'
const ADDRESSES = 200
const PRODUCTS = 5
const ORDERS = 10
/** The share of cases that are a connection of raw HTTP/2 instead of a call. */
const GARBAGE = 0.03
/** Before the first measure of memory: compiled code, pools and caches have grown. */
const WARM_UP = 0.2
/** Admins' tokens live for five minutes at most. */
const NEW_TOKENS_EVERY_MS = 60_000
const MAX_PROBLEMS = 25
const SHOWN_CHARACTERS = 1_000
const IN_PROCESS = 'in the process'
const REPORT_EVERY = 1_000

export async function runFuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { database, seed, count, from = 0, onProgress } = options
  const child = openFront()
  const problems = new Map<string, string>()
  const note = (problem: string, where: string): void => {
    if (problems.size < MAX_PROBLEMS && !problems.has(problem)) problems.set(problem, where)
  }
  const answers = new Map<string, Map<string, number>>()
  try {
    const { started, world } = await openWorld(child, database)
    const sessions = createSessions(started)
    let tokens = await child.ask<Tokens>({ ask: 'tokens' })
    let tokensAt = performance.now()

    const playCase = async (index: number): Promise<void> => {
      const dice = createDice(seed, index)
      if (dice.isLucky(GARBAGE)) {
        const heard = await playGarbage(dice, dice.isLucky(0.5) ? started.public : started.admin)
        if (heard.includes(CANARY)) note('an answer to garbage repeats the input', `case ${index}`)
        return
      }
      const call = makeCall(dice, world, tokens)
      const where = `case ${index}: ${call.method.path}, ${call.role}, ${call.kind}`
      try {
        const answer = await sessions.send(call)
        const problem = problemOf(call, answer)
        if (problem !== undefined) note(`${call.kind}: ${problem}`, where)
        const counts = answers.get(call.method.path) ?? new Map<string, number>()
        const summary = summaryOf(answer)
        counts.set(summary, (counts.get(summary) ?? 0) + 1)
        answers.set(call.method.path, counts)
      } catch (error) {
        note(`${call.kind}: ${String(error)}`, where)
      }
    }
    const playAll = async (first: number, end: number): Promise<void> => {
      let next = first
      const playOn = async (): Promise<void> => {
        while (next < end && !child.hasEnded()) {
          if (performance.now() - tokensAt > NEW_TOKENS_EVERY_MS) {
            tokensAt = performance.now()
            tokens = await child.ask<Tokens>({ ask: 'tokens' })
          }
          if ((next - from) % REPORT_EVERY === 0) onProgress?.(next - from)
          await playCase((next += 1) - 1)
        }
      }
      await Promise.all(Array.from({ length: IN_FLIGHT }, playOn))
    }

    const warm = from + Math.ceil(count * WARM_UP)
    await playAll(from, warm)
    const { bytes: bytesBefore } = await child.ask<State>({ ask: 'state' })
    await playAll(warm, from + count)
    sessions.close()
    await callNormally(started, tokens.customer, world)
    const state = await until(async () => {
      const present = await child.ask<State>({ ask: 'state' })
      return present.callsInFlight === 0 ? present : undefined
    })
    for (const problem of state.problems) note(problem, IN_PROCESS)
    if (child.said() !== '') note(`the process says: ${child.said().slice(0, SHOWN_CHARACTERS)}`, IN_PROCESS)
    return {
      problems: [...problems].map(([problem, where]) => `${problem} (${where})`),
      answers,
      bytesBefore,
      bytesAfter: state.bytes,
    }
  } finally {
    await child.stop()
  }
}

async function openWorld(child: FrontProcess, database: TestDatabase): Promise<{ started: Started; world: World }> {
  const addresses = await putAddresses(database, ADDRESSES)
  const products = await Promise.all(
    Array.from({ length: PRODUCTS }, () => putProduct(database, { onHand: 100_000n, unitPrice: PRICE })),
  )
  const started = await child.ask<Started>({ ask: 'start', databaseUrl: database.urlOf('app_api'), userId: USER_ID })
  const { customer } = await child.ask<Tokens>({ ask: 'tokens' })
  const orderIds = await createOrders(started.public, customer, products)
  const some = (list: readonly string[]): [string, ...string[]] => [list[0] ?? '', ...list.slice(1)]
  const world: World = {
    orderIds: some(orderIds),
    productIds: some(products.map(({ productId }) => productId)),
    addresses: some(addresses),
    userId: USER_ID,
    price: PRICE,
    source: started.source,
    sourceSecret: Buffer.from(started.sourceSecret, 'base64'),
  }
  return { started, world }
}

/** The front serves as if nothing had happened. Throws when it does not. */
async function callNormally(addresses: Started, token: string, { orderIds }: World): Promise<void> {
  for (const address of [addresses.public, addresses.admin]) {
    const client = createClient({ deadlineMs: CALL_WITHIN_MS, address, token: () => token })
    await client.health.check({ service: '' })
    if (address === addresses.public) await client.order.getOrder({ orderId: orderIds[0] })
    client.close()
  }
}

async function createOrders(address: string, token: string, products: readonly TestProduct[]): Promise<string[]> {
  const client = createClient({ deadlineMs: CALL_WITHIN_MS, address, token: () => token })
  const orders = Array.from({ length: ORDERS }, async (_, index) => {
    const productId = products[index % products.length]?.productId ?? ''
    const { orderId } = await client.order.createOrder({
      idempotencyKey: randomUUID(),
      userId: BigInt(USER_ID),
      lines: [{ productId, quantity: 1, expectedUnitPrice: PRICE }],
      asset: 'ETH',
      shippingAddress: 'Quay 1',
    })
    return orderId
  })
  const orderIds = await Promise.all(orders)
  client.close()
  return orderIds
}

type FrontProcess = {
  ask: <Reply>(order: Order) => Promise<Reply>
  hasEnded: () => boolean
  /** Its output so far. */
  said: () => string
  stop: () => Promise<void>
}

function openFront(): FrontProcess {
  const entry = fileURLToPath(new URL('front_process.ts', import.meta.url))
  const child = spawn(process.execPath, ['--expose-gc', '--disable-warning=ExperimentalWarning', entry], {
    env: { ...process.env, ...compileCache() },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => void (said += chunk.toString()))
  const exited = once(child, 'exit')
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null
  return {
    hasEnded,
    said: () => said,
    ask: async <Reply>(order: Order) => {
      child.send(order)
      const [reply] = (await Promise.race([once(child, 'message'), exited])) as [Reply]
      if (hasEnded()) throw new Error(`the front has ended: ${said}`)
      return reply
    },
    stop: async () => {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}
