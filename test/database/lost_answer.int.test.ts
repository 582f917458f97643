// Answers lost between a commit and its caller: the caller does not know the result, repeats the call, and finds it
// done exactly once.

import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { actingAs, openTestDatabase } from '../support/database.ts'
import { isAnswerLost, unwrapped } from '../support/failpoint.ts'
import { findViolations } from '../support/invariant.ts'
import { createAnswerProxy, type AnswerProxy } from '../support/answer_proxy.ts'
import { count, COUNT_WITHIN_MS } from '../support/scale.ts'
import { openRoleDatabases, readSnapshot, SCENARIOS, type RoleDatabases } from '../support/scenario.ts'
import { testServers } from '../support/servers.ts'
import { buildCommand, createTestShop, runOf, SHIP, type TestShop } from '../support/shop.ts'
import { runCommand } from '../../src/db/order.ts'

jest.setTimeout(COUNT_WITHIN_MS * 2)

const ROLE_OF = { api: 'app_api', worker: 'app_worker', keys: 'app_keys', watcher: 'watcher' } as const
const CUTS = count(150, 500)
const ROUNDS = Math.ceil(CUTS / Object.keys(SCENARIOS).length)

let shop: TestShop
/** Connected through the proxy, for calls whose answer is lost; `direct` is for their preparation. */
let proxied: RoleDatabases
let direct: Awaited<ReturnType<typeof openRoleDatabases>>
let proxy: AnswerProxy
/** A shop for each test: all that is in it is looked at three times a round. */
beforeEach(async () => {
  shop = await createTestShop()
  await shop.catchUp()
  direct = await openRoleDatabases(shop)
  proxy = await createAnswerProxy(testServers().postgres)
  const open = (role: (typeof ROLE_OF)[keyof typeof ROLE_OF]) =>
    openTestDatabase({
      url: proxy.urlOf(shop.test.urlOf(role)),
      poolSize: 4,
      applicationName: 'test-cut',
      ...actingAs(role),
    })
  const databases = await Promise.all(
    Object.entries(ROLE_OF).map(async ([name, role]) => [name, await open(role)] as const),
  )
  proxied = Object.fromEntries(databases) as RoleDatabases
})
afterEach(async () => {
  const violations = await findViolations(shop.test)
  for (const database of Object.values(proxied)) await database.close()
  await direct.close()
  await proxy.close()
  await shop.close()
  expect(violations).toEqual([])
})

/** Makes a call whose answer is lost. @returns its error, or its answer */
async function cut(call: () => Promise<unknown>): Promise<unknown> {
  const before = proxy.cuts()
  proxy.cutNextCommit()
  const error = await call().then(
    (answer) => ({ answer }),
    (reason: unknown) => reason,
  )
  expect(proxy.cuts()).toBe(before + 1)
  return error
}

describe.each(Object.entries(SCENARIOS))('while %s, an answer that is lost after the commit', (_, scenario) => {
  test('is asked for again, and finds the effect there, once', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const act = await scenario.prepare({ shop, databases: direct.databases })
      const before = await readSnapshot(shop.test)
      expect(isAnswerLost(await cut(() => act(proxied)))).toBe(true)
      const after = await readSnapshot(shop.test)
      expect(after).not.toEqual(before)
      const error = await act(proxied).then(
        () => undefined,
        (reason: unknown) => (unwrapped(reason) as Error).constructor.name,
      )
      expect(error).toBe(scenario.again)
      const rest = (snapshot: typeof after) =>
        snapshot.filter(({ name }) => scenario.rewrites?.some((table) => name.startsWith(table)) !== true)
      expect(rest(await readSnapshot(shop.test))).toEqual(rest(after))
    }
  })
})

test('a refusal whose answer is lost is still a refusal when it is asked for again', async () => {
  for (const command of ['ship', 'deliver'] as const) {
    const order = await shop.order()
    const [fence, input] = [runOf(order).next(), buildCommand(SHIP)]
    await cut(() => runCommand(proxied.worker, fence, command, input))
    expect(await runCommand(proxied.worker, fence, command, input)).toMatchObject({
      ok: false,
      reason: 'ORDER_STATUS',
      state: { status: 'pending' },
    })
  }
})
