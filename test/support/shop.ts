// A test shop: a database, reached through the roles of the api and of the worker. Without Temporal, gRPC and relays:
// only the test itself acts.

import { randomBytes, randomUUID } from 'node:crypto'
import { createAcceptor, type AcceptedOrder, type Acceptor, type ProposedOrder } from '../../src/db/accept/accept.ts'
import { getOrderState, reserveStock, runCommand } from '../../src/db/order.ts'
import { assessPayments, recordReport } from '../../src/db/payment.ts'
import type { ReportedObservation } from '../../src/domain/chain.ts'
import type { Database } from '../../src/db/connection/pool.ts'
import { systemActor } from '../../src/domain/audit.ts'
import type { CommandInput, CommandResult, Fence } from '../../src/domain/command.ts'
import type { Command, OrderState, OrderStatus } from '../../src/domain/order.ts'
import { buildLine, buildProposal, putProduct, type TestProduct } from './builder.ts'
import { createTestDatabase, openTestDatabase, type TestDatabase } from './database.ts'

const POOL_SIZE = 10

export const SHIP: Partial<CommandInput> = { actor: 'user:9', role: 'fulfilment', method: 'MarkShipped' }
/** The usual caller of each command. */
const ASKED: Readonly<Record<Command, Partial<CommandInput>>> = {
  cancel: {},
  ship: SHIP,
  deliver: { ...SHIP, method: 'MarkDelivered' },
}

export type TestShop = {
  /** Superuser access. */
  test: TestDatabase
  query: TestDatabase['query']
  api: Database
  worker: Database
  acceptor: Acceptor
  /** Addresses that the acceptor returned to the pool, oldest first. */
  givenBack: string[]
  product: (overrides?: Partial<TestProduct>) => Promise<TestProduct>
  /** Accepts an order; by default for two of ten units of a new product. @throws when it is refused */
  order: (overrides?: Partial<ProposedOrder>) => Promise<AcceptedOrder>
  /** An order brought to this status, and the workflow run that did it. */
  orderIn: (status: OrderStatus) => Promise<{ order: AcceptedOrder; run: Run }>
  /** A command by its usual caller: the owner cancels, fulfilment ships and delivers. */
  ask: (command: Command, fence: Fence, overrides?: Partial<CommandInput>) => Promise<CommandResult>
  state: (order: Pick<AcceptedOrder, 'orderId'>) => Promise<OrderState>
  /** Everything about an order that a step could change, except the fence. */
  snapshot: (order: AcceptedOrder) => Promise<{ state: OrderState; [part: string]: unknown }>
  /** Stock of the first product of an order. */
  stock: (order: Pick<AcceptedOrder, 'lines'>) => Promise<{ onHand: bigint; reserved: bigint }>
  /** Records that the watcher has read the chain past every quote's end, or up to `at`. */
  catchUp: (at?: Date, source?: string) => Promise<void>
  close: () => Promise<void>
}

