// Goal: whatever a superuser does to history under a checkpoint is found. Method: a history of real orders, sealed; then
// random acts, with triggers off and hashes computed anew where that helps the forger, each verified as it stands and
// undone with its transaction.

import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { sql, type CommonQueryMethods } from 'slonik'
import { z } from 'zod'
import { openTestDatabase } from '../../test/support/database.ts'
import { COUNT_WITHIN_MS, count, randomOf } from '../../test/support/scale.ts'
import { createTestSealer, type TestSealer } from '../../test/support/sealing.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import type { Database } from '../db/connection/pool.ts'
import { ORDER_STATUSES } from '../domain/order.ts'
import type { Verdict } from './verification.ts'

const ACTS = count(200, 1_000)
const ROUNDS = 3

let shop: TestShop
let sealing: TestSealer
let superuser: Database
/** What the forger may choose from: entries and orders under a checkpoint. */
let entries: bigint[]
let orders: string[]

beforeAll(async () => {
  shop = await createTestShop()
  sealing = await createTestSealer(shop.test)
  superuser = await openTestDatabase({ url: shop.test.url, poolSize: 2, applicationName: 'test-superuser' })
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const status of ORDER_STATUSES) await shop.orderIn(status)
    expect(await sealing.seal()).toBe(1)
  }
  const rows = await shop.query<{ id: bigint; order: string | null }>(
    `select entry_id as id, case when kind = 'order' then aggregate_id end as order from audit_entry order by entry_id`,
  )
  entries = rows.map(({ id }) => id)
  // With more than one link: whatever is replaced, there is something before or after it.
  orders = [...new Set(rows.flatMap(({ order }) => order ?? []))].filter(
    (order) => rows.filter((row) => row.order === order).length > 1,
  )
  // Not sealed yet: no act may be found only because of these.
  await shop.orderIn('shipped')
})
afterAll(async () => {
  await superuser.close()
  await sealing.close()
  await shop.close()
})

type Tx = CommonQueryMethods
type Choice = {
  below: (limit: number) => number
  entry: () => bigint
  other: (entry: bigint) => bigint
  order: () => string
}

/** Makes a chain fit again after a change in it, head included, as whoever knows the code would. */
async function rechain(tx: Tx, order: string): Promise<void> {
  const links = await tx.any(sql.type(z.object({ id: z.bigint() }))`
    select entry_id as id from audit_entry where kind = 'order' and aggregate_id = ${order} order by seq`)
  for (const { id } of links) {
    await tx.query(sql.unsafe`
      update audit_entry e set prev_hash = p.hash, hash = sha256(coalesce(p.hash, '') || convert_to(e.body, 'UTF8'))
      from (select (select b.hash from audit_entry b where b.kind = a.kind and b.aggregate_id = a.aggregate_id and b.seq = a.seq - 1)
        from audit_entry a where a.entry_id = ${id}) as p (hash)
      where e.entry_id = ${id}`)
  }
  await setHead(tx, order)
}

async function setHead(tx: Tx, order: string): Promise<void> {
  await tx.query(sql.unsafe`delete from audit_head where aggregate_id = ${order}`)
  await tx.query(sql.unsafe`
    insert into audit_head (kind, aggregate_id, seq, hash)
    select kind, aggregate_id, seq, hash from audit_entry
    where kind = 'order' and aggregate_id = ${order} and seq > 1 order by seq desc limit 1`)
}

const rehash = (tx: Tx, entry: bigint) =>
  tx.query(sql.unsafe`
    update audit_entry set hash = sha256(coalesce(prev_hash, '') || convert_to(body, 'UTF8')) where entry_id = ${entry}`)

