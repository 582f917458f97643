// Write scenarios: every writing transaction of the product, as one call each. `prepare` creates what the call needs;
// the call can be repeated unchanged. Tests break it after each statement, or between its commit and its answer.

import { randomBytes, randomUUID } from 'node:crypto'
import { createAcceptor, type AcceptedOrder } from '../../src/db/accept/accept.ts'
import { putProduct, type ProductToPut } from '../../src/db/catalogue.ts'
import { createQuotaWindow } from '../../src/db/quota.ts'
import { recordConsistency } from '../../src/db/consistency.ts'
import { noteReads } from '../../src/db/audit/read.ts'
import { insertEpoch, insertKeys, renewKeys, type Epoch, type PaymentKey } from '../../src/db/key.ts'
import { deleteExpiredAnswers } from '../../src/db/idempotency.ts'
import { deleteExpiredNotifications, replayNotifications } from '../../src/db/notification.ts'
import { changeAddress, expireOrder, releaseStock, reserveStock, runCommand } from '../../src/db/order.ts'
import { assessLatePayments, assessPayments, recordReport } from '../../src/db/payment.ts'
import { statement, type Database } from '../../src/db/connection/pool.ts'
import { rehydrateOrders, restartOrder } from '../../src/db/restart.ts'
import { deleteExpiredSecurityEvents, insertSecurityEvents } from '../../src/db/security_event.ts'
import { adjustStock } from '../../src/db/stock.ts'
import { endHolds, setHoldAside } from '../../src/db/sweep.ts'
import { ASSET_POLICY } from '../../src/domain/payment.ts'
import { buildAttempt, buildLine, buildProposal, buildRateOrigin } from './builder.ts'
import { actingAs, openTestDatabase, type TestDatabase } from './database.ts'
import { CHAIN_SCENARIOS } from './scenario_chain.ts'
import { PAYOUT_SCENARIOS } from './scenario_payout.ts'
import { REFUND_SCENARIOS } from './scenario_refund.ts'
import { buildCommand, buildObservation, forgetHold, runOf, SHIP, type Run, type TestShop } from './shop.ts'
import { until } from './until.ts'

/** The databases of the processes, each connected under its role. */
export type RoleDatabases = { api: Database; worker: Database; keys: Database; watcher: Database }
export type ScenarioContext = { shop: TestShop; databases: RoleDatabases }
export type WriteCall = (databases: RoleDatabases) => Promise<unknown>
export type Scenario = {
  /** Our functions and the database's that it runs. */
  of: string
  /** Creates what the call needs, and returns the call. */
  prepare: (context: ScenarioContext) => Promise<WriteCall>
  /** The error of a repeated call that had taken effect before; undefined where the repeat is answered. */
  again?: 'CursorMovedError' | 'DatabaseError'
  /** Tables that a repeat may write to: they store every call, or the same values again. */
  rewrites?: readonly string[]
}

/** An order of two products, so that each statement about stock changes two rows. */
async function orderOfTwo(shop: TestShop, overrides: Parameters<TestShop['order']>[0] = {}): Promise<AcceptedOrder> {
  const products = [await shop.product(), await shop.product()]
  return shop.order({ lines: products.map(({ productId }) => buildLine({ productId, quantity: 2 })), ...overrides })
}

async function lapsed(shop: TestShop): Promise<AcceptedOrder> {
  const order = await orderOfTwo(shop, { windowMs: 1, graceMs: 0 })
  const look = 'select from reservation where order_id = $1 and expires_at < clock_timestamp()'
  await until(async () => (await shop.query(look, [order.orderId])).length > 0)
  return order
}

/** The run of an order that is slightly overpaid. */
async function paid(shop: TestShop): Promise<Run> {
  const order = await orderOfTwo(shop)
  const run = runOf(order)
  await recordReport(shop.api, 'w1', [
    buildObservation(order, { amount: order.amountDue + 2n * ASSET_POLICY.ETH.dustFloor }),
  ])
  await assessPayments(shop.worker, run.next())
  return run
}

const FORGET_QUOTAS = statement('scenario_forget_quotas', 'select forget_quotas(100)')
const attemptOf = (method: string) => buildAttempt({ method })
const SOON_MS = 30_000
const soon = () => Date.now() + SOON_MS

const productToPut = (productId: string): ProductToPut => ({
  productId,
  name: 'Lamp',
  unitPriceMinor: 999n,
  currency: 'EUR',
  isActive: true,
  expectedVersion: undefined,
})

