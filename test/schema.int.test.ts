// migrations/schema.sql is read as the truth about the schema, so it must build the same database as the migrations:
// this test builds both and compares Postgres's own description of them line by line.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from './support/database.ts'
import { readSource } from './support/source.ts'

/** One line per column, constraint, index, trigger, function, comment, owner and right in the schema. */
const DESCRIBE = `
  with relation as (
    select c.*, c.relname::text as name from pg_class c
    where c.relnamespace = 'holdfast'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
  ), granted (what, acl) as (
    select 'schema', nspacl from pg_namespace where nspname = 'holdfast'
    union all select name, relacl from relation
    union all select r.name || '.' || a.attname, a.attacl from relation r join pg_attribute a on a.attrelid = r.oid
    union all select p.oid::regprocedure::text, p.proacl from pg_proc p where p.pronamespace = 'holdfast'::regnamespace
  )
  select line from (
    select concat_ws(' ', 'column', r.name, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
      a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid)) as line
    from relation r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
    union all
    select concat_ws(' ', 'relation', name, relkind, relowner::regrole, reloptions::text) from relation
    union all
    select concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint
    where connamespace = 'holdfast'::regnamespace
    union all
    select concat_ws(' ', 'index', indexdef) from pg_indexes where schemaname = 'holdfast'
    union all
    select concat_ws(' ', 'view', name, pg_get_viewdef(oid)) from relation where relkind = 'v'
    union all
    select concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), t.tgenabled) from pg_trigger t
    join relation r on r.oid = t.tgrelid where not t.tgisinternal
    union all
    select concat_ws(' ', 'function', pg_get_functiondef(oid), proowner::regrole) from pg_proc
    where pronamespace = 'holdfast'::regnamespace
    union all
    select concat_ws(' ', 'comment', identity, description) from pg_description
    cross join pg_identify_object(classoid, objoid, objsubid) where schema = 'holdfast'
    union all
    select concat_ws(' ', 'right', what, grantee::regrole, privilege_type) from granted, aclexplode(acl)
  ) described order by line collate "C"`

/** The audit's partitions depend on the date and are no part of the schema. */
const MONTH = /\baudit_entry_2\d{3}_/

/** Without brackets: Postgres prints `a between 1 and 2 and b` with one pair more than when it reads it back. */
const describe = async (database: TestDatabase): Promise<string[]> =>
  (await database.query<{ line: string }>(DESCRIBE))
    .map(({ line }) => line.replace(/[()]/g, ''))
    .filter((line) => !MONTH.test(line))

let migrated: TestDatabase
let restored: TestDatabase
beforeAll(async () => {
  migrated = await createTestDatabase()
  restored = await createEmptyDatabase()
})
afterAll(async () => {
  await migrated.drop()
  await restored.drop()
})

test('schema.sql builds the database that the migrations build (after a new migration: npm run schema)', async () => {
  // A dump changes its session's settings; the next query needs the other database's.
  await restored.query(`${readSource('migrations/schema.sql')}\nreset all`)
  expect(await describe(restored)).toEqual(await describe(migrated))
})