/** @param prepare sets up the database before the shop connects */
export async function createTestShop({
  prepare,
}: { prepare?: (test: TestDatabase) => Promise<void> } = {}): Promise<TestShop> {
  const test = await createTestDatabase()
  await prepare?.(test)
  const api = await openTestDatabase({
    url: test.urlOf('app_api'),
    poolSize: POOL_SIZE,
    applicationName: 'test-api',
    forceGenericPlan: true,
  })
  const worker = await openTestDatabase({
    url: test.urlOf('app_worker'),
    poolSize: POOL_SIZE,
    applicationName: 'test-worker',
    actor: systemActor('worker'),
  })
  const givenBack: string[] = []
  const acceptor = createAcceptor({ database: api, giveBack: (_network, address) => void givenBack.push(address) })
  const product = (overrides: Partial<TestProduct> = {}) => putProduct(test, { onHand: 10n, ...overrides })
  const putOrder: TestShop['order'] = async (overrides = {}) => {
    const lines = overrides.lines ?? [buildLine({ productId: (await product()).productId, quantity: 2 })]
    const answer = await acceptor.accept(buildProposal({ ...overrides, lines }))
    if (!('order' in answer)) throw new Error(`the order was refused: ${answer.verdict}`)
    return answer.order
  }
  const ask: TestShop['ask'] = (command, fence, overrides = {}) =>
    runCommand(worker, fence, command, buildCommand({ ...ASKED[command], ...overrides }))

  const state: TestShop['state'] = ({ orderId }) => getOrderState(worker, orderId)
  const stock: TestShop['stock'] = async ({ lines }) => {
    const [row] = await test.query<{ onHand: bigint; reserved: bigint }>(
      'select on_hand as "onHand", reserved from stock where product_id = $1',
      [lines[0]?.productId],
    )
    if (row === undefined) throw new Error('there is no such product')
    return row
  }

  return {
    test,
    query: test.query,
    api,
    worker,
    acceptor,
    givenBack,
    product,
    order: putOrder,
    ask,
    orderIn: async (status) => {
      const order = await putOrder()
      const run = runOf(order)
      await reserveStock(worker, run.next())
      if (status === 'cancelled') await ask('cancel', run.next())
      if (status === 'pending' || status === 'cancelled') return { order, run }
      await recordReport(api, 'w1', [buildObservation(order)])
      await assessPayments(worker, run.next())
      if (status === 'processing') return { order, run }
      await ask('ship', run.next())
      if (status === 'delivered') await ask('deliver', run.next())
      return { order, run }
    },
    state,
    snapshot: async (order) => ({
      state: { ...(await state(order)), expiresInMs: 0 },
      stock: await stock(order),
      rows: await test.query(
        `select (select count(*) from notification where order_id = $1) as told,
           (select count(*) from stock_movement where order_id = $1) as moves,
           (select count(*) from refund_due where order_id = $1) as owed,
           (select count(*) from key_retire where order_id = $1) as retired,
           (select jsonb_agg(p order by p.tx_id) from payment p where p.order_id = $1) as payments,
           (select address_sealed from orders where order_id = $1) as address`,
        [order.orderId],
      ),
    }),
    stock,
    catchUp: async (at = new Date(Date.now() + 30 * 86_400_000), source = 'watcher-1') =>
      void (await test.query(
        `insert into chain_status (network, source, start_height, settled_height, scanned_height, tip_height, tip_asked_at, caught_up_at)
         values ('ethereum', $2, 1, 1, 1, 1, $1, $1)
         on conflict (network, source) do update set tip_asked_at = excluded.tip_asked_at, caught_up_at = excluded.caught_up_at`,
        [at, source],
      )),
    close: async () => {
      await api.close()
      await worker.close()
      await test.drop()
    },
  }
}

/** Removes an order's hold, as if it had been stored without one. */
export const forgetHold = ({ test }: Pick<TestShop, 'test'>, { orderId }: AcceptedOrder): Promise<unknown> =>
  test.forge(
    `with gone as (delete from reservation where order_id = $1 returning product_id, quantity),
       unsaid as (delete from stock_movement where order_id = $1)
     update stock s set reserved = s.reserved - g.quantity from gone g where s.product_id = g.product_id`,
    [orderId],
  )

/** A workflow run of an order: numbers its steps. */
export type Run = { next: () => Fence }

export function runOf({ orderId }: Pick<AcceptedOrder, 'orderId'>, generation = 1): Run {
  let step = 0
  return { next: () => ({ orderId, generation, step: (step += 1) }) }
}

/** The full amount due, final, in one output. */
export const buildObservation = (
  order: Pick<AcceptedOrder, 'network' | 'asset' | 'address' | 'amountDue'>,
  overrides: Partial<ReportedObservation> = {},
): ReportedObservation => ({
  reportId: randomBytes(32).toString('hex'),
  network: order.network,
  asset: order.asset,
  txId: `0x${randomBytes(32).toString('hex')}`,
  outputIndex: 0,
  seq: 1,
  state: 'final',
  address: order.address,
  amount: order.amountDue,
  block: { height: 10, hash: '0xab' },
  firstSeenAt: new Date(),
  ...overrides,
})

/** The watcher's next report about the same output. */
export const nextOf = (
  fact: ReportedObservation,
  overrides: Partial<ReportedObservation> = {},
): ReportedObservation => ({
  ...fact,
  reportId: randomBytes(32).toString('hex'),
  seq: fact.seq + 1,
  ...overrides,
})

/** A command with a new idempotency key; by default the owner cancels. */
export const buildCommand = (overrides: Partial<CommandInput> = {}): CommandInput => ({
  actor: 'user:7',
  role: 'customer',
  method: 'CancelOrder',
  key: randomUUID(),
  requestHash: randomBytes(32).toString('hex'),
  ...overrides,
})
