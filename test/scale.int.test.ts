// Index use at scale: with a million orders of a million products, every statement that a caller or a relay waits for
// uses an index. Each runs through its production function; Postgres itself reports its plan.

import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { findVerdict } from '../src/db/accept/accept.ts'
import { countFreeAddresses, leaseAddresses } from '../src/db/address.ts'
import { findProduct, listProducts, putProduct } from '../src/db/catalogue.ts'
import { appendBlock, readCursor, rewind } from '../src/db/chain/cursor.ts'
import { countReports, deleteReports, findDueReports } from '../src/db/chain/outbox.ts'
import { stampStatus } from '../src/db/chain/status.ts'
import {
  countUnexplained,
  findDueAddresses,
  findHeldAddresses,
  findAddressesToReread,
  findUnheldOrders,
  saveBalances,
} from '../src/db/chain/balance.ts'
import { deleteExpiredAnswers } from '../src/db/idempotency.ts'
import { findCustomerKey, findDueRetirements, insertCustomerKey, readRetireBacklog, renewKeys } from '../src/db/key.ts'
import * as order from '../src/db/order.ts'
import { findPaymentDossier } from '../src/db/payment_dossier.ts'
import { listTransfers, MAX_WALKED, type TransferFilter, type TransferPage } from '../src/db/payment_list.ts'
import { assessLatePayments, assessPayments, recordReport } from '../src/db/payment.ts'
import type { Database } from '../src/db/connection/pool.ts'
import * as read from '../src/db/read.ts'
import {
  claimNotifications,
  deferNotifications,
  deleteExpiredNotifications,
  markNotificationsDelivered,
} from '../src/db/notification.ts'
import { findBacklog } from '../src/db/backlog.ts'
import * as starts from '../src/db/start.ts'
import * as wakes from '../src/db/wake.ts'
import { adjustStock, readStock } from '../src/db/stock.ts'
import { countHoldsAside, runHoldSweep } from '../src/db/sweep.ts'
import { countOrdersInDoubt } from '../src/db/doubt.ts'
import { ORDER_STATUSES } from '../src/domain/order.ts'
import { actingAs, openTestDatabase } from './support/database.ts'
import { buildLine, buildProposal } from './support/builder.ts'
import { bulkOrder, bulkTxId, loadBulk } from './support/bulk_load.ts'
import { recordPlans, type Plan, type PlanRecorder } from './support/query_plan.ts'
import { buildCommand, buildObservation, createTestShop, nextOf, runOf, SHIP, type TestShop } from './support/shop.ts'

const SIZE = { products: 1_000_000, orders: 1_000_000 }
const LOAD_WITHIN_MS = 900_000
/** Reading a whole table below this size takes almost no time. */
const BIG_ROWS = 5_000
/** More rows than any of these statements must read, and far fewer than a big table has. */
const FEW_ROWS = 2_500

/** The newest hundredth of orders waits for payment, the one before for shipping; this third order has ended. */
const [PENDING, PROCESSING, CANCELLED] = [SIZE.orders - 5_000, SIZE.orders - 15_000, 500_000]
/** An order whose payment is in the middle of all payments. */
const PAID = SIZE.orders - 60_001
const BIG_BATCH = 64

type Scene = TestShop & { keys: Database; watcher: Database }
let scene: Scene
let plans: PlanRecorder
let bigTables: ReadonlySet<string>