const ACTS_BY_NAME: Readonly<Record<string, (tx: Tx, choice: Choice) => Promise<unknown>>> = {
  'changes a word of an entry': (tx, { entry }) =>
    tx.query(sql.unsafe`update audit_entry set body = replace(body, '"by"', '"bY"') where entry_id = ${entry()}`),
  'changes who did it, and its hash': async (tx, { entry }) => {
    const id = entry()
    await tx.query(sql.unsafe`
      update audit_entry set body = replace(body, actor, 'user:666'), actor = 'user:666' where entry_id = ${id}`)
    await rehash(tx, id)
  },
  'changes a column that the text repeats': (tx, { entry }) =>
    tx.query(sql.unsafe`update audit_entry set actor = 'user:666' where entry_id = ${entry()}`),
  'changes a time': (tx, { entry }) =>
    tx.query(sql.unsafe`update audit_entry set at = at + interval '1 microsecond' where entry_id = ${entry()}`),
  'changes a transaction': (tx, { entry }) =>
    tx.query(sql.unsafe`
      update audit_entry set txid = (txid::text::bigint - 1)::text::xid8 where entry_id = ${entry()}`),
  'deletes an entry': (tx, { entry }) => tx.query(sql.unsafe`delete from audit_entry where entry_id = ${entry()}`),
  'deletes several entries': (tx, { entry, below }) => {
    const from = entry()
    return tx.query(sql.unsafe`delete from audit_entry where entry_id between ${from} and ${from + BigInt(below(5))}`)
  },
  'inserts an entry among the sealed ones': (tx, { entry }) =>
    tx.query(sql.unsafe`
      insert into audit_entry (at, txid, kind, actor, body, hash)
      select at, txid, 'stock', actor, body, sha256(convert_to(body, 'UTF8')) from audit_entry where entry_id = ${entry()}`),
  'adds a link to a chain, under an old transaction': async (tx, { order }) => {
    const id = order()
    await tx.query(sql.unsafe`
      insert into audit_entry (at, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash)
      select at, txid, kind, aggregate_id, seq + 1, hash, actor, replace(body, '"seq":"' || seq || '"', '"seq":"' || seq + 1 || '"'), hash
      from audit_entry where kind = 'order' and aggregate_id = ${id} order by seq desc limit 1`)
    await rechain(tx, id)
  },
  'lets two entries change places': (tx, { entry, other }) => {
    const one = entry()
    return swap(tx, one, other(one))
  },
  'lets two links of a chain change places': async (tx, { order }) => {
    const id = order()
    await tx.query(sql.unsafe`
      update audit_entry e set body = o.body, actor = o.actor from audit_entry o
      where e.kind = 'order' and e.aggregate_id = ${id} and o.kind = e.kind and o.aggregate_id = e.aggregate_id
        and e.seq in (1, 2) and o.seq = 3 - e.seq`)
    await rechain(tx, id)
  },
  'cuts the tail of a chain': async (tx, { order, below }) => {
    const id = order()
    await tx.query(sql.unsafe`
      delete from audit_entry where kind = 'order' and aggregate_id = ${id} and seq > 1 + ${below(2)}
        or entry_id = (select entry_id from audit_entry where kind = 'order' and aggregate_id = ${id} order by seq desc limit 1)`)
    await setHead(tx, id)
  },
  'replaces a chain by one that fits in itself': async (tx, { order }) => {
    const id = order()
    await tx.query(sql.unsafe`
      update audit_entry set body = replace(body, actor, 'user:666'), actor = 'user:666'
      where kind = 'order' and aggregate_id = ${id}`)
    await rechain(tx, id)
  },
  'removes a chain': async (tx, { order }) => {
    const id = order()
    await tx.query(sql.unsafe`delete from audit_entry where kind = 'order' and aggregate_id = ${id}`)
    await tx.query(sql.unsafe`delete from audit_head where aggregate_id = ${id}`)
  },
  'removes an order and keeps its history': (tx, { order }) =>
    tx.query(sql.unsafe`delete from orders where order_id = ${order()}::uuid`),
  'moves a head back': (tx, { order }) => tx.query(sql.unsafe`delete from audit_head where aggregate_id = ${order()}`),
  'gives a head another hash': (tx, { order }) =>
    tx.query(sql.unsafe`update audit_head set hash = sha256(hash) where aggregate_id = ${order()}`),
  'changes a signed time': (tx, { below }) =>
    tx.query(sql.unsafe`
      update audit_checkpoint set sealed_at = sealed_at + interval '1 ms' where checkpoint_no = ${1 + below(ROUNDS)}`),
  'changes a signature': (tx, { below }) =>
    tx.query(sql.unsafe`
      update audit_checkpoint set signature = sha256(signature) || sha256(root) where checkpoint_no = ${1 + below(ROUNDS)}`),
  'removes a checkpoint': (tx, { below }) =>
    tx.query(sql.unsafe`delete from audit_checkpoint where checkpoint_no = ${1 + below(ROUNDS)}`),
  'removes all that came after a checkpoint': async (tx, { below }) => {
    const no = 1 + below(ROUNDS - 1)
    await tx.query(sql.unsafe`
      delete from audit_entry where txid >= (select below_txid from audit_checkpoint where checkpoint_no = ${no})`)
    await tx.query(sql.unsafe`delete from audit_checkpoint where checkpoint_no > ${no}`)
  },
  'changes the tree': (tx, { below }) =>
    tx.query(sql.unsafe`
      update audit_tile set hashes = overlay(hashes placing sha256(hashes) from ${1 + 32 * below(20)} for 32)`),
  'changes an entry, its chain, its leaf and its checkpoint': async (tx, { order, below }) => {
    const id = order()
    await tx.query(sql.unsafe`
      update audit_entry set body = replace(body, '"changes"', '"Changes"') where kind = 'order' and aggregate_id = ${id}`)
    await rechain(tx, id)
    await tx.query(sql.unsafe`
      update audit_tile set hashes = (select string_agg(sha256('\\x00'::bytea || int8send(entry_id) || xid8send(txid) || hash), '' order by audit_entry.txid, entry_id)
        from audit_entry where entry_id = any (${sql.array([...entries], 'int8')}))`)
    await tx.query(sql.unsafe`
      update audit_checkpoint set root = sha256(root) where checkpoint_no >= ${1 + below(ROUNDS)}`)
  },
}
const NAMES = Object.keys(ACTS_BY_NAME)