const buildEpoch = (): Epoch => ({
  epochId: randomUUID(),
  masterVersion: 1,
  salt: randomBytes(32),
  iterations: 100_000,
})
const buildKey = (epoch: Epoch): PaymentKey => ({
  ...{ keyId: randomUUID(), network: 'ethereum', asset: 'ETH', address: `0x${randomBytes(20).toString('hex')}` },
  ...{ formatVersion: 1, envelopeVersion: 1, epochId: epoch.epochId, masterVersion: epoch.masterVersion },
  ...{ salt: randomBytes(32), wrapNonce: randomBytes(12), wrapTag: randomBytes(16), wrappedKey: randomBytes(32) },
  ...{ nonce: randomBytes(12), tag: randomBytes(16), ciphertext: randomBytes(48) },
})
/** The same fingerprint each time: a version of the ring has only one. */
const FINGERPRINT = randomBytes(32)
async function newEpoch({ databases }: ScenarioContext): Promise<Epoch> {
  const epoch = buildEpoch()
  await insertEpoch(databases.keys, { epoch, fingerprint: FINGERPRINT, keyLimit: 10 })
  return epoch
}

const COMMANDED = { cancel: {}, ship: SHIP, deliver: { ...SHIP, method: 'MarkDelivered' } } as const
const commanding = (command: keyof typeof COMMANDED): Scenario => ({
  of: 'runCommand command_order do_command consume_stock',
  prepare: async ({ shop }) => {
    const run = await paid(shop)
    if (command === 'deliver') await shop.ask('ship', run.next())
    const [fence, input] = [run.next(), buildCommand(COMMANDED[command])]
    return ({ worker }) => runCommand(worker, fence, command, input)
  },
})

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  ...CHAIN_SCENARIOS,
  ...REFUND_SCENARIOS,
  ...PAYOUT_SCENARIOS,
  'an admin reads the addresses of two orders': {
    of: 'noteReads audit_note_reads',
    prepare: async ({ shop }) => {
      const orderIds = [(await orderOfTwo(shop)).orderId, (await orderOfTwo(shop)).orderId]
      const read = { orderIds, fields: ['shipping_address'], by: { actor: 'user:1', role: 'admin' } } as const
      return ({ api }) => noteReads(api, read)
    },
    // Each read is noted.
    rewrites: ['audit_entry', 'audit_head'],
  },
  'an order is accepted': {
    of: 'accept_orders accept_optimistic accept_locked write_orders store_rates take_wanted',
    prepare: async ({ shop }) => {
      const lines = [await shop.product(), await shop.product()].map(({ productId }) => buildLine({ productId }))
      const rateOrigin = buildRateOrigin()
      const proposal = buildProposal({ lines, rateOrigin, userId: BigInt(`0x${randomBytes(6).toString('hex')}`) + 1n })
      return ({ api }) => createAcceptor({ database: api, giveBack: () => undefined }).accept(proposal)
    },
  },
  'a hold is taken': {
    of: 'reserveStock step_order take_stock',
    prepare: async ({ shop }) => {
      const order = await orderOfTwo(shop)
      await forgetHold(shop, order)
      const fence = runOf(order).next()
      return ({ worker }) => reserveStock(worker, fence)
    },
  },
  'an order expires': {
    of: 'expireOrder expire_orders end_orders',
    prepare: async ({ shop }) => {
      const fence = runOf(await lapsed(shop)).next()
      return ({ worker }) => expireOrder(worker, fence)
    },
  },
  'holds are swept': {
    of: 'expire_orders end_orders',
    prepare: async ({ shop }) => {
      const orders = [await lapsed(shop), await lapsed(shop)]
      return ({ worker }) =>
        endHolds(
          worker,
          orders.map(({ orderId }) => orderId),
        )
    },
  },
  'a hold is set aside': {
    rewrites: ['hold_aside'],
    of: 'set_hold_aside',
    prepare: async ({ shop }) => {
      const { orderId } = await lapsed(shop)
      return ({ worker }) => setHoldAside(worker, orderId, 'P0001')
    },
  },
  'a hold is undone': {
    of: 'releaseStock end_orders',
    prepare: async ({ shop }) => {
      const fence = runOf(await orderOfTwo(shop)).next()
      return ({ worker }) => releaseStock(worker, fence)
    },
  },
  'an order is cancelled': commanding('cancel'),
  'an order is shipped': commanding('ship'),
  'an order is delivered': commanding('deliver'),
  'an address changes': {
    of: 'changeAddress',
    prepare: async ({ shop }) => {
      const { orderId } = await orderOfTwo(shop)
      const [sealed, input] = [randomBytes(64), buildCommand({ method: 'UpdateShippingAddress' })]
      return ({ api }) => changeAddress(api, orderId, sealed, input)
    },
  },
  'transfers are reported': {
    of: 'recordReport record_report request_wake',
    prepare: async ({ shop }) => {
      const facts = [await orderOfTwo(shop), await orderOfTwo(shop)].map((order) => buildObservation(order))
      return ({ api }) => recordReport(api, 'w1', facts)
    },
  },
  'a payment is assessed': {
    of: 'assessPayments begin_assessment credit_payments end_assessment keep_owed_refund',
    prepare: async ({ shop }) => {
      const order = await orderOfTwo(shop)
      await recordReport(shop.api, 'w1', [
        buildObservation(order, { amount: order.amountDue + 2n * ASSET_POLICY.ETH.dustFloor }),
      ])
      const fence = runOf(order).next()
      return ({ worker }) => assessPayments(worker, fence)
    },
  },
  'late money is assessed': {
    rewrites: ['orders'],
    of: 'assessLatePayments',
    prepare: async ({ shop }) => {
      const order = await orderOfTwo(shop)
      await shop.ask('cancel', runOf(order).next())
      await recordReport(shop.api, 'w1', [buildObservation(order)])
      return ({ worker }) => assessLatePayments(worker, order.orderId)
    },
  },
  'stock is corrected': {
    of: 'adjustStock',
    prepare: async ({ shop }) => {
      const { productId } = await shop.product()
      const [attempt, change] = [attemptOf('AdjustStock'), { kind: 'delta' as const, units: 3n }]
      const adjustment = { productId, change, actor: 'user:1', reason: 'found', expectedVersion: undefined }
      return ({ api }) => adjustStock(api, attempt, adjustment, soon())
    },
  },
  'a product is new': {
    of: 'putProduct',
    prepare: async () => {
      const [attempt, product] = [attemptOf('PutProduct'), productToPut(`sku-${randomUUID()}`)]
      return ({ api }) => putProduct(api, attempt, product, soon())
    },
  },
  'a price changes': {
    of: 'putProduct',
    prepare: async ({ shop }) => {
      const [attempt, product] = [attemptOf('PutProduct'), productToPut((await shop.product()).productId)]
      return ({ api }) => putProduct(api, attempt, product, soon())
    },
  },
  'dead notifications are revived': {
    of: 'replayNotifications',
    prepare: async ({ shop }) => {
      const { orderId } = await orderOfTwo(shop)
      await shop.query(
        `update notification set dead_at = clock_timestamp(), dead_reason = 'refused' where order_id = $1`,
        [orderId],
      )
      const attempt = attemptOf('ReplayNotifications')
      return ({ api }) => replayNotifications(api, attempt, undefined, soon())
    },
  },
  'a lost order is restarted': {
    of: 'restartOrder restart_orders revive_relays',
    prepare: async ({ shop }) => {
      const { orderId } = await orderOfTwo(shop)
      await shop.query(`update workflow_start set dead_reason = 'closed' where order_id = $1`, [orderId])
      const attempt = attemptOf('RestartOrder')
      return ({ api }) => restartOrder(api, attempt, { orderId, reason: 'lost', isRunning: false }, soon())
    },
  },
  'lost orders are rehydrated': {
    of: 'rehydrateOrders',
    prepare: async ({ shop }) => {
      const { orderId } = await orderOfTwo(shop)
      await shop.query(`delete from workflow_start where order_id = $1`, [orderId])
      const attempt = attemptOf('RehydrateOrders')
      const page = { lost: [orderId], running: [], reason: 'lost', nextCursor: '' }
      return ({ api }) => rehydrateOrders(api, attempt, page, soon())
    },
  },
  'old answers are forgotten': {
    of: 'deleteExpiredAnswers forget_answers',
    prepare: async ({ shop }) => {
      await shop.query(
        `insert into idempotency (actor, method, key, request_hash, response, created_at)
         select 'user:1', 'PutProduct', gen_random_uuid(), sha256('x'), '{}', clock_timestamp() - interval '31 days'
         from generate_series(1, 3)`,
      )
      return ({ worker }) => deleteExpiredAnswers(worker)
    },
  },
  'news told long ago is forgotten': {
    of: 'deleteExpiredNotifications forget_notifications',
    prepare: async ({ shop }) => {
      const { orderId } = await orderOfTwo(shop)
      await shop.query(
        `update notification set delivered_at = clock_timestamp() - interval '31 days',
           changed_at = clock_timestamp() - interval '31 days' where order_id = $1`,
        [orderId],
      )
      await shop.test.forge(`update orders set created_at = created_at - interval '31 days' where order_id = $1`, [
        orderId,
      ])
      return ({ worker }) => deleteExpiredNotifications(worker)
    },
  },
  'refused calls are recorded': {
    of: 'insertSecurityEvents',
    prepare: async () => {
      const event = { kind: 'denied', subject: 'user:7', peer: 'ab'.repeat(32), ageMs: 5, events: 1 } as const
      const events = [{ ...event, method: null, object: null, requestId: randomUUID() }]
      return ({ api }) => insertSecurityEvents(api, events)
    },
    // Each call appends.
    rewrites: ['security_event'],
  },
  'old security events are forgotten': {
    of: 'deleteExpiredSecurityEvents forget_security_events',
    prepare: async ({ shop }) => {
      await shop.query(
        `insert into security_event (at, kind, peer, events)
         select clock_timestamp() - interval '91 days', 'denied', repeat('ab', 32), 1 from generate_series(1, 3)`,
      )
      return ({ worker }) => deleteExpiredSecurityEvents(worker)
    },
  },
  'calls are counted in the windows of their limits': {
    of: 'take_quota',
    prepare: async () => {
      const [user, address] = [randomUUID(), randomUUID()].map((key) => ({ key, limit: 9 }))
      if (user === undefined || address === undefined) throw new Error('two keys')
      return ({ api }) => createQuotaWindow(api)({ user, address })
    },
    // Each call is counted.
    rewrites: ['quota_window'],
  },
  'windows that count nothing any more are removed': {
    of: 'forget_quotas',
    prepare: async ({ shop }) => {
      await shop.query(
        `insert into quota_window (key, second) select sha256(random()::text::bytea), 1 from generate_series(1, 3)`,
      )
      return ({ api }) => api.run(FORGET_QUOTAS, [])
    },
  },
  'a check of everything is recorded': {
    of: 'recordConsistency',
    rewrites: ['consistency_run', 'inconsistency'],
    prepare: async () => {
      const looked = { orders: 1, products: 1, answers: 1, workflows: 1 }
      const found = { check: 'never_oversold', subject: randomUUID(), detail: 'found' }
      return ({ worker }) => recordConsistency(worker, { startedAt: new Date(), looked, differences: [found] })
    },
  },
  'keys are made': {
    of: 'insertKeys',
    again: 'DatabaseError',
    prepare: async (context) => {
      const epoch = await newEpoch(context)
      const keys = [buildKey(epoch), buildKey(epoch)]
      return ({ keys: database }) => insertKeys(database, epoch.epochId, keys)
    },
  },
  'a key is retired': {
    of: 'renewKeys',
    prepare: async (context) => {
      const { shop, databases } = context
      const [epoch, order] = [await newEpoch(context), await orderOfTwo(shop)]
      const key = { ...buildKey(epoch), address: order.address }
      await insertKeys(databases.keys, epoch.epochId, [key])
      await shop.ask('cancel', runOf(order).next())
      const renewal = { ...key, orderId: order.orderId, envelopeVersion: 2, salt: randomBytes(32) }
      return ({ keys }) => renewKeys(keys, epoch.epochId, [renewal])
    },
  },
}

/** Databases for a shop's processes: the shop's own for api and worker, new ones (closed by `close`) for the others. */
export async function openRoleDatabases(
  shop: TestShop,
): Promise<{ databases: RoleDatabases; close: () => Promise<void> }> {
  const open = (role: 'app_keys' | 'watcher') =>
    openTestDatabase({ url: shop.test.urlOf(role), poolSize: 4, applicationName: `test-${role}`, ...actingAs(role) })
  const [keys, watcher] = [await open('app_keys'), await open('watcher')]
  return {
    databases: { api: shop.api, worker: shop.worker, keys, watcher },
    close: async () => {
      await keys.close()
      await watcher.close()
    },
  }
}

/** Row count and newest writing transaction of each table. Two equal ones: nothing was written between them. */
export async function readSnapshot(test: TestDatabase): Promise<{ name: string }[]> {
  const tables = await test.query<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'holdfast' and c.relkind = 'r' order by 1`,
  )
  const parts = tables.map(
    ({ name }) => `select '${name}' as name, count(*) as rows, max(xmin::text::bigint) as newest from ${name}`,
  )
  return test.query(`${parts.join(' union all ')} order by name`)
}
