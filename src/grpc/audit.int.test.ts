// AuditService on the real front: whose history, by whom, and proofs that hold without the server.

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import { putAddresses } from '../../test/support/address.ts'
import { admin, auditor, createTestFront, customer, type Caller, type TestFront } from '../../test/support/front.ts'
import { createTestSealer, type TestSealer } from '../../test/support/sealing.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import { CALL_WITHIN_MS } from '../../test/support/until.ts'
import { createAdminClient, type GetOrderHistoryResponse } from './client.ts'
import { rootFromInclusion } from '../domain/merkle.ts'
import { entryHash, isSealed, leafHash, nodeHash } from '../keyvault/checkpoint.ts'

let shop: TestShop
let front: TestFront
let sealing: TestSealer
let orderId: string

beforeAll(async () => {
  shop = await createTestShop()
  front = await createTestFront(shop.test)
  sealing = await createTestSealer(shop.test)
  const { order } = await shop.orderIn('processing')
  orderId = order.orderId
  await shop.orderIn('delivered')
  await sealing.seal()
  await shop.ask('ship', { orderId, generation: 1, step: 9 })
})
afterAll(async () => {
  await sealing.close()
  await front.stop()
  await shop.close()
})

async function historyAs(caller: Caller, overrides: { orderId?: string; limit?: number; cursor?: string } = {}) {
  const client = createAdminClient({
    deadlineMs: CALL_WITHIN_MS,
    address: front.adminAddress,
    token: () => front.tokenOf(caller),
  })
  try {
    return await client.audit.getOrderHistory({ orderId, cursor: '', ...overrides })
  } finally {
    client.close()
  }
}

type Said = { by: { actor: string; role: string }; changes: { table: string; op: string; new?: { status?: string } }[] }
const saidIn = ({ entries }: GetOrderHistoryResponse): Said[] => entries.map(({ body }) => JSON.parse(body) as Said)
/** What the order's status became, entry by entry. */
const statuses = (answer: GetOrderHistoryResponse): string[] =>
  saidIn(answer).flatMap(({ changes }) =>
    changes.flatMap((change) => (change.table === 'orders' ? (change.new?.status ?? []) : [])),
  )

describe("an order's history", () => {
  it('tells who did what, from its acceptance on', async () => {
    const answer = await historyAs(auditor)
    expect(statuses(answer)).toEqual(['pending', 'processing', 'shipped'])
    expect(saidIn(answer).at(-1)?.by).toMatchObject({ actor: 'user:9', role: 'fulfilment' })
    expect(answer.entries.map(({ seq }) => seq)).toEqual(answer.entries.map((_, at) => BigInt(at + 1)))
  })

  it('comes with proofs that hold under the public key alone; what is not sealed yet has none', async () => {
    const { order, run } = await shop.orderIn('processing')
    const history = () => historyAs(admin, { orderId: order.orderId })
    await sealing.seal()
    await shop.ask('ship', run.next())
    const { entries, checkpoint } = await history()
    if (checkpoint === undefined) throw new Error('nothing was sealed')
    const size = Number(checkpoint.size)
    const isBelieved = isSealed(
      {
        ...{ no: Number(checkpoint.number), continues: Number(checkpoint.continues), size },
        root: checkpoint.root.toString('hex'),
        ...{ afterEntryId: checkpoint.afterEntryId, lastEntryId: checkpoint.lastEntryId },
        ...{ belowTxid: checkpoint.belowTxid, at: checkpoint.sealedAt, previous: checkpoint.previous.toString('hex') },
        ...{ keyId: checkpoint.keyId, signature: checkpoint.signature.toString('base64') },
      },
      sealing.keys,
    )
    expect(isBelieved).toBe(true)
    const proven = entries.slice(0, -1)
    expect(proven.length).toBeGreaterThan(1)
    for (const entry of proven) {
      const { prevHash, body, hash, proof } = entry
      expect(Buffer.from(entryHash(prevHash.length === 0 ? undefined : prevHash, body))).toEqual(hash)
      const index = Number(proof?.leafIndex)
      const root = rootFromInclusion({ leaf: leafHash(entry), index, size, path: proof?.path ?? [] }, nodeHash)
      expect(Buffer.from(root ?? [])).toEqual(checkpoint.root)
    }
    expect(entries.at(-1)?.proof).toBeUndefined()
    await sealing.seal()
    expect((await history()).entries.at(-1)?.proof).toBeDefined()
  })

  it('comes page by page', async () => {
    const all = await historyAs(admin)
    const found: bigint[] = []
    let cursor = ''
    do {
      const page = await historyAs(admin, { limit: 2, cursor })
      expect(page.entries.length).toBeLessThanOrEqual(2)
      found.push(...page.entries.map(({ entryId }) => entryId))
      cursor = page.nextCursor
    } while (cursor !== '')
    expect(found).toEqual(all.entries.map(({ entryId }) => entryId))
  })

  it('is for admins and auditors, who may know that there is no such order', async () => {
    await expect(historyAs(customer(7))).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' })
    await expect(historyAs(auditor, { orderId: randomUUID() })).rejects.toMatchObject({ reason: 'NOT_FOUND' })
  })

  it('names for each change who asked, with which token, and for what, under a signed root', async () => {
    await putAddresses(shop.test, 64)
    const client = front.as(customer(7))
    const { lines } = await shop.order()
    const [line] = lines
    const created = await client.order.createOrder({
      ...{ idempotencyKey: randomUUID(), userId: 7n, asset: 'ETH', shippingAddress: 'Sample Street 1' },
      lines: [{ productId: line?.productId ?? '', quantity: 1, expectedUnitPrice: '12.50' }],
    })
    await sealing.seal()
    const { entries } = await historyAs(auditor, { orderId: created.orderId })
    const [first] = entries
    const { by } = JSON.parse(first?.body ?? '{}') as { by: Record<string, string> }
    expect(by).toMatchObject({ actor: 'user:7', role: 'customer' })
    expect(by['tokenId']).toMatch(/\S/)
    expect(by['requestHash']).toMatch(/^[0-9a-f]{64}$/)
    expect(first?.proof?.path.length).toBeGreaterThan(0)
    expect(first?.body).not.toContain('Sample Street')
  })
})

it('an entry that is not the one that was sealed gets no proof, and its reader an incident to ask about', async () => {
  const { order } = await shop.orderIn('cancelled')
  await sealing.seal()
  await shop.query(
    `begin; set local session_replication_role = replica;
     update audit_entry set hash = sha256(hash) where kind = 'order' and seq = 2 and aggregate_id = '${order.orderId}'; commit`,
  )
  await expect(historyAs(auditor, { orderId: order.orderId })).rejects.toMatchObject({ reason: 'INTERNAL' })
})
