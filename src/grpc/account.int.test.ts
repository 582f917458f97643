import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, failureOf, type TestFront } from '../../test/support/front.ts'
import { until } from '../../test/support/until.ts'
import type { Database } from '../db/connection/pool.ts'
import { createAccounts } from './account.ts'

let database: TestDatabase
let fronts: TestFront[]
let front: TestFront
let product: TestProduct

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 20)
  product = await putProduct(database, { onHand: 100n })
  fronts = [await createTestFront(database), await createTestFront(database)]
  front = fronts[0] as TestFront
})
afterAll(async () => {
  for (const each of fronts) await each.stop()
  await database.drop()
})

const change = async (userId: number, what: string): Promise<bigint> => {
  const [row] = await database.query<{ version: bigint }>('select change_account($1, $2) as version', [userId, what])
  return row?.version ?? 0n
}
/** One call of a person under a token: OK, or its refusal's reason and text. */
const ask = (of: TestFront, userId: number, token: string): Promise<string> =>
  of
    .with(token)
    .order.listOrders({ limit: 1, userId: BigInt(userId) })
    .then(
      () => 'OK',
      ({ reason, message }: { reason: string; message: string }) => `${reason}: ${message}`,
    )
const REFUSED = 'CREDENTIALS_INVALID: The call carries no valid access token.'

describe('a change of an account', () => {
  test('is in force in every process within a second, and says no more than any wrong token', async () => {
    // Each front has secrets of its own.
    const tokens = await Promise.all(fronts.map(async (each) => [each, await each.tokenOf(customer(7))] as const))
    for (const [each, token] of tokens) expect(await ask(each, 7, token)).toBe('OK')
    await change(7, 'disable')
    for (const [each, token] of tokens) await until(async () => (await ask(each, 7, token)) === REFUSED)
    expect(await ask(front, 8, await front.tokenOf(customer(8)))).toBe('OK')
  })

  test('that enables it accepts tokens issued since, and no older one', async () => {
    const before = await front.tokenOf(customer(9))
    await change(9, 'disable')
    await change(9, 'enable')
    await until(async () => (await ask(front, 9, before)) === REFUSED)
    await until(async () => (await ask(front, 9, await front.tokenOf(customer(9)))) === 'OK')
    expect(await ask(front, 9, before)).toBe(REFUSED)
  })

  test('that revokes tokens leaves the account in use', async () => {
    const before = await front.tokenOf(customer(10))
    await change(10, 'revoke_tokens')
    await until(async () => (await ask(front, 10, before)) === REFUSED)
    await until(async () => (await ask(front, 10, await front.tokenOf(customer(10)))) === 'OK')
  })

  test('ends the open streams of the user, and of no other', async () => {
    const open = async (userId: number) => {
      const { orderId } = await front.as(customer(userId)).order.createOrder({
        idempotencyKey: randomUUID(),
        userId: BigInt(userId),
        lines: [{ productId: product.productId, quantity: 1, expectedUnitPrice: product.unitPrice }],
        asset: 'ETH',
        shippingAddress: 'Quay 1',
      })
      const stream = front.as(customer(userId)).order.watchOrder({ orderId })[Symbol.asyncIterator]()
      expect((await stream.next()).done).toBe(false)
      const end = { told: undefined as unknown }
      const next = stream.next().catch((error: unknown) => (end.told = error))
      return { end, next, stream }
    }
    const [mine, other] = [await open(11), await open(12)]
    await change(11, 'revoke_tokens')
    await mine.next
    expect(mine.end.told).toMatchObject({
      reason: 'CREDENTIALS_INVALID',
      message: 'The call carries no valid access token.',
    })
    expect(other.end.told).toBeUndefined()
    await change(12, 'disable')
    await other.next
    expect(other.end.told).toMatchObject({ reason: 'CREDENTIALS_INVALID' })
  })

  test('is an audit entry of the actor, and an unknown one is none', async () => {
    await change(13, 'disable')
    const [entry] = await database.query<{ actor: string; body: string }>(
      `select actor, body::text as body from audit_entry where kind = 'account' order by entry_id desc limit 1`,
    )
    expect(entry?.actor).toBe('system:test')
    expect(entry?.body).toContain('"user_id":"13"')
    await expect(change(13, 'delete')).rejects.toThrow('delete is not a change')
  })

  test('keeps a time of revocation that is later than the clock', async () => {
    await database.forge(
      `insert into account (user_id, tokens_valid_after, version)
       select 14, clock_timestamp() + interval '1 hour', coalesce(max(version), 0) + 1 from account`,
    )
    await change(14, 'revoke_tokens')
    const [row] = await database.query<{ later: boolean }>(
      'select tokens_valid_after > clock_timestamp() as later from account where user_id = 14',
    )
    expect(row?.later).toBe(true)
  })

  test('becomes visible in the order of versions: a later one waits for the one before', async () => {
    const sessions = await Promise.all(
      [1, 2].map(async () => {
        const session = new pg.Client({ connectionString: database.url, options: '-c search_path=holdfast' })
        await session.connect()
        return session
      }),
    )
    const [first, second] = sessions as [pg.Client, pg.Client]
    await first.query('begin')
    await first.query(`select change_account(15, 'disable')`)
    let isDone = false
    const later = second.query(`select change_account(16, 'disable')`).then(() => (isDone = true))
    await until(async () => {
      const [row] = await database.query<{ n: bigint }>(
        `select count(*) as n from pg_locks where not granted and relation = 'account'::regclass`,
      )
      return row?.n === 1n
    })
    expect(isDone).toBe(false)
    await first.query('commit')
    await later
    const rows = await database.query<{ userId: bigint }>(
      'select user_id as "userId" from account where user_id in (15, 16) order by version',
    )
    expect(rows.map(({ userId }) => userId)).toEqual([15n, 16n])
    for (const session of sessions) await session.end()
  })
})

