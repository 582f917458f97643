// Who reads a customer's address is in the audit, whatever is logged; and without the entry nobody reads it.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { entriesOf, expectWholeChains, bodyOf } from '../../test/support/audit.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import {
  admin,
  auditor,
  createTestFront,
  customer,
  failureOf,
  fulfilment,
  type Caller,
  type TestFront,
} from '../../test/support/front.ts'
import { createLogger } from '../telemetry.ts'
import { noteReads } from '../db/audit/read.ts'

const STREET = 'Canary Wharf 7, 4711 Testville'
let database: TestDatabase
let front: TestFront
const lines: string[] = []

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 20)
  const destination = { write: (line: string) => void lines.push(line) }
  // At this level nothing is logged of a call that succeeds.
  front = await createTestFront(database, {
    deps: { logger: createLogger({ process: 'api', level: 'warn', destination }) },
  })
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

async function placeOrder(userId: number): Promise<string> {
  const { productId, unitPrice } = await putProduct(database)
  const { orderId } = await front.as(customer(userId)).order.createOrder({
    idempotencyKey: randomUUID(),
    userId: BigInt(userId),
    lines: [{ productId, quantity: 1, expectedUnitPrice: unitPrice }],
    asset: 'ETH',
    shippingAddress: STREET,
  })
  return orderId
}
/** Shows the order to fulfilment. */
const pay = (orderId: string): Promise<unknown> =>
  database.forge(`update orders set status = 'processing', payment_state = 'paid' where order_id = $1`, [orderId])
const read = (caller: Caller, orderId: string) =>
  front.as(caller).order.getOrder({ orderId, includeShippingAddress: true })
/** What the audit says about reads of an order. */
const readsOf = async (orderId: string) =>
  (await entriesOf(database, 'order', orderId))
    .map(bodyOf)
    .flatMap(({ by, dbRole, changes }) => changes.map((change) => ({ by, dbRole, change })))
    .filter(({ change }) => change.op === 'READ')

test('each read by fulfilment or an admin is an entry: who, whose, which fields and why, whatever is logged', async () => {
  const orderId = await placeOrder(7)
  await pay(orderId)
  for (const caller of [fulfilment, admin, admin])
    expect((await read(caller, orderId)).order?.shippingAddress).toBe(STREET)
  const change = {
    table: 'pii_access',
    op: 'READ',
    key: { order_id: orderId },
    new: { user_id: '7', fields: ['shipping_address'] },
  }
  const by = {
    reason: '/holdfast.v1.OrderService/GetOrder',
    requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    tokenId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    ipHash: expect.stringMatching(/^[0-9a-f]{64}$/),
    requestHash: expect.stringMatching(/^[0-9a-f]{64}$/),
  }
  expect(await readsOf(orderId)).toEqual([
    { dbRole: 'app_api', by: { ...by, actor: 'user:2', role: 'fulfilment' }, change },
    { dbRole: 'app_api', by: { ...by, actor: 'user:1', role: 'admin' }, change },
    { dbRole: 'app_api', by: { ...by, actor: 'user:1', role: 'admin' }, change },
  ])
  expect(lines.filter((line) => line.includes('pii_access'))).toEqual([])
  // The entries are links of the order's chain, and hold nothing of the address.
  await expectWholeChains(database)
  expect(await database.query('select from audit_entry where body like $1', ['%Wharf%'])).toEqual([])
})

test('what shows no address leaves no entry: the owner’s own read, an order without its address, a refusal', async () => {
  const orderId = await placeOrder(8)
  expect((await read(customer(8), orderId)).order?.shippingAddress).toBe(STREET)
  await front.as(admin).order.getOrder({ orderId })
  for (const caller of [auditor, customer(9), fulfilment])
    expect((await failureOf(read(caller, orderId))).reason).toBe('PERMISSION_DENIED')
  expect(await readsOf(orderId)).toEqual([])
})

test('while the entry cannot be written no address leaves, and the owner still reads their own', async () => {
  const orderId = await placeOrder(10)
  await database.query('revoke execute on function audit_note_reads from app_api')
  try {
    expect((await failureOf(read(admin, orderId))).reason).toBe('INTERNAL')
    expect((await read(customer(10), orderId)).order?.shippingAddress).toBe(STREET)
  } finally {
    await database.query('grant execute on function audit_note_reads to app_api')
  }
  // Refused only at commit, after the function has returned.
  await database.query(`create function refuse_entry() returns trigger language plpgsql as
    $$ begin raise exception 'no entry' using errcode = '53100'; end $$;
    create trigger zz_refuse before insert on audit_entry for each row execute function refuse_entry()`)
  try {
    expect((await failureOf(read(admin, orderId))).reason).toBe('DATABASE_UNAVAILABLE')
  } finally {
    await database.query('drop trigger zz_refuse on audit_entry; drop function refuse_entry')
  }
  expect(await readsOf(orderId)).toEqual([])
  expect((await read(admin, orderId)).order?.shippingAddress).toBe(STREET)
  expect(await readsOf(orderId)).toHaveLength(1)
})

test('a call that reads several orders notes them in one statement, or none of them', async () => {
  const orderIds = [await placeOrder(11), await placeOrder(12)]
  const by = { actor: 'user:1', role: 'admin' } as const
  await noteReads(front.database, { orderIds, fields: ['shipping_address'], by })
  for (const orderId of orderIds) expect(await readsOf(orderId)).toHaveLength(1)
  const unknown = { orderIds: [randomUUID()], fields: ['shipping_address'], by } as const
  await expect(noteReads(front.database, unknown)).rejects.toThrow('0 of 1 reads were noted')
  const nameless = { orderIds, fields: ['shipping_address'], by: { actor: 'admin', role: 'admin' } } as const
  await expect(noteReads(front.database, nameless)).rejects.toThrow()
  for (const orderId of orderIds) expect(await readsOf(orderId)).toHaveLength(1)
})
