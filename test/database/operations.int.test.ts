// The SQL that docs/operations.md tells an operator to run, run as the page says. What fails at night is found here.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { readSource } from '../support/source.ts'

/** As the first section of the page says. */
const AS_OWNER = 'set role holdfast_owner; set search_path = holdfast, pg_catalog'
/** What an operator writes in place of the page's words. */
const WORDS: readonly (readonly [string, string])[] = [
  ['USER_ID', '7'],
  ['ORDER', '00000000-0000-8000-8000-000000000000'],
  ['REFUND', '00000000-0000-8000-8000-000000000000'],
  ['FEE', '21000'],
  ['COUNT', '5'],
  ['NAME', 'anna'],
  ['= …', '= null'],
]

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

const PAGE = readSource('docs/operations.md')
const SPANS = [...PAGE.replaceAll(/^```[^]*?^```/gm, '').matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)
const STATEMENTS = SPANS.filter((code) => /^(select|set|update|delete|insert) /.test(code) && code !== AS_OWNER)

/** The error of a statement, run in a session of its own by the page's rule; undefined if it succeeds. */
async function errorOf(statement: string): Promise<string | undefined> {
  const isOfSealer = statement.includes('audit_purge')
  const client = new pg.Client({ connectionString: isOfSealer ? database.urlOf('audit_sealer') : database.url })
  await client.connect()
  try {
    if (!isOfSealer) await client.query(AS_OWNER)
    // An operator's session has no actor by itself, unlike that of a test.
    await client.query(`set holdfast.actor = ''`)
    await client.query(WORDS.reduce((sql, [word, value]) => sql.replaceAll(word, value), statement))
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    await client.end()
  }
}

test('the page says once how its statements are run', () => {
  expect(PAGE.split(`\`${AS_OWNER}\``)).toHaveLength(2)
})

test('there are statements of every kind on the page', () => {
  expect(STATEMENTS.length).toBeGreaterThan(20)
  for (const name of ['change_account', 'bind_source', 'audit_purge', 'hold_aside', 'security_event'])
    expect(STATEMENTS.filter((statement) => statement.includes(name))).not.toEqual([])
})

test.each(STATEMENTS)('runs as the page says: %s', async (statement) => {
  expect(await errorOf(statement)).toBeUndefined()
})

test('a second watcher logs in as the page says, and writes for its source', async () => {
  const [text = ''] = /create role watcher_two[^`]+/.exec(PAGE) ?? []
  const name = `watcher_${randomBytes(6).toString('hex')}`
  const made = text.replaceAll('watcher_two', name).replace('password …', `password '${name}'`)
  await database.query(made.replaceAll('database holdfast', `database ${database.name}`))
  const { host, pathname } = new URL(database.url)
  const client = new pg.Client({ connectionString: `postgresql://${name}:${name}@${host}${pathname}` })
  try {
    await client.connect()
    await client.query(`set holdfast.source = 'watcher-2'`)
    const insert = `insert into chain_status (network, start_height, scanned_height, settled_height, tip_height)
      values ('second', 1, 0, 0, 1) returning source`
    expect((await client.query(insert)).rows).toEqual([{ source: 'watcher-2' }])
  } finally {
    await client.end()
    await database.query(`drop owned by ${name}; drop role ${name}`)
  }
})
