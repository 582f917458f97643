// Address leases from the pool, on a real Postgres under the api's role.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { createTestDatabase, openTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { until } from '../../test/support/until.ts'
import { countFreeAddresses, createAddressLease, leaseAddresses } from './address.ts'
import type { Database } from './connection/pool.ts'

let database: TestDatabase
let api: Database
/** Each test has its own network. */
let network: string
let tests = 0

beforeAll(async () => {
  database = await createTestDatabase()
  api = await openTestDatabase({ url: database.urlOf('app_api'), poolSize: 8, applicationName: 'test-api' })
})
afterAll(async () => {
  await api.close()
  await database.drop()
})
beforeEach(() => {
  network = `network-${(tests += 1)}`
})

const leaseOf = (blockSize: number, holder = 'api-1') =>
  createAddressLease({ database: api, network, asset: 'ETH', holder, blockSize })

describe('leaseAddresses', () => {
  it('gives each address to one of many who lease at once, oldest first', async () => {
    const addresses = await putAddresses(database, 60, network)
    const blocks = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        leaseAddresses(api, { network, asset: 'ETH', holder: `api-${index}`, count: 7 }),
      ),
    )
    expect(blocks.map((block) => block.length)).toEqual([7, 7, 7, 7, 7, 7])
    expect(blocks.flat().toSorted()).toEqual(addresses.slice(0, 42).toSorted())
    await expect(countFreeAddresses(api, network, 'ETH')).resolves.toBe(18)
  })

  it('never gives an address again, nor can the api free one', async () => {
    const [address] = await putAddresses(database, 1, network)
    const options = { network, asset: 'ETH', holder: 'api-1', count: 1 } as const
    await expect(leaseAddresses(api, options)).resolves.toEqual([address])
    await expect(leaseAddresses(api, options)).resolves.toEqual([])
    await expect(
      api.run({ name: 'free_lease', text: 'update address_pool set leased_by = null, leased_at = null' }),
    ).rejects.toMatchObject({ code: 'HF005' })
  })
})

describe('an address lease', () => {
  it('hands out each address once and refills before it is dry', async () => {
    const addresses = await putAddresses(database, 20, network)
    const lease = leaseOf(8)
    const taken = [await lease.take()]
    expect(lease.size()).toBe(7)
    for (let index = 0; index < 4; index += 1) taken.push(await lease.take())
    await until(() => lease.size() === 11)
    for (let index = 0; index < 15; index += 1) taken.push(await lease.take())
    expect(taken.map(({ address }) => address).toSorted()).toEqual(addresses.toSorted())
    expect(new Set(taken.map((one) => one.network))).toEqual(new Set([network]))
  })

  it('asks the database once at a time, however many callers wait', async () => {
    await putAddresses(database, 100, network)
    let [asked, underWay, most] = [0, 0, 0]
    const anyFirst = ((query: Parameters<typeof api.sql.anyFirst>[0]) => {
      asked += 1
      most = Math.max(most, (underWay += 1))
      return api.sql.anyFirst(query).finally(() => (underWay -= 1))
    }) as typeof api.sql.anyFirst
    const watched = { ...api, sql: { ...api.sql, anyFirst } }
    const lease = createAddressLease({ database: watched, network, asset: 'ETH', holder: 'api-1', blockSize: 16 })
    const taken = await Promise.all(Array.from({ length: 40 }, () => lease.take()))
    expect(new Set(taken.map(({ address }) => address)).size).toBe(40)
    await until(async () => (await countFreeAddresses(api, network, 'ETH')) + lease.size() === 60)
    expect(most).toBe(1)
    // Three blocks for forty callers, and perhaps one ahead of need.
    expect([3, 4]).toContain(asked)
  })

  it('gives an address that came back to the next caller', async () => {
    await putAddresses(database, 1, network)
    const lease = leaseOf(4)
    const { address } = await lease.take()
    lease.giveBack(address)
    await expect(lease.take()).resolves.toEqual({ network, address })
  })

  it('says when the pool is empty and when to come back, and goes on once it is filled', async () => {
    const lease = leaseOf(4)
    await expect(lease.take()).rejects.toMatchObject({ reason: 'ADDRESS_POOL_EMPTY', retryAfterMs: 1_000 })
    const [address] = await putAddresses(database, 1, network)
    await expect(lease.take()).resolves.toEqual({ network, address })
  })

  it('says that the database is down only once its block is used up', async () => {
    await putAddresses(database, 4, network)
    const gone = await openTestDatabase({ url: database.urlOf('app_api'), poolSize: 2, applicationName: 'test-gone' })
    const lease = createAddressLease({ database: gone, network, asset: 'ETH', holder: 'api-1', blockSize: 2 })
    await lease.take()
    await gone.close()
    await lease.take()
    await expect(lease.take()).rejects.toThrow()
  })
})
