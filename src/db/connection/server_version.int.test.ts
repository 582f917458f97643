// The version check: a server that is too old is refused before anything else happens.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { migrate } from '../migrate.ts'
import { openDatabase } from './pool.ts'
import { ServerVersionError } from './session.ts'

let database: TestDatabase
/** Its search path finds a function that reports the given server version. */
let urlAs: (version: string) => Promise<string>
beforeAll(async () => {
  database = await createTestDatabase()
  await database.query('create schema pretence')
  await database.query('grant usage on schema pretence to public')
  urlAs = async (version) => {
    await database.query(
      `create or replace function pretence.current_setting(text) returns text language sql as $$ select '${version}' $$`,
    )
    const url = new URL(database.url)
    url.searchParams.set('options', '-c search_path=pretence,pg_catalog')
    return url.href
  }
})
afterAll(() => database.drop())

const open = async (url: string) => {
  const opened = await openDatabase({ url, poolSize: 2, applicationName: 'test' })
  await opened.close()
  return 'opened'
}

test('Postgres 17 is refused by migrations and by every process, in words that name both versions', async () => {
  const url = await urlAs('170009')
  for (const attempt of [migrate, open])
    await expect(attempt(url)).rejects.toThrow(
      new ServerVersionError('DATABASE_URL: the server is Postgres 17, and 18 or newer is needed: upgrade it first'),
    )
})

test.each(['180000', '190002'])('the server version %s is taken', async (version) => {
  await expect(open(await urlAs(version))).resolves.toBe('opened')
})