describe('what a stream follows', () => {
  test('is left at its end, also where the caller was gone before its token was checked', async () => {
    const gate = Promise.withResolvers<void>()
    const seen = { asked: 0, followed: 0, left: 0 }
    const other = await createTestFront(database, {
      deps: {
        accounts: {
          assertActive: () => {
            seen.asked += 1
            return seen.asked === 1 ? gate.promise : Promise.resolve()
          },
          follow: () => {
            seen.followed += 1
            return () => (seen.left += 1)
          },
        },
      },
    })
    const watch = (options: { signal?: AbortSignal } = {}) =>
      other.as(customer(7)).order.watchOrder({ orderId: randomUUID() }, options)[Symbol.asyncIterator]().next()
    const leaving = new AbortController()
    const left = watch({ signal: leaving.signal })
    await until(() => seen.asked === 1)
    leaving.abort()
    await expect(left).rejects.toBeDefined()
    await until(() => other.logLines().some((line) => line.includes('CANCELLED')))
    gate.resolve()
    await expect(watch()).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' })
    await until(() => seen.left === 1)
    expect(seen.followed).toBe(1)
    await other.stop()
  })
})

describe('the state of accounts', () => {
  test('costs calls no statement of their own: two a second serve all of them', async () => {
    let reads = 0
    const counting = (of: Database): Pick<Database, 'run'> => ({
      run: (query, values) => {
        reads += 1
        return of.run(query, values)
      },
    })
    const other = await createTestFront(database, { deps: { accounts: createAccounts(counting(front.database)) } })
    const client = other.as(admin)
    const beganAt = performance.now()
    for (let at = 0; at < 30; at += 1) await Promise.all(Array.from({ length: 20 }, () => client.health.list({})))
    const elapsedMs = performance.now() - beganAt
    expect(reads).toBeGreaterThan(0)
    expect(reads).toBeLessThanOrEqual(2 + elapsedMs / 500)
    await other.stop()
  })

  test('that cannot be read admits no call: UNAVAILABLE, since the token may be good', async () => {
    const run: Database['run'] = () => Promise.reject(new Error('secret detail of the driver'))
    const other = await createTestFront(database, { deps: { accounts: createAccounts({ run }) } })
    const failure = await failureOf(other.as(customer(7)).order.listOrders({ limit: 1, userId: 7n }))
    expect(failure).toMatchObject({
      reason: 'DATABASE_UNAVAILABLE',
      message: 'The database cannot be reached; try again.',
      retryAfterMs: 1_000,
    })
    const wrong = await failureOf(other.with('x.y.z').order.listOrders({ limit: 1, userId: 7n }))
    expect(wrong.reason).toBe('CREDENTIALS_INVALID')
    await other.stop()
  })
})
