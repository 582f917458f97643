// A shop of the payments benchmark: orders that wait for their payment, a watcher that reports them as paid, and a look
// at when they are being processed.

import { randomBytes, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { forEachBounded } from '../../src/domain/concurrency.ts'
import { createClient, createReporter } from '../../src/grpc/client.ts'
import type { Observation } from '../../src/domain/chain.ts'
import { parseSecret } from '../../src/keyvault/secret.ts'
import { signReport } from '../../src/keyvault/signature.ts'
import { WATCHER_SOURCE } from '../../src/servers/wiring.ts'
import { given } from '../../src/main/cli/view.ts'
import { mintToken, products } from '../holdfast.ts'
import type { BenchDatabase, BenchServers } from '../servers.ts'

const BUYER = 1
const ORDERS_AT_ONCE = 16
const CONFIRMATIONS = 12
const CREATE_WITHIN_MS = 30_000
/** Far below what is measured. */
const LOOK_EVERY_MS = 3
const STARTED_EVERY_MS = 200
/** What takes longer is an error: an order that is found later was found by another way. */
const PROCESSED_WITHIN_MS = 60_000

export type Awaiting = { orderId: string; observation: Observation }
export type BenchShop = Awaited<ReturnType<typeof openBenchShop>>

/** @param address host:port of the api */
export async function openBenchShop({
  servers,
  database,
  address,
}: {
  servers: BenchServers
  database: BenchDatabase
  address: string
}) {
  const [customer, watcher] = await Promise.all([
    mintToken(servers, 'customer', String(BUYER)),
    mintToken(servers, 'watcher', WATCHER_SOURCE),
  ])
  const [buyer, sender] = [customer, watcher].map((token) => createClient({ address, token: () => token }))
  const secret = parseSecret('the secret', await readFile(servers.secrets.sourceSecret, 'utf8'), 'development')
  const report = createReporter({
    client: given(sender),
    source: WATCHER_SOURCE,
    confirmations: CONFIRMATIONS,
    sign: (request) => [signReport({ ...request, secret, algorithm: 'sha256' })],
  })
  const processed = await openProcessedLook(database)

  async function createOrder(): Promise<Awaiting> {
    const product = products[Math.floor(Math.random() * products.length)]
    const { orderId, paymentRequest } = await given(buyer).order.createOrder(
      {
        idempotencyKey: randomUUID(),
        userId: BigInt(BUYER),
        lines: [{ productId: product?.id ?? '', quantity: 1, expectedUnitPrice: product?.price ?? '' }],
        asset: 'ETH',
        shippingAddress: '1 Harbour Street, Sample Town',
      },
      { deadlineMs: CREATE_WITHIN_MS },
    )
    const { network, address: payTo, amount } = given(paymentRequest)
    const observation: Observation = {
      network,
      asset: 'ETH',
      txId: hash(),
      outputIndex: 0,
      seq: 1,
      state: 'final',
      address: payTo,
      amount: BigInt(given(amount).units),
      block: { height: 1, hash: hash() },
      firstSeenAt: new Date(),
    }
    return { orderId, observation }
  }

  return {
    /** Orders that wait for their payment. */
    createOrders: async (count: number): Promise<Awaiting[]> => {
      const orders: Awaiting[] = []
      await forEachBounded(Array.from({ length: count }), ORDERS_AT_ONCE, async () => {
        orders.push(await createOrder())
      })
      return orders
    },
    /** Resolves once the workflow of every order runs. */
    untilStarted: async (): Promise<void> => {
      while ((await database.query('select from workflow_start limit 1')).length > 0) await sleep(STARTED_EVERY_MS)
    },
    /** Reports the payment of an order as final; resolves once the report is stored. */
    report: (observation: Observation): Promise<number> => report([{ ...observation, firstSeenAt: new Date() }]),
    /** Resolves when the order is being processed. */
    untilProcessed: processed.until,
    close: async (): Promise<void> => {
      buyer?.close()
      sender?.close()
      await processed.close()
    },
  }
}

const hash = (): string => `0x${randomBytes(32).toString('hex')}`

/** One statement looks at all orders that are waited for. */
async function openProcessedLook(database: BenchDatabase) {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  const waiting = new Map<string, () => void>()
  const state = { isClosed: false }
  const text = `select order_id as "orderId" from orders where order_id = any ($1) and status = 'processing'`
  async function look(): Promise<void> {
    while (!state.isClosed) {
      if (waiting.size > 0) {
        const { rows } = await client.query<{ orderId: string }>({
          name: 'bench_processed',
          text,
          values: [[...waiting.keys()]],
        })
        for (const { orderId } of rows) waiting.get(orderId)?.()
      }
      await sleep(LOOK_EVERY_MS)
    }
  }
  const looking = look()
  return {
    until: async (orderId: string): Promise<void> => {
      const timeout = new AbortController()
      const found = new Promise<boolean>((resolve) => waiting.set(orderId, () => resolve(true)))
      const late = sleep(PROCESSED_WITHIN_MS, false, { signal: timeout.signal }).catch(() => false)
      const isFound = await Promise.race([found, late])
      timeout.abort()
      waiting.delete(orderId)
      if (!isFound) throw new Error('an order that was paid is not being processed')
    },
    close: async (): Promise<void> => {
      state.isClosed = true
      await looking
      await client.end()
    },
  }
}
