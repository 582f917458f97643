import { describe, expect, it } from '@jest/globals'
import type { CustomerKey } from '../db/key.ts'
import { createPiiVault } from './pii.ts'
import { loadRing, type Ring } from './ring.ts'
import { SealError } from './seal.ts'

const ORDER = '6f7c1c1e-52f0-8a31-9a55-0d6c3f1f4b11'
const OTHER_ORDER = '6f7c1c1e-52f0-8a31-9a55-0d6c3f1f4b12'
const ADDRESS = 'Zoë Ångström, 1 High Street, 東京'

/** What the build before padding made of ADDRESS, and of its customer's key under ringOf(2). */
const FORMER_KEY =
  'Acw7ET3AYXbM+FpM9GAXmsamdXp9TftsuHgtLIg35O8i/puXt+flbjp3UevPtG8JoagAoigG0aYE4VuglYXHtw6qMPnPJCtIBJU433EABwbzLZJau6KOuTdjmQz2'
const FORMER_ADDRESS = 'AewxjoidgzLIt0WmDsMBd3mPXSkdKXwioAJDiPN8S167zCFWM5BHlKYZ/BqYKauGagxLcYTbZxDTa69WDckjU6M9Zg=='

const ringOf = (primary: number): Ring =>
  loadRing(
    'pii ring',
    JSON.stringify({
      primary,
      versions: [1, 2].map((version) => ({ version, secret: Buffer.alloc(32, version).toString('base64') })),
    }),
    'production',
  )

/** Keys as the database would hold them. */
function storeOf() {
  const rows = new Map<bigint, CustomerKey>()
  const vaultOf = (ring = ringOf(2)) =>
    createPiiVault({
      ring,
      findCustomerKey: async (userId) => rows.get(userId),
      insertCustomerKey: async (userId, key) => {
        if (rows.has(userId)) return false
        rows.set(userId, key)
        return true
      },
    })
  return { rows, vaultOf }
}

