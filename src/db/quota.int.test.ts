import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createTestDatabase, openTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import type { Database } from './connection/pool.ts'
import { createQuotaWindow, type QuotaCall } from './quota.ts'

let shop: TestDatabase
let apis: Database[]

beforeAll(async () => {
  shop = await createTestDatabase()
  apis = await Promise.all(
    ['a', 'b'].map((name) =>
      openTestDatabase({
        url: shop.urlOf('app_api'),
        poolSize: 4,
        applicationName: `test-${name}`,
        forceGenericPlan: true,
      }),
    ),
  )
})
afterAll(async () => {
  for (const api of apis) await api.close()
  await shop.drop()
})

/** The windows of two api processes. */
const createWindows = () => apis.map((api) => createQuotaWindow(api))
const callOf = (user: string, address: string, limits = { user: 10, address: 1_000 }): QuotaCall => ({
  user: { key: `user|${user}`, limit: limits.user },
  address: { key: `address|${address}`, limit: limits.address },
})
/** Moves what was counted into the past, as if so many seconds had gone by. */
const pass = (seconds: number) => shop.query('update quota_window set second = second - $1', [seconds])

/** Passes until so many seconds have gone by since now, those of a slow machine among them. */
function startClock(): (seconds: number) => Promise<unknown> {
  const startedAt = performance.now()
  let passed = 0
  return (seconds) => {
    const missing = Math.max(0, Math.floor(seconds - passed - (performance.now() - startedAt) / 1_000))
    passed += missing
    return pass(missing)
  }
}

/** Makes calls by turns on both processes, all at once. @returns how many were admitted */
async function admitted(times: number, call: QuotaCall): Promise<number> {
  const windows = createWindows()
  const answers = await Promise.all(Array.from({ length: times }, async (_, at) => windows[at % 2]?.(call)))
  return answers.filter((refusal) => refusal === undefined).length
}

describe('a window that two api processes share', () => {
  test('admits exactly its limit, however the calls are spread', async () => {
    const call = callOf(randomUUID(), randomUUID())
    expect(await admitted(40, call)).toBe(10)
    expect(await admitted(40, call)).toBe(0)
  })

  test('slides: what was counted is free again after 60 seconds, and no sooner', async () => {
    const [user, address] = [randomUUID(), randomUUID()]
    const call = callOf(user, address)
    const passUntil = startClock()
    expect(await admitted(6, call)).toBe(6)
    await passUntil(30)
    expect(await admitted(20, call)).toBe(4)
    // A fixed window would begin anew here.
    await passUntil(59)
    expect(await admitted(20, call)).toBe(0)
    await passUntil(63)
    expect(await admitted(20, call)).toBe(6)
    await pass(3_600)
    expect(await admitted(20, call)).toBe(10)
  })

  test('says how long to wait: until the oldest calls are free, and no longer', async () => {
    const call = callOf(randomUUID(), randomUUID(), { user: 2, address: 1_000 })
    const startedAt = performance.now()
    expect(await admitted(1, call)).toBe(1)
    await pass(20)
    expect(await admitted(1, call)).toBe(1)
    const refusal = await createWindows()[0]?.(call)
    expect(refusal?.subject).toBe('user')
    expect((refusal?.waitMs ?? 0) + performance.now() - startedAt).toBeGreaterThan(38_000)
    expect(refusal?.waitMs).toBeLessThanOrEqual(41_000)
    await pass(Math.ceil((refusal?.waitMs ?? 0) / 1_000))
    expect(await admitted(5, call)).toBe(1)
  })

  test('of an address limits all of its users together, and other addresses not at all', async () => {
    const address = randomUUID()
    const limits = { user: 10, address: 5 }
    const [window] = createWindows()
    const answers = await Promise.all(
      Array.from({ length: 8 }, async () => window?.(callOf(randomUUID(), address, limits))),
    )
    expect(answers.filter((refusal) => refusal === undefined)).toHaveLength(5)
    expect(answers.filter((refusal) => refusal?.subject === 'address')).toHaveLength(3)
    expect(await admitted(1, callOf(randomUUID(), randomUUID(), limits))).toBe(1)
  })

  test('counts a refused call in neither window', async () => {
    const [user, address] = [randomUUID(), randomUUID()]
    const limits = { user: 2, address: 3 }
    expect(await admitted(20, callOf(user, address, limits))).toBe(2)
    expect(await admitted(20, callOf(randomUUID(), address, limits))).toBe(1)
  })

  test('asks the database once for calls that arrive together', async () => {
    let statements = 0
    const [api] = apis
    const window = createQuotaWindow({
      run: (query, values) => {
        statements += 1
        return api === undefined ? Promise.resolve([]) : api.run(query, values)
      },
    })
    await Promise.all(Array.from({ length: 100 }, () => window(callOf(randomUUID(), randomUUID()))))
    expect(statements).toBe(1)
  })

  test('refuses to admit what it cannot count', async () => {
    const window = createQuotaWindow({ run: () => Promise.reject(new Error('away')) })
    await expect(window(callOf('a', 'b'))).rejects.toThrow('away')
  })
})

test('windows that count nothing any more are removed, and the others stay', async () => {
  await shop.query('delete from quota_window')
  const [api] = apis
  await admitted(1, callOf(randomUUID(), randomUUID()))
  await pass(63)
  await admitted(1, callOf(randomUUID(), randomUUID()))
  const [removed] =
    (await api?.run<{ forget_quotas: number }>({
      name: 'test_forget',
      text: 'select forget_quotas(100)',
    })) ?? []
  expect(removed?.forget_quotas).toBe(2)
  expect(await shop.query('select from quota_window')).toHaveLength(2)
})

test('no api can change what was counted', async () => {
  for (const text of ['delete from quota_window', 'update quota_window set second = 0', 'truncate quota_window'])
    await expect(apis[0]?.run({ name: `test ${text}`, text })).rejects.toThrow(/permission denied/)
})
