// Fault injection into every transaction of test/support/scenario.ts: after each of its statements and after each
// write, by an exception or by a killed session. The transaction is stored completely or not at all, the pool stays
// usable, and the repeated call succeeds. A transaction that the table lacks fails a test here.

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
import { count, COUNT_WITHIN_MS, randomOf } from '../support/scale.ts'
import { openRoleDatabases, readSnapshot, SCENARIOS, type WriteCall, type RoleDatabases } from '../support/scenario.ts'
import { DATABASE_ROLES } from '../support/servers.ts'
import { createTestShop, type TestShop } from '../support/shop.ts'
import { findSources, readSource } from '../support/source.ts'
import { until } from '../support/until.ts'
import { sqlStateOf } from '../../src/db/connection/pool.ts'

jest.setTimeout(COUNT_WITHIN_MS * 4)

let shop: TestShop
let databases: RoleDatabases
let closeDatabases: () => Promise<void>
let writes: WriteFailpoint
/** A shop for the tests of one block: all that is in it is looked at three times for each failure. */
function useShop(): void {
  beforeAll(async () => {
    shop = await createTestShop()
    ;({ databases, close: closeDatabases } = await openRoleDatabases(shop))
    writes = await createWriteFailpoint(shop.test)
    await shop.catchUp()
  })
  afterEach(async () => {
    expect(await findViolations(shop.test)).toEqual([])
  })
  afterAll(async () => {
    await closeDatabases()
    await shop.close()
  })
}

const NAMES = Object.keys(SCENARIOS)
const KINDS: readonly FailureKind[] = ['exception', 'killed backend']
/**
 * Of how many writes one is followed by a killed session; each of them is followed by an exception. Either way Postgres
 * rolls the same transaction back.
 */
const WRITES_PER_KILL = count(3, 1)

async function prepare(name: string): Promise<WriteCall> {
  const scenario = SCENARIOS[name]
  if (scenario === undefined) throw new Error(`no scenario ${name}`)
  return scenario.prepare({ shop, databases })
}

/** No session is left in a transaction, and no caller waits for one. */
async function expectCleanPools(): Promise<void> {
  const left = () =>
    shop.query(
      `select pid from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null`,
    )
  await until(async () => (await left()).length === 0)
  for (const database of Object.values(databases)) expect(database.stats().waiting).toBe(0)
}

const isInjected = (error: unknown): boolean =>
  error instanceof InjectedFailure || sqlStateOf(error) === INJECTED_STATE || isAnswerLost(error)

/** Makes the call fail, then repeats it successfully. */
async function expectAllOrNothing(act: WriteCall, fail: () => Promise<unknown>): Promise<void> {
  const before = await readSnapshot(shop.test)
  const outcome = await fail().then(
    () => 'nothing failed',
    (error: unknown) => (isInjected(error) ? 'failed' : error),
  )
  expect(outcome).toBe('failed')
  await expectCleanPools()
  expect(await readSnapshot(shop.test)).toEqual(before)
  await writes.arm(0)
  await act(databases)
  expect(await readSnapshot(shop.test)).not.toEqual(before)
}

/** The number of statements that a call's transaction sends, counted in a successful call. */
async function statementsOf(name: string): Promise<number> {
  const points = Object.entries(databases).map(
    ([role, database]) => [role, createFailpoint(database, shop.test)] as const,
  )
  const counted = Object.fromEntries(points.map(([role, point]) => [role, point.database])) as RoleDatabases
  await (
    await prepare(name)
  )(counted)
  return Math.max(...points.map(([, point]) => point.sent()))
}

describe.each(NAMES)('while %s', (name) => {
  useShop()

  test.each(KINDS)('%s after any statement leaves all or nothing', async (kind) => {
    const statements = await statementsOf(name)
    // A call of one statement can only fail at the writes within it.
    for (let at = 0; statements > 0 && at <= statements; at += 1) {
      const act = await prepare(name)
      const failing = Object.fromEntries(
        Object.entries(databases).map(([role, database]) => [
          role,
          createFailpoint(database, shop.test, at, kind).database,
        ]),
      ) as RoleDatabases
      await expectAllOrNothing(act, () => act(failing))
    }
  })

  test.each(KINDS)('%s after any write leaves all or nothing', async (kind) => {
    const first = await prepare(name)
    await writes.arm(0)
    await first(databases)
    const written = await writes.written()
    expect(written).toBeGreaterThan(0)
    const step = kind === 'exception' ? 1 : WRITES_PER_KILL
    for (let nth = 1 + Math.floor(randomOf(name)() * Math.min(step, written)); nth <= written; nth += step) {
      const act = await prepare(name)
      await writes.arm(nth, kind)
      await expectAllOrNothing(act, () => act(databases))
    }
  })
})

describe('the list of transactions', () => {
  useShop()

  const covered = new Set(Object.values(SCENARIOS).flatMap(({ of }) => of.split(' ')))

  /** Declarations at the top level of a file, and whether they are exported. */
  function declarationsOf(path: string) {
    return readSource(path)
      .split(/^(?=(?:export )?(?:async )?(?:function|const) )/m)
      .map((text) => ({ text, head: /^(export )?(?:async )?(?:function|const) (\w+)/.exec(text) }))
      .flatMap(({ text, head }) => (head === null ? [] : [{ text, name: head[2] ?? '', isExported: !!head[1] }]))
  }

  test('has every function of ours that begins one', () => {
    /** Helpers that open a transaction, not transactions themselves. */
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
    // An operator's purge after seven years, in its own transaction.
    const rare = new Set(['audit_purge'])
    expect(writing.map(({ name }) => name).filter((name) => !covered.has(name) && !rare.has(name))).toEqual([])
  })
})