beforeAll(async () => {
  const shop = await createTestShop()
  await loadBulk(shop.test.url, SIZE)
  plans = await recordPlans(shop.test, ['app_api', 'app_worker', 'app_keys', 'watcher'])
  const open = (role: 'app_keys' | 'watcher') =>
    openTestDatabase({ url: shop.test.urlOf(role), poolSize: 2, applicationName: role, ...actingAs(role) })
  scene = { ...shop, keys: await open('app_keys'), watcher: await open('watcher') }
  const rows = await shop.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'holdfast'::regnamespace and reltuples > ${BIG_ROWS}`,
  )
  bigTables = new Set(rows.map(({ name }) => name))
}, LOAD_WITHIN_MS)
afterAll(async () => {
  plans.stop()
  await scene.keys.close()
  await scene.watcher.close()
  await scene.close()
})

const attempt = (actor = 'user:1') => ({
  actor,
  method: 'Test',
  key: randomUUID(),
  requestHash: randomBytes(32),
  by: { actor, role: 'admin' as const },
})
const noFilter = { status: undefined, userId: undefined, createdFrom: undefined, createdBefore: undefined }
const firstPage = { limit: 101, offset: 0, after: undefined }
const list = (reach: read.OwnerScope, filter: Partial<read.OrderFilter>, page: Partial<read.PageOf> = {}) =>
  read.listOrders(scene.api, reach, { ...noFilter, ...filter }, { ...firstPage, ...page })
const transfers = (filter: TransferFilter, page: Partial<TransferPage> = {}) =>
  listTransfers(scene.api, filter, { limit: 101, isOldestFirst: false, after: undefined, ...page })
const idOf = (number: number): string => bulkOrder(number).orderId
const everyId = Array.from({ length: 500 }, (_, at) => idOf(1 + at * 1_999))
const dayOf = (day: number): Date => new Date(Date.now() - day * 86_400_000)

/** Calls with rows to find: a statement without work would show nothing more. */
const READS: Readonly<Record<string, () => Promise<unknown>>> = {
  'one order': () => read.findOrder(scene.api, idOf(CANCELLED), { ownerId: null, statuses: ORDER_STATUSES }),
  'how an order stands': () => read.findSnapshot(scene.api, idOf(7), { ownerId: bulkOrder(7).userId, statuses: [] }),
  'what has moved of five hundred watched orders': () =>
    read.findChangedOrders(
      scene.api,
      everyId.map((orderId) => ({ orderId, version: 1n })),
    ),
  'a customer’s orders': () => list({ ownerId: 4_711n }, {}),
  'a customer’s orders of one status': () => list({ ownerId: 4_711n }, { status: 'cancelled' }),
  'a customer’s next page': () => list({ ownerId: 4_711n }, {}, { after: idOf(47_105) }),
  'everybody’s orders': () => list('all owners', {}),
  'everybody’s next page': () => list('all owners', {}, { after: idOf(500_000) }),
  'everybody’s orders of one status': () => list('all owners', { status: 'processing' }),
  'everybody’s orders of one status, the last page': () =>
    list('all owners', { status: 'pending' }, { after: idOf(SIZE.orders - 9_950) }),
  'everybody’s orders of a day': () => list('all owners', { createdFrom: dayOf(101), createdBefore: dayOf(100) }),
  'everybody’s orders of one status and a day': () =>
    list('all owners', { status: 'cancelled', createdFrom: dayOf(101), createdBefore: dayOf(100) }),
  'one customer’s orders for an admin': () => list('all owners', { userId: 4_711n, createdBefore: dayOf(1) }),
  'orders to ship': () => read.listOrdersToShip(scene.api, firstPage),
  'orders to ship, the next page': () => read.listOrdersToShip(scene.api, { ...firstPage, after: idOf(PROCESSING) }),
  'stock of a hundred products': () =>
    readStock(
      scene.api,
      Array.from({ length: 100 }, (_, at) => `sku-${1 + at * 9_999}`),
    ),
  'one product': () => findProduct(scene.api, 'sku-500000'),
  'products on sale': () => listProducts(scene.api, firstPage),
  'products on sale, the next page': () => listProducts(scene.api, { ...firstPage, after: 'sku-500000' }),
}

/** A transfer in the middle of the list. */
const PLACE = { network: 'ethereum', txId: bulkTxId(PAID), outputIndex: 0 }
const PAYMENTS: typeof READS = {
  'payments, the newest': () => transfers({}),
  'payments, the oldest': () => transfers({}, { isOldestFirst: true }),
  'payments, the next page': () => transfers({}, { after: PLACE }),
  'payments, the next page from the oldest': () => transfers({}, { after: PLACE, isOldestFirst: true }),
  'payments of a day': () => transfers({ firstSeenFrom: dayOf(11), firstSeenBefore: dayOf(10) }),
  'payments of one state of their orders': () => transfers({ paymentState: 'paid', state: 'final', asset: 'ETH' }),
  'payments of an order': () => transfers({ orderId: idOf(PAID) }),
  'payments to an address': () => transfers({ address: bulkOrder(PAID).address }),
  'payments by a transaction': () => transfers({ txId: bulkTxId(PAID) }),
  'payments by a transaction that is unknown': () => transfers({ txId: '0x' + '0'.repeat(64) }),
  'the dossier of an order': () =>
    findPaymentDossier(scene.api, idOf(PAID), { ownerId: null, statuses: ORDER_STATUSES }),
}

const WRITES: Readonly<Record<string, () => Promise<unknown>>> = {
  'an accepted order': () => scene.acceptor.accept(buildProposal({ userId: 4_711n, lines: linesFrom(1) })),
  'a batch of accepted orders': () =>
    Promise.all(
      Array.from({ length: BIG_BATCH }, (_, at) =>
        scene.acceptor.accept(buildProposal({ userId: BigInt(at + 1), lines: linesFrom(at * 5_003) })),
      ),
    ),
  'an order that is short of stock, and its reclaim': async () => {
    await scene.query('update stock set on_hand = reserved where product_id = $1', [scarce])
    await scene.acceptor.accept(buildProposal({ lines: [buildLine({ productId: scarce })] }))
  },
  'an earlier answer': () => findVerdict(scene.api, { userId: 1n, key: randomUUID(), requestHash: randomBytes(32) }),
  'leased addresses': () => leaseAddresses(scene.api, { ...ETHEREUM, holder: 'test', count: 256 }),
  'a customer’s key': () => findCustomerKey(scene.api, 4_711n),
  'a new customer’s key': () =>
    insertCustomerKey(scene.api, 999_999_999n, { ringVersion: 1, wrappedKey: randomBytes(60) }),
  'a correction of stock': () =>
    adjustStock(
      scene.api,
      attempt(),
      {
        productId: 'sku-77',
        change: { kind: 'delta', units: 1n },
        actor: 'user:1',
        reason: 'counted',
        expectedVersion: undefined,
      },
      Number.POSITIVE_INFINITY,
    ),
  'a change of price': () =>
    putProduct(
      scene.api,
      attempt(),
      {
        productId: 'sku-78',
        name: 'Lamp',
        unitPriceMinor: 1_300n,
        currency: 'EUR',
        isActive: true,
        expectedVersion: undefined,
      },
      Number.POSITIVE_INFINITY,
    ),
  'a new delivery address': () => order.changeAddress(scene.api, idOf(PENDING), randomBytes(64), buildCommand()),
  'a report, its assessment, and shipping': async () => {
    const run = runOf(bulkOrder(PENDING + 1))
    const seen = buildObservation(bulkOrder(PENDING + 1), { state: 'seen' })
    await order.reserveStock(scene.worker, run.next())
    await recordReport(scene.api, 'w1', [seen])
    await assessPayments(scene.worker, run.next())
    await recordReport(scene.api, 'w1', [nextOf(seen, { state: 'final' })])
    await assessPayments(scene.worker, run.next())
    await order.runCommand(scene.worker, run.next(), 'ship', buildCommand(SHIP))
    await order.runCommand(scene.worker, run.next(), 'deliver', buildCommand({ ...SHIP, method: 'MarkDelivered' }))
    await order.getOrderState(scene.worker, idOf(PENDING + 1))
  },
  'a cancellation': async () => {
    const run = runOf(bulkOrder(PENDING + 2))
    await order.runCommand(scene.worker, run.next(), 'cancel', buildCommand())
    await recordReport(scene.api, 'w1', [buildObservation(bulkOrder(PENDING + 2))])
    await assessLatePayments(scene.worker, idOf(PENDING + 2))
  },
  'an expiry asked for by its run': () => order.expireOrder(scene.worker, runOf(bulkOrder(PENDING + 3)).next()),
  'an undone hold': () => order.releaseStock(scene.worker, runOf(bulkOrder(PENDING + 4)).next()),
}

const DUTIES: Readonly<Record<string, () => Promise<unknown>>> = {
  'starts to be made': async () => {
    const [first, second] = await starts.claimStarts(scene.worker, 'test', 100)
    await read.findCommandTarget(scene.api, first?.orderId ?? '', { ownerId: 1n, statuses: [] }, attempt())
    await starts.deleteStarts(scene.worker, 'test', [first?.orderId ?? ''])
    await starts.deferStart(scene.worker, 'test', second?.orderId ?? '', 1_000, null)
  },
  'wakes to be sent': async () => {
    const [first, second] = await wakes.claimWakes(scene.worker, 'test', 100)
    await wakes.markWakesSent(scene.worker, 'test', [first?.orderId ?? ''])
    await wakes.deferWake(scene.worker, 'test', second?.orderId ?? '', 1_000, null)
  },
  'changes to be told': async () => {
    const [first, second] = await claimNotifications(scene.worker, 'test', 100, 'log')
    await markNotificationsDelivered(scene.worker, 'test', [first?.notificationId ?? 0n])
    const notificationId = second?.notificationId ?? 0n
    await deferNotifications(scene.worker, 'test', [{ notificationId, delayMs: 1_000, deadReason: null }])
  },
  'the hold sweep': () => runHoldSweep(scene.worker, 'test'),
  'holds set aside': () => countHoldsAside(scene.worker),
  'orders in doubt': () => countOrdersInDoubt(scene.worker),
  'the backlog': () => Promise.all([findBacklog(scene.worker), read.countStarts(scene.api, 10_000)]),
  'keys to be retired': async () => {
    const due = await findDueRetirements(scene.keys, 32)
    const renewed = due.map((each) => ({ ...each, envelopeVersion: each.envelopeVersion + 1 }))
    await renewKeys(scene.keys, due[0]?.epochId ?? '', renewed.slice(0, 1))
    await readRetireBacklog(scene.keys)
  },
  'answers to be forgotten': () => deleteExpiredAnswers(scene.worker),
  'news to be forgotten': () => deleteExpiredNotifications(scene.worker),
  'free addresses': () => countFreeAddresses(scene.keys, ETHEREUM.network, ETHEREUM.asset),
  'a block of the chain, and one that is lost again': async () => {
    const { cursor } = await readCursor(scene.watcher, ETHEREUM.network)
    const height = (cursor?.scannedHeight ?? 0) + 1
    const [minedAt, chainTime] = [new Date(), new Date()]
    const block = { height, hash: '0xnew', parentHash: '0xold', minedAt, chainTime }
    const { asset, address, amountDue: amount } = bulkOrder(PENDING + 5)
    const outputs = [{ asset, address, amount, txId: `0x${randomBytes(32).toString('hex')}`, outputIndex: 0 }]
    const moved = await appendBlock(scene.watcher, ETHEREUM.network, { ...block, outputs }, 12)
    const due = await findDueReports(scene.watcher, ETHEREUM.network, 8)
    await countReports(scene.watcher, ETHEREUM.network)
    const tip = { height, hash: block.hash, chainTime }
    await deleteReports(
      scene.watcher,
      due.map(({ reportNo }) => reportNo),
    )
    const balances = await findDueAddresses(scene.watcher, ETHEREUM.network, chainTime, 500)
    await findAddressesToReread(scene.watcher, ETHEREUM.network, chainTime, 100)
    await findHeldAddresses(scene.watcher, ETHEREUM.network, new Date(0), 600)
    await findUnheldOrders(scene.watcher, ETHEREUM.network, chainTime, { from: new Date(0), limit: 500 })
    await saveBalances(scene.watcher, ETHEREUM.network, tip, new Map(balances.map((each) => [each, 0n])))
    await countUnexplained(scene.watcher, ETHEREUM.network)
    const stamp = { tip, askedAt: new Date(), isVouched: true, confirmations: 12, comparesBalances: true }
    await stampStatus(scene.watcher, ETHEREUM.network, stamp)
    await rewind(scene.watcher, ETHEREUM.network, moved, height - 1)
  },
}

/** Indexes that no caller and no relay waits for, and who needs them. */
const SERVE_ELSEWHERE: Readonly<Record<string, string>> = {
  audit_checkpoint_by_txid: 'the sealer, which continues after its last checkpoint',
  audit_entry_to_seal: 'the sealer, which reads in order of transactions',
  security_event_by_time: 'retention, which removes the oldest',
  security_event_calls: 'retention, which removes counts of calls after an hour',
  ledger_posting_by_time: 'the export for accountants, which reads days',
  payout_attempt_by_order: 'the consistency check, which looks for attempts without an order',
  payout_by_order: 'the consistency check, which looks for payouts without an order',
  payout_by_refund: 'the payer, which looks for the payouts of a refund',
  payout_failed_fee: 'the consistency check, which adds the fees of failed payouts of an order',
  refund_by_tx: 'the settlement of a payout, which looks whether a transaction paid another refund',
  payout_open: 'the payer, which reads its open payouts by nonce',
  refund_approval_by_order: 'the consistency check, which looks for approvals without an order',
  refund_by_status: 'people, who list the refunds that wait for them',
  refund_by_time: 'people, who list all refunds',
  reservation_committed: 'the consistency check, which adds up what orders hold of a product',
  stock_movement_counted: 'the consistency check, which adds up the ledger of a product',
}

/** The index that each statement depends on, to report its cost without it. */
const SERVED_BY: Readonly<Record<string, string>> = {
  'a customer’s orders': 'orders_by_customer',
  'everybody’s orders': 'orders_by_time',
  'everybody’s orders of one status, the last page': 'orders_by_status',
  'orders to ship': 'orders_by_status',
  'stock of a hundred products': 'stock_pk',
  'one product': 'product_pk',
}

/** Makes the planner ignore the index. */
const hide = (index: string, isHidden: boolean) =>
  scene.query(`update pg_index set indisvalid = not $2::boolean where indexrelid = ('holdfast.' || $1)::regclass`, [
    index,
    isHidden,
  ])

const ETHEREUM = { network: 'ethereum', asset: 'ETH' } as const
/** The product of an order that may expire. */
const scarce = `sku-${1 + ((PENDING - 10) % SIZE.products)}`
const linesFrom = (number: number) =>
  [1, 2, 3].map((at) => buildLine({ productId: `sku-${1 + ((number + at * 10) % SIZE.products)}` }))

/** Scans of a big table that use no condition, or that found far more rows than needed. */
const wasteOf = (found: readonly Plan[], mayRead = FEW_ROWS): string[] =>
  found.flatMap(({ query, scans }) =>
    scans
      .filter(({ table, index, rows }) => bigTables.has(table) && (index === undefined || rows > mayRead))
      .map(({ table, index, rows }) => `${rows} rows of ${table} by ${index ?? 'reading it whole'}: ${query}`),
  )

const ALL = { ...READS, ...PAYMENTS, ...WRITES, ...DUTIES }
const ran = new Map<string, readonly Plan[]>()
/** The plans of a statement, run once: a second run might find nothing left to change. */
async function plansOf(name: string): Promise<readonly Plan[]> {
  const found = ran.get(name) ?? (await plans.during(ALL[name] ?? (async () => undefined)))
  ran.set(name, found)
  return found
}

describe.each([
  ['a read', READS],
  ['a read of payments', PAYMENTS],
  ['a write', WRITES],
  ['a duty', DUTIES],
])('%s', (_kind, all) => {
  test.each(Object.keys(all))('%s: big tables are searched by an index alone', async (name) => {
    const found = await plansOf(name)
    expect(found).not.toEqual([])
    expect(wasteOf(found)).toEqual([])
  })
})

test('a list of payments of a long time reads no more of it than the page needs', async () => {
  const year = { firstSeenFrom: dayOf(365), firstSeenBefore: dayOf(10) }
  for (const isOldestFirst of [false, true])
    expect(wasteOf(await plans.during(() => transfers(year, { isOldestFirst })))).toEqual([])
})

test('a list of payments that matches nothing reads a bounded part of one index with each page', async () => {
  const found = await plans.during(async () => {
    const { reached } = await transfers({ state: 'replaced', flags: ['late'] })
    expect(reached).not.toBeNull()
  })
  expect(found).not.toEqual([])
  expect(wasteOf(found, MAX_WALKED)).toEqual([])
})

test('each index that is no key serves one of them', async () => {
  const used = new Set<string>()
  for (const name of Object.keys(ALL))
    for (const { index } of (await plansOf(name)).flatMap(({ scans }) => scans))
      if (index !== undefined) used.add(index)
  const indexes = await scene.query<{ name: string }>(
    `select c.relname as name from pg_index i join pg_class c on c.oid = i.indexrelid
     where c.relnamespace = 'holdfast'::regnamespace and not i.indisunique and not c.relispartition order by 1`,
  )
  const idle = indexes.map(({ name }) => name).filter((name) => !used.has(name) && !(name in SERVE_ELSEWHERE))
  expect(idle).toEqual([])
})

describe('without its index', () => {
  test.each(Object.entries(SERVED_BY))('%s costs at least twice the blocks', async (name, index) => {
    const blocksOf = async (): Promise<number> =>
      (await plans.during(READS[name] ?? DUTIES[name] ?? (async () => undefined))).reduce(
        (sum, { blocks }) => sum + blocks,
        0,
      )
    const before = await blocksOf()
    await hide(index, true)
    const after = await blocksOf()
    await hide(index, false)
    process.stderr.write(`${index}: ${before} blocks with it, ${after} without\n`)
    expect(after).toBeGreaterThanOrEqual(2 * before)
  })
})