/** By ids alone: all else stays with its entry. */
const swap = (tx: Tx, one: bigint, two: bigint) =>
  tx.query(sql.unsafe`
    with moved as (delete from audit_entry where entry_id in (${one}, ${two}) returning *)
    insert into audit_entry (entry_id, at, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash) overriding system value
    select ${one + two} - entry_id, at, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash from moved`)

class Undone extends Error {}

/** What verification says with the act done; nothing of it stays. */
async function verdictAfter(act: (tx: Tx) => Promise<unknown>): Promise<Verdict> {
  let verdict: Verdict | undefined
  await superuser.sql
    .transaction(async (tx) => {
      await tx.query(sql.unsafe`set local search_path = holdfast, pg_catalog`)
      await tx.query(sql.unsafe`set local session_replication_role = replica`)
      await act(tx)
      verdict = await sealing.verify({ database: { sql: tx } })
      throw new Undone()
    })
    .catch((error: unknown) => {
      if (!(error instanceof Undone)) throw error
    })
  if (verdict === undefined) throw new Error('there is no verdict')
  return verdict
}

async function expectUntouched(): Promise<void> {
  const { findings, last, unsealed } = await sealing.verify()
  expect(findings).toEqual([])
  expect(last?.size).toBe(entries.length)
  expect(unsealed).toBeGreaterThan(0)
}

it(
  'every act of tampering under a checkpoint is found, and an untouched system verifies',
  async () => {
    await expectUntouched()
    const random = randomOf('tampering')
    const below = (limit: number): number => Math.floor(random() * limit)
    const of = <T>(list: readonly T[]): T => list[below(list.length)] as T
    const choice: Choice = {
      below,
      entry: () => of(entries),
      other: (entry) => of(entries.filter((id) => id !== entry)),
      order: () => of(orders),
    }
    const unseen: string[] = []
    for (let at = 0; at < ACTS; at += 1) {
      const name = NAMES[at % NAMES.length] ?? ''
      const { findings } = await verdictAfter(
        (tx) => ACTS_BY_NAME[name]?.(tx, choice) ?? Promise.reject(new Error(name)),
      )
      if (findings.length === 0) unseen.push(`${at}: ${name}`)
    }
    expect(unseen).toEqual([])
    await expectUntouched()
  },
  COUNT_WITHIN_MS,
)

it('says where history broke: the entry, its order and the checkpoint', async () => {
  const [order = ''] = orders
  const [{ id } = { id: 0n }] = await shop.query<{ id: bigint }>(
    `select entry_id as id from audit_entry where kind = 'order' and aggregate_id = $1 and seq = 2`,
    [order],
  )
  const { findings } = await verdictAfter(async (tx) => {
    await tx.query(sql.unsafe`
      update audit_entry set body = replace(body, actor, 'user:666'), actor = 'user:666' where entry_id = ${id}`)
    await rehash(tx, id)
  })
  const place = { entryId: id, kind: 'order', aggregateId: order, seq: 2n }
  expect(findings).toContainEqual({ check: 'entry_changed', checkpoint: 1, ...place })
  expect(findings.some(({ check, aggregateId }) => ['link', 'head'].includes(check) && aggregateId === order)).toBe(
    true,
  )
})