describe('a PII vault', () => {
  it('opens what it sealed, also in another process', async () => {
    const { vaultOf } = storeOf()
    const sealed = await vaultOf().seal(7n, ORDER, ADDRESS)
    await expect(vaultOf().open(7n, ORDER, sealed)).resolves.toBe(ADDRESS)
  })

  it('stores nothing of the text, and never the same bytes twice', async () => {
    const vault = storeOf().vaultOf()
    const [one, other] = await Promise.all([vault.seal(7n, ORDER, ADDRESS), vault.seal(7n, ORDER, ADDRESS)])
    expect(one.includes('High Street')).toBe(false)
    expect(one.equals(other)).toBe(false)
  })

  it('shows next to nothing of the length of a text', async () => {
    const vault = storeOf().vaultOf()
    const longest = '𝔸'.repeat(500)
    const texts = ['A', ADDRESS, 'A'.repeat(511), 'A'.repeat(512), 'A'.repeat(513), longest]
    const sealed = await Promise.all(texts.map((text) => vault.seal(7n, ORDER, text)))
    expect(sealed.map(({ length }) => length - 29)).toEqual([512, 512, 512, 512, 1_024, 2_048])
    expect(await Promise.all(sealed.map((value) => vault.open(7n, ORDER, value)))).toEqual(texts)
  })

  it('refuses a text whose last characters would be taken for padding', async () => {
    await expect(storeOf().vaultOf().seal(7n, ORDER, 'High Street ')).rejects.toThrow(RangeError)
  })

  it('opens a text that an earlier build sealed without padding', async () => {
    const { rows, vaultOf } = storeOf()
    rows.set(7n, { ringVersion: 2, wrappedKey: Buffer.from(FORMER_KEY, 'base64') })
    expect(await vaultOf().open(7n, ORDER, Buffer.from(FORMER_ADDRESS, 'base64'))).toBe(ADDRESS)
  })

  it('gives each customer a key of their own, once, even when their first orders race', async () => {
    const { rows, vaultOf } = storeOf()
    const vault = vaultOf()
    const sealed = await Promise.all([vault, vaultOf()].map((process) => process.seal(7n, ORDER, ADDRESS)))
    await vault.seal(8n, ORDER, ADDRESS)
    expect([...rows.keys()]).toEqual([7n, 8n])
    expect(rows.get(7n)?.wrappedKey).toHaveLength(93)
    for (const value of sealed) await expect(vaultOf().open(7n, ORDER, value)).resolves.toBe(ADDRESS)
  })

  it('opens under an older version of the ring, and seals new customers under the primary one', async () => {
    const { rows, vaultOf } = storeOf()
    const sealed = await vaultOf(ringOf(1)).seal(7n, ORDER, ADDRESS)
    const rotated = vaultOf(ringOf(2))
    await expect(rotated.open(7n, ORDER, sealed)).resolves.toBe(ADDRESS)
    await rotated.seal(8n, ORDER, ADDRESS)
    expect([...rows.values()].map((key) => key.ringVersion)).toEqual([1, 2])
  })

  it('refuses a text of another order or customer, and a changed one', async () => {
    const vault = storeOf().vaultOf()
    const sealed = await vault.seal(7n, ORDER, ADDRESS)
    await vault.seal(8n, ORDER, ADDRESS)
    await expect(vault.open(7n, OTHER_ORDER, sealed)).rejects.toThrow(SealError)
    await expect(vault.open(8n, ORDER, sealed)).rejects.toThrow(SealError)
    for (let index = 0; index < sealed.length; index += 1) {
      const changed = Buffer.from(sealed)
      changed.writeUInt8(changed.readUInt8(index) ^ 1, index)
      await expect(vault.open(7n, ORDER, changed)).rejects.toThrow(SealError)
    }
  })

  it("refuses a key moved to another customer's row or another version", async () => {
    const { rows, vaultOf } = storeOf()
    const sealed = await vaultOf().seal(7n, ORDER, ADDRESS)
    const key = rows.get(7n)
    if (key === undefined) throw new Error('no key was stored')
    rows.set(8n, key)
    await expect(vaultOf().open(8n, ORDER, sealed)).rejects.toThrow(SealError)
    rows.set(7n, { ...key, ringVersion: 1 })
    await expect(vaultOf().open(7n, ORDER, sealed)).rejects.toThrow(SealError)
  })

  it('hashes a request under its customer’s key: for its method alone, alike in every process', async () => {
    const { rows, vaultOf } = storeOf()
    const vault = vaultOf()
    const request = Buffer.from(ADDRESS)
    const hashOf = async (of = vault, userId = 7n, path = '/a', bytes = request) =>
      (await of.hashRequest(userId, path, bytes)).toString('hex')
    await expect(hashOf()).rejects.toThrow('the customer has no data key')
    expect(rows.size).toBe(0)
    await vault.seal(7n, ORDER, ADDRESS)
    await vault.seal(8n, ORDER, ADDRESS)
    const hash = await hashOf()
    expect(await hashOf(vaultOf())).toBe(hash)
    const others = [hashOf(vault, 8n), hashOf(vault, 7n, '/b'), hashOf(vault, 7n, '/a', Buffer.from('x'))]
    expect(new Set([hash, ...(await Promise.all(others))]).size).toBe(4)
    // With another key of the same customer, no hash of before is made again.
    rows.clear()
    const fresh = vaultOf()
    await fresh.seal(7n, ORDER, ADDRESS)
    expect(await hashOf(fresh)).not.toBe(hash)
  })

  it('cannot open once the key is destroyed, and makes none in order to open', async () => {
    const { rows, vaultOf } = storeOf()
    const sealed = await vaultOf().seal(7n, ORDER, ADDRESS)
    rows.clear()
    await expect(vaultOf().open(7n, ORDER, sealed)).rejects.toThrow('the customer has no data key')
    expect(rows.size).toBe(0)
  })
})
