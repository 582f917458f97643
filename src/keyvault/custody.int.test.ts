// Keys made ahead and retired, on a real Postgres as the role of the keys process.

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { randomBytes } from 'node:crypto'
import { privateKeyToAddress } from 'viem/accounts'
import { buildLine, putOrder, putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, openTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { countFreeAddresses } from '../db/address.ts'
import { findDueRetirements, getEpoch, readRetireBacklog, renewKeys, type PaymentKey } from '../db/key.ts'
import type { Database } from '../db/connection/pool.ts'
import { systemActor } from '../domain/audit.ts'
import { formatAddress } from './address.ts'
import { createCustody } from './custody.ts'
import { deriveEpochKek, openKey } from './envelope.ts'
import { assertRingFits, createEpochBook } from './epoch.ts'
import { loadRing, type Ring } from './ring.ts'

const ITERATIONS = 100_000
let database: TestDatabase
let keys: Database

beforeAll(async () => {
  database = await createTestDatabase()
  keys = await openTestDatabase({
    url: database.urlOf('app_keys'),
    poolSize: 2,
    applicationName: 'test-keys',
    actor: systemActor('keys'),
  })
})
afterAll(async () => {
  await keys.close()
  await database.drop()
})

const ringOf = (primary: number, seeds: Readonly<Record<number, number>> = { 1: 1, 2: 2 }): Ring =>
  loadRing(
    'key ring',
    JSON.stringify({
      primary,
      versions: Object.entries(seeds).map(([version, byte]) => ({
        version: Number(version),
        secret: Buffer.alloc(32, byte).toString('base64'),
      })),
    }),
    'production',
  )

const custodyOf = (ring = ringOf(1), keysPerDerivation = 256, iterations = ITERATIONS) =>
  createCustody({
    database: keys,
    epochs: createEpochBook({ database: keys, ring, keysPerDerivation, iterations }),
  })

const COLUMNS = `key_id as "keyId", network, asset, address, tier, format_version as "formatVersion",
  envelope_version as "envelopeVersion", epoch_id as "epochId", master_version as "masterVersion", salt,
  wrap_nonce as "wrapNonce", wrap_tag as "wrapTag", wrapped_key as "wrappedKey", nonce, tag, ciphertext`
type Stored = PaymentKey & { tier: string }

const storedKeys = (network: string) =>
  database.query<Stored>(`select ${COLUMNS} from payment_key where network = $1 order by address`, [network])

async function openStored(key: Stored): Promise<Buffer> {
  return openKey(await deriveEpochKek(ringOf(1), await getEpoch(keys, key.epochId)), key)
}

/** A closed order that was to be paid to `address`. */
async function closeOrder(network: string, address: string): Promise<string> {
  const { productId } = await putProduct(database)
  const { orderId } = await putOrder(database, { lines: [buildLine({ productId })], network, address })
  await database.query(
    'insert into key_retire (order_id, network, address) select order_id, network, address from invoice where order_id = $1',
    [orderId],
  )
  return orderId
}

const onlyOf = <T>([item]: readonly T[]): T => {
  if (item === undefined) throw new Error('nothing there')
  return item
}

describe('making addresses', () => {
  it('stores a sealed key behind each free address, which opens to the key that owns it', async () => {
    const custody = custodyOf()
    await expect(custody.makeAddresses('made', 'ETH', 3)).resolves.toBe(3)
    await expect(countFreeAddresses(keys, 'made', 'ETH')).resolves.toBe(3)
    const stored = await storedKeys('made')
    expect(stored).toHaveLength(3)
    for (const key of stored) {
      const owner = privateKeyToAddress(`0x${(await openStored(key)).toString('hex')}`)
      expect(owner).toBe(formatAddress('ETH', key.address))
    }
    expect(new Set(stored.map(({ salt }) => salt.toString('hex'))).size).toBe(3)
  })

  it('makes a small batch at a time', async () => {
    await expect(custodyOf().makeAddresses('batch', 'ETH', 1_000)).resolves.toBe(32)
  })

  it('begins an epoch with every key where each must have its own', async () => {
    const custody = custodyOf(ringOf(1), 1)
    for (let made = 0; made < 3; made += 1) await custody.makeAddresses('single', 'ETH', 5)
    const epochs = await database.query(
      `select epoch_id, key_count, key_limit, iterations, octet_length(salt) as salt from key_epoch
       where epoch_id in (select epoch_id from payment_key where network = 'single')`,
    )
    expect(epochs).toHaveLength(3)
    for (const epoch of epochs)
      expect(epoch).toMatchObject({ key_count: 1, key_limit: 1, iterations: ITERATIONS, salt: 32 })
  })

  it('fills an epoch to its limit and goes on under the next', async () => {
    const custody = custodyOf(ringOf(1), 5)
    const made: number[] = []
    for (let turn = 0; turn < 3; turn += 1) made.push(await custody.makeAddresses('limit', 'ETH', 4))
    expect(made).toEqual([4, 1, 4])
  })

  it('leaves an epoch that the database closed meanwhile', async () => {
    const custody = custodyOf()
    await custody.makeAddresses('hour', 'ETH', 1)
    await database.query(
      `update key_epoch set created_at = created_at - interval '61 minutes', last_used_at = last_used_at - interval '61 minutes'
       where epoch_id in (select epoch_id from payment_key where network = 'hour')`,
    )
    await expect(custody.makeAddresses('hour', 'ETH', 1)).rejects.toThrow()
    await expect(custody.makeAddresses('hour', 'ETH', 1)).resolves.toBe(1)
  })

  it('refuses an asset it has no maker for', async () => {
    await expect(custodyOf().makeAddresses('none', 'BTC', 1)).rejects.toThrow('no generator of BTC addresses')
  })
})

describe('retiring keys', () => {
  it('seals the key anew under the present version and iterations, once, and the old envelope opens no more', async () => {
    await custodyOf(ringOf(1)).makeAddresses('retire', 'ETH', 1)
    const before = onlyOf(await storedKeys('retire'))
    const orderId = await closeOrder('retire', before.address)
    const custody = custodyOf(ringOf(2), 256, ITERATIONS + 1)
    await expect(custody.retireKeys()).resolves.toEqual({ done: [orderId], failed: [] })
    const after = onlyOf(await storedKeys('retire'))
    expect(after).toMatchObject({ tier: 'retired', envelopeVersion: 2, masterVersion: 2, keyId: before.keyId })
    await expect(getEpoch(keys, after.epochId)).resolves.toMatchObject({ iterations: ITERATIONS + 1 })
    for (const part of ['salt', 'wrapNonce', 'wrapTag', 'wrappedKey', 'nonce', 'tag', 'ciphertext'] as const)
      expect(after[part].equals(before[part])).toBe(false)
    expect(await openStored(after)).toEqual(await openStored(before))
    await expect(openStored({ ...before, envelopeVersion: 2 })).rejects.toThrow('cannot be decrypted')
    await expect(custody.retireKeys()).resolves.toEqual({ done: [], failed: [] })
    expect(onlyOf(await storedKeys('retire'))).toEqual(after)
  })

  it('counts once when two processes retire the same key', async () => {
    await custodyOf().makeAddresses('race', 'ETH', 1)
    const { address } = onlyOf(await storedKeys('race'))
    const orderId = await closeOrder('race', address)
    const results = await Promise.all([custodyOf().retireKeys(), custodyOf().retireKeys()])
    expect(results.flatMap(({ done }) => done)).toEqual([orderId])
    const after = onlyOf(await storedKeys('race'))
    expect(after.envelopeVersion).toBe(2)
    await expect(openStored(after)).resolves.toHaveLength(32)
  })

  it('does nothing with an envelope whose predecessor is gone', async () => {
    await custodyOf().makeAddresses('stale', 'ETH', 1)
    const { address, epochId } = onlyOf(await storedKeys('stale'))
    await closeOrder('stale', address)
    const stale = onlyOf(await findDueRetirements(keys, 10))
    await custodyOf().retireKeys()
    await expect(renewKeys(keys, epochId, [{ ...stale, envelopeVersion: 2 }])).resolves.toEqual([])
  })

  it('puts a key that does not open aside for a while and retires the others', async () => {
    await custodyOf().makeAddresses('poison', 'ETH', 2)
    const [bad, good] = await storedKeys('poison')
    const [badOrder, goodOrder] = [
      await closeOrder('poison', bad?.address ?? ''),
      await closeOrder('poison', good?.address ?? ''),
    ]
    await database.query('update payment_key set tag = $1 where key_id = $2', [randomBytes(16), bad?.keyId])
    const custody = custodyOf()
    await expect(custody.retireKeys()).resolves.toEqual({ done: [goodOrder], failed: [badOrder] })
    await expect(custody.retireKeys()).resolves.toEqual({ done: [], failed: [] })
    await expect(readRetireBacklog(keys)).resolves.toMatchObject({ waiting: 1 })
    // Due again in seconds, in whichever test that is then.
    await database.query('update key_retire set done_at = clock_timestamp() where order_id = $1', [badOrder])
  })
})

describe('a key that cannot be resealed by itself', () => {
  /** Makes keys and closes an order on each. */
  async function closeOrders(network: string, count: number) {
    await custodyOf().makeAddresses(network, 'ETH', count)
    const keysThere = await storedKeys(network)
    const orderIds: string[] = []
    for (const { address } of keysThere) orderIds.push(await closeOrder(network, address))
    return { orderIds, addresses: keysThere.map(({ address }) => address) }
  }

  it.each([1, 5])('is put aside, with why, and keeps none of %d others', async (count) => {
    const network = `refused-${count}`
    const { orderIds, addresses } = await closeOrders(network, count + 1)
    const [badOrder, ...goodOrders] = orderIds
    await database.query(
      `create trigger refused before update on payment_key
       for each row when (old.address = '${addresses[0]}') execute function refuse_network_name()`,
    )
    const reasons: unknown[] = []
    const custody = createCustody({
      database: keys,
      epochs: createEpochBook({ database: keys, ring: ringOf(1), keysPerDerivation: 256, iterations: ITERATIONS }),
      onFailed: (...told) => reasons.push(told),
    })
    try {
      const { done, failed } = await custody.retireKeys()
      expect([done.toSorted(), failed]).toEqual([goodOrders.toSorted(), [badOrder]])
      expect(reasons).toEqual([[badOrder, '23514']])
      await expect(custody.retireKeys()).resolves.toEqual({ done: [], failed: [] })
    } finally {
      await database.query('drop trigger refused on payment_key')
    }
    await database.query('update key_retire set next_at = clock_timestamp() where order_id = $1', [badOrder])
    await expect(custody.retireKeys()).resolves.toEqual({ done: [badOrder], failed: [] })
  })

  it('is not what an epoch is that has ended: the turn fails, and the next one has another', async () => {
    const { orderIds } = await closeOrders('ended', 2)
    const custody = custodyOf()
    await custody.makeAddresses('ended', 'ETH', 1)
    await database.query(
      `update key_epoch set created_at = created_at - interval '61 minutes', last_used_at = last_used_at - interval '61 minutes'
       where epoch_id in (select epoch_id from payment_key where network = 'ended')`,
    )
    await expect(custody.retireKeys()).rejects.toThrow()
    const { done, failed } = await custody.retireKeys()
    expect([done.toSorted(), failed]).toEqual([orderIds.toSorted(), []])
  })
})

it('keys and chains under a name that was allowed before are changed as others are', async () => {
  const guarded = ['payment_key', 'invoice', 'chain_status']
  const guards = (verb: string) =>
    database.query(guarded.map((table) => `alter table ${table} ${verb} trigger ${table}_network_shape`).join('; '))
  await guards('disable')
  await custodyOf().makeAddresses('Sepolia', 'ETH', 1)
  const { address } = onlyOf(await storedKeys('Sepolia'))
  const orderId = await closeOrder('Sepolia', address)
  await database.query(
    `insert into chain_status (network, start_height, scanned_height, settled_height, tip_height) values ('Sepolia', 1, 0, 0, 1)`,
  )
  await guards('enable')
  await expect(custodyOf().retireKeys()).resolves.toEqual({ done: [orderId], failed: [] })
  await database.query(`update chain_status set tip_height = 2 where network = 'Sepolia'`)
  for (const table of guarded)
    await expect(
      database.query(`update ${table} set network = 'Rinkeby' where network = 'Sepolia'`),
    ).rejects.toMatchObject({
      code: '23514',
    })
  await expect(custodyOf().makeAddresses('Sepolia', 'ETH', 1)).rejects.toThrow()
})

describe('the stored keys', () => {
  it('refuse a ring that lacks a version they need, or has another secret there', async () => {
    await custodyOf().makeAddresses('ring', 'ETH', 1)
    await expect(assertRingFits(ringOf(2), keys)).resolves.toBeUndefined()
    await expect(assertRingFits(ringOf(2, { 2: 2, 3: 3 }), keys)).rejects.toThrow('does not contain version 1')
    await expect(assertRingFits(ringOf(2, { 1: 9, 2: 2 }), keys)).rejects.toThrow(
      'version 1 of the key ring is not the one',
    )
  })

  it.each(['app_api', 'app_worker', 'watcher', 'auditor', 'analytics', 'audit_sealer'] as const)(
    'are closed to %s',
    async (role) => {
      const other = await openTestDatabase({ url: database.urlOf(role), poolSize: 2, applicationName: 'test-other' })
      try {
        for (const table of ['payment_key', 'key_epoch', 'master_key']) {
          const query = { name: `read_${table}`, text: `select * from ${table} limit 1` }
          await expect(other.run(query)).rejects.toMatchObject({ code: '42501' })
        }
      } finally {
        await other.close()
      }
    },
  )

  it.each<[string, string]>([
    ['a short salt', 'salt = substr(salt, 1, 31)'],
    ['a short nonce', 'nonce = substr(nonce, 1, 11)'],
    ['a short tag', 'tag = substr(tag, 1, 4)'],
    ['a short wrap tag', 'wrap_tag = substr(wrap_tag, 1, 4)'],
    ['a plain-sized data key', "wrapped_key = wrapped_key || '\\x00'"],
    ['an upper-case address', 'address = upper(address)'],
    ['a network without a name', "network = ''"],
    ['another format', 'format_version = 2'],
    ['another tier', "tier = 'lost'"],
  ])('never hold %s', async (_case, change) => {
    await custodyOf().makeAddresses('checks', 'ETH', 1)
    await expect(database.query(`update payment_key set ${change} where network = 'checks'`)).rejects.toMatchObject({
      code: '23514',
    })
  })

  it.each(['salt', 'address'])('never share one %s', async (column) => {
    await custodyOf().makeAddresses('twice', 'ETH', 2)
    const share = `update payment_key set ${column} = (select max(${column}) from payment_key) where network = 'twice'`
    await expect(database.query(share)).rejects.toMatchObject({ code: '23505' })
  })

  it.each<[string, string]>([
    ['99,999 iterations', 'iterations = 99999'],
    ['more keys than its limit', 'key_count = key_limit + 1'],
    ['a limit above 1,000', 'key_limit = 1001'],
    ['more than an hour', "last_used_at = created_at + interval '61 minutes'"],
  ])('never have an epoch of %s', async (_case, change) => {
    await custodyOf().makeAddresses('epochs', 'ETH', 1)
    await expect(database.query(`update key_epoch set ${change}`)).rejects.toMatchObject({ code: '23514' })
  })
})
