// Every transaction of test/support/scenario.ts, failed behind each of its statements and behind each write they make: by an
// exception, and by the end of its session. What is stored is all of it or nothing, the pool is as good as new, and the
// same call made again succeeds. A transaction that is not in that table fails a test here.

import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import {
  createFailpoint,
  createWriteFailpoint,
  INJECTED_STATE,
  InjectedFailure,
  isAnswerLost,
  type FailureKind,
  type WriteFailpoint,
} from '../support/failpoint.ts'
import { findViolations } from '../support/invariant.ts'
import { COUNT_WITHIN_MS } from '../support/scale.ts'
import { openDoors, pictureOf, SCENARIOS, type Act, type Doors } from '../support/scenario.ts'
import { DATABASE_ROLES } from '../support/servers.ts'
import { createTestShop, type TestShop } from '../support/shop.ts'
import { findSources, readSource } from '../support/source.ts'
import { until } from '../support/until.ts'
import { sqlStateOf } from '../../src/db/connection/pool.ts'

jest.setTimeout(COUNT_WITHIN_MS * 4)

let shop: TestShop
let doors: Doors
let closeDoors: () => Promise<void>
let writes: WriteFailpoint
/** A shop for the tests of one block: all that is in it is looked at three times for each failure. */
function useShop(): void {
  beforeAll(async () => {
    shop = await createTestShop()
    ;({ doors, close: closeDoors } = await openDoors(shop))
    writes = await createWriteFailpoint(shop.test)
    await shop.catchUp()
  })
  afterEach(async () => {
    expect(await findViolations(shop.test)).toEqual([])
  })
  afterAll(async () => {
    await closeDoors()
    await shop.close()
  })
}

const NAMES = Object.keys(SCENARIOS)
const KINDS: readonly FailureKind[] = ['exception', 'killed backend']

async function prepare(name: string): Promise<Act> {
  const scenario = SCENARIOS[name]
  if (scenario === undefined) throw new Error(`no scenario ${name}`)
  return scenario.prepare({ shop, doors })
}

/** No session of ours is still in a transaction, and nobody waits for one. */
async function expectCleanPools(): Promise<void> {
  const left = () =>
    shop.query(
      `select pid from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null`,
    )
  await until(async () => (await left()).length === 0)
  for (const door of Object.values(doors)) expect(door.stats().waiting).toBe(0)
}

const isInjected = (error: unknown): boolean =>
  error instanceof InjectedFailure || sqlStateOf(error) === INJECTED_STATE || isAnswerLost(error)

/** Fails the call, and then lets the same call succeed. */
async function expectAllOrNothing(act: Act, fail: () => Promise<unknown>): Promise<void> {
  const before = await pictureOf(shop.test)
  const outcome = await fail().then(
    () => 'nothing failed',
    (error: unknown) => (isInjected(error) ? 'failed' : error),
  )
  expect(outcome).toBe('failed')
  await expectCleanPools()
  expect(await pictureOf(shop.test)).toEqual(before)
  await writes.arm(0)
  await act(doors)
  expect(await pictureOf(shop.test)).not.toEqual(before)
}

/** How many statements a call's transaction sends, by a call that succeeds. */
async function statementsOf(name: string): Promise<number> {
  const points = Object.entries(doors).map(([role, door]) => [role, createFailpoint(door, shop.test)] as const)
  const counted = Object.fromEntries(points.map(([role, point]) => [role, point.database])) as Doors
  await (
    await prepare(name)
  )(counted)
  return Math.max(...points.map(([, point]) => point.sent()))
}

describe.each(NAMES)('while %s', (name) => {
  useShop()

  test.each(KINDS)('%s after any statement leaves all or nothing', async (kind) => {
    const statements = await statementsOf(name)
    // A call of one statement has nothing between its statements: only the writes within can fail.
    for (let at = 0; statements > 0 && at <= statements; at += 1) {
      const act = await prepare(name)
      const failing = Object.fromEntries(
        Object.entries(doors).map(([role, door]) => [role, createFailpoint(door, shop.test, at, kind).database]),
      ) as Doors
      await expectAllOrNothing(act, () => act(failing))
    }
  })

  test.each(KINDS)('%s after any write leaves all or nothing', async (kind) => {
    const first = await prepare(name)
    await writes.arm(0)
    await first(doors)
    const written = await writes.written()
    expect(written).toBeGreaterThan(0)
    for (let nth = 1; nth <= written; nth += 1) {
      const act = await prepare(name)
      await writes.arm(nth, kind)
      await expectAllOrNothing(act, () => act(doors))
    }
  })
})

describe('the list of transactions', () => {
  useShop()

  const covered = new Set(Object.values(SCENARIOS).flatMap(({ of }) => of.split(' ')))

  /** Declarations at the top level of a file, and whether others see them. */
  function declarationsOf(path: string) {
    return readSource(path)
      .split(/^(?=(?:export )?(?:async )?(?:function|const) )/m)
      .map((text) => ({ text, head: /^(export )?(?:async )?(?:function|const) (\w+)/.exec(text) }))
      .flatMap(({ text, head }) => (head === null ? [] : [{ text, name: head[2] ?? '', isExported: !!head[1] }]))
  }

  test('has every function of ours that begins one', () => {
    /** Not transactions of their own, but the ways to one. */
    const ways = ['openDatabase', 'answerOnce']
    const sources = findSources('src/**/*.ts').filter((path) => !/\.test\.ts$|\/gen\//.test(path))
    const missing = sources.flatMap((path) => {
      const all = declarationsOf(path)
      const begins = (text: string, names: readonly string[]): boolean =>
        /\.transaction\(/.test(text) || names.some((name) => new RegExp(`\\b${name}\\(`).test(text))
      const helpers = all.filter((one) => !one.isExported && begins(one.text, ['answerOnce']))
      const names = ['answerOnce', ...helpers.map(({ name }) => name)]
      return all
        .filter((one) => one.isExported && !ways.includes(one.name) && begins(one.text, names))
        .filter((one) => !covered.has(one.name))
        .map((one) => `${path}: ${one.name}`)
    })
    expect(missing).toEqual([])
  })

  test('has every function of the database that an application may call and that writes', async () => {
    const functions = await shop.query<{ name: string; body: string }>(
      `select p.proname as name, p.prosrc as body from pg_proc p join pg_namespace n on n.oid = p.pronamespace
       where n.nspname = 'holdfast' and p.prorettype <> 'trigger'::regtype
         and exists (select from unnest($1::name[]) as role where has_function_privilege(role, p.oid, 'execute'))`,
      [DATABASE_ROLES],
    )
    const written = (body: string): string => body.replaceAll(/--.*$/gm, '').replaceAll(/for (no key )?update/g, '')
    const writing = functions.filter(({ body }) => /\b(insert into|update|delete from)\b/.test(written(body)))
    // Once in seven years, by hand, in a transaction of its own.
    const rare = new Set(['audit_purge'])
    expect(writing.map(({ name }) => name).filter((name) => !covered.has(name) && !rare.has(name))).toEqual([])
  })
})
