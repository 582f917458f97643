import { describe, expect, test } from '@jest/globals'
import type { AccountState } from '../db/account.ts'
import type { Database } from '../db/connection/pool.ts'
import type { Principal } from '../domain/access.ts'
import { DomainError } from '../domain/failure.ts'
import { until } from '../../test/support/until.ts'
import { createAccounts } from './account.ts'

const NOW_S = Math.floor(Date.now() / 1_000)
const person = (userId: bigint, issuedAtS: number | undefined = NOW_S): Principal => ({
  subject: String(userId),
  userId,
  roles: ['customer'],
  tokenId: 't',
  ...(issuedAtS !== undefined && { issuedAtS }),
})

/** A table of accounts whose reads a test counts, holds up and breaks. */
function createTable() {
  const rows: AccountState[] = []
  const table = { nowMs: 0, reads: 0, version: 0n, gate: Promise.resolve(), isBroken: false, rows }
  const database = {
    run: async (_statement: unknown, [after, limit]: readonly unknown[] = []) => {
      table.reads += 1
      const changed = rows.filter(({ version }) => version > (after as bigint)).slice(0, limit as number)
      const newest = rows.at(-1)?.version ?? 0n
      await table.gate
      if (table.isBroken) throw new Error('no connection')
      return changed.length === 0 ? [{ newest, userId: null }] : changed.map((row) => ({ ...row, newest }))
    },
  } as unknown as Pick<Database, 'run'>
  const put = (userId: bigint, isDisabled: boolean, tokensFromS: number): void => {
    const at = rows.findIndex((row) => row.userId === userId)
    if (at >= 0) rows.splice(at, 1)
    table.version += 1n
    rows.push({ userId, isDisabled, tokensFromS: BigInt(tokensFromS), version: table.version })
  }
  const accounts = createAccounts(database, { now: () => table.nowMs })
  const reasonOf = (principal: Principal): Promise<string> =>
    accounts.assertActive(principal).then(
      () => 'active',
      (error: unknown) => (error instanceof DomainError ? error.reason : 'another error'),
    )
  return Object.assign(table, { put, accounts, reasonOf })
}

describe('an account', () => {
  test('without a row is active, and so is a machine', async () => {
    const table = createTable()
    expect(await table.reasonOf(person(7n))).toBe('active')
    expect(await table.reasonOf({ subject: 'eth-1', userId: undefined, roles: ['watcher'], tokenId: 't' })).toBe(
      'active',
    )
  })

  test('that is disabled admits no token, and once enabled only those issued since', async () => {
    const table = createTable()
    table.put(7n, true, NOW_S)
    expect(await table.reasonOf(person(7n, NOW_S + 1))).toBe('CREDENTIALS_INVALID')
    expect(await table.reasonOf(person(8n))).toBe('active')
    table.put(7n, false, NOW_S)
    table.nowMs += 1_000
    expect(await table.reasonOf(person(7n, NOW_S))).toBe('active')
    expect(await table.reasonOf(person(7n, NOW_S - 1))).toBe('CREDENTIALS_INVALID')
    expect(await table.reasonOf({ ...person(7n), issuedAtS: 0 })).toBe('CREDENTIALS_INVALID')
  })

  test('is refused in the words of any other token that is not valid', async () => {
    const table = createTable()
    table.put(7n, true, NOW_S)
    await expect(table.accounts.assertActive(person(7n))).rejects.toMatchObject({
      message: 'The call carries no valid access token.',
      metadata: {},
    })
  })
})

describe('what calls rely on', () => {
  test('is read once for a thousand calls, and twice a second at most', async () => {
    const table = createTable()
    await Promise.all(Array.from({ length: 1_000 }, () => table.reasonOf(person(7n))))
    expect(table.reads).toBe(1)
    for (let at = 0; at < 1_000; at += 1) {
      table.nowMs += 10
      await table.reasonOf(person(7n))
    }
    expect(table.reads).toBeLessThanOrEqual(21)
  })

  test('is never older than a second', async () => {
    const table = createTable()
    expect(await table.reasonOf(person(7n))).toBe('active')
    table.put(7n, true, NOW_S)
    table.nowMs = 1_000
    expect(await table.reasonOf(person(7n))).toBe('CREDENTIALS_INVALID')
  })

  test('is enough for as long while the database is away; after that no call is admitted', async () => {
    const table = createTable()
    await table.reasonOf(person(7n))
    table.isBroken = true
    table.nowMs = 999
    expect(await table.reasonOf(person(7n))).toBe('active')
    table.nowMs = 1_000
    await expect(table.accounts.assertActive(person(7n))).rejects.toMatchObject({
      reason: 'DATABASE_UNAVAILABLE',
      retryAfterMs: 1_000,
    })
    table.isBroken = false
    expect(await table.reasonOf(person(7n))).toBe('active')
  })

  test('is read once more where a read took longer than a second', async () => {
    const table = createTable()
    const opened = Promise.withResolvers<void>()
    table.gate = opened.promise
    const reason = table.reasonOf(person(7n))
    table.nowMs = 1_001
    table.put(7n, true, NOW_S)
    opened.resolve()
    expect(await reason).toBe('CREDENTIALS_INVALID')
    expect(table.reads).toBe(2)
  })

  test('is unknown where a read does not answer, and the call waits no longer than three seconds', async () => {
    const table = createTable()
    table.gate = new Promise(() => undefined)
    expect(await table.reasonOf(person(7n))).toBe('DATABASE_UNAVAILABLE')
  })

  test('comes in pages where it is much', async () => {
    const table = createTable()
    for (let userId = 1n; userId <= 12_000n; userId += 1n) table.put(userId, true, NOW_S)
    expect(await table.reasonOf(person(12_000n))).toBe('CREDENTIALS_INVALID')
    expect(table.reads).toBe(3)
  })

  test('is read from scratch once the database was restored to an earlier time', async () => {
    const table = createTable()
    table.put(7n, true, NOW_S)
    table.put(8n, true, NOW_S)
    expect(await table.reasonOf(person(8n))).toBe('CREDENTIALS_INVALID')
    table.rows.length = 0
    table.version = 0n
    table.put(9n, true, NOW_S)
    table.nowMs = 1_000
    expect(await table.reasonOf(person(8n))).toBe('active')
    expect(await table.reasonOf(person(9n))).toBe('CREDENTIALS_INVALID')
  })
})

describe('a follower', () => {
  test('is told once its account no longer admits it, and others are not', async () => {
    const table = createTable()
    const ended: string[] = []
    const follow = (userId: bigint) =>
      table.accounts.follow(person(userId), ({ reason }) => ended.push(`${userId} ${reason}`))
    const offs = [follow(7n), follow(8n)]
    await until(() => table.reads > 0)
    table.put(7n, true, NOW_S)
    await until(() => ended.length > 0)
    expect(new Set(ended)).toEqual(new Set(['7 CREDENTIALS_INVALID']))
    for (const off of offs) off()
    const { reads } = table
    table.nowMs += 10_000
    await table.reasonOf(person(8n))
    expect(table.reads).toBe(reads + 1)
  })
})
