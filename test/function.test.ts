// migrations/function has the present text of each function, view and trigger of the database. Migrations are complete in
// themselves, so the same text stands there too: here both are held equal. function.int.test.ts asks the database.

import { describe, expect, test } from '@jest/globals'
import {
  changedOf,
  codeLinesOf,
  contractOf,
  migrationTextOf,
  parseFunction,
  presentOf,
  readFunctions,
  readMigrations,
  resignedOf,
} from './support/function.ts'
import { findSources, readSource } from './support/source.ts'
import { findSqlProblems } from './support/sql_style.ts'

const MAX_LINES = 70

const files = readFunctions()
const present = presentOf(readMigrations())
const made = files.flatMap(({ makes }) => makes)

describe('each function, view and trigger', () => {
  test('is in its file as the migrations leave it (after a change: npm run migration NAME)', () => {
    expect(changedOf(files, present).map(({ path }) => path)).toEqual([])
  })

  test('has one file, and each file one function or view, with its triggers', () => {
    expect(made.map(({ object }) => object).toSorted()).toEqual([...present.keys()].toSorted())
    for (const { name, makes } of files) {
      const [own, ...others] = makes.map(({ object }) => object)
      expect([`function ${name}`, `view ${name}`]).toContain(own)
      expect(others.filter((object) => !object.startsWith('trigger '))).toEqual([])
    }
  })

  test(`has at most ${MAX_LINES} lines of code`, () => {
    expect(made.filter((one) => codeLinesOf(one) > MAX_LINES).map(({ object }) => object)).toEqual([])
  })

  test('has its contract on top: the errors that it raises, and the arguments in JSON', () => {
    for (const file of files) {
      const contract = contractOf(file)
      expect(contract).toMatch(/^[A-Z].*\.$/)
      // HF013 never leaves the function that raises it.
      const raised = [...file.text.matchAll(/errcode = '(HF\d+)'/g)].map(([, code = '']) => code)
      expect(raised.filter((code) => code !== 'HF013' && !contract.includes(code))).toEqual([])
      const documents = [...file.text.matchAll(/\b(p_\w+) jsonb\b/g)].map(([, name = '']) => name)
      expect(documents.filter((name) => !contract.includes(name))).toEqual([])
    }
  })
})

test('every file of SQL is in the style of the house', () => {
  const paths = findSources('migrations/*.do.*.sql', 'migrations/role.sql', 'migrations/function/*.sql')
  expect(paths.flatMap((path) => findSqlProblems(path, readSource(path)))).toEqual([])
})

describe('npm run migration', () => {
  const ADD = 'create or replace function add(a int, b int) returns int language sql as $$\n  select a + b\n$$;\n'
  const after = (text: string) => presentOf([{ path: '0001.do.add.sql', text }])
  const parse = (text: string, name = 'add') => parseFunction(`migrations/function/${name}.sql`, text)

  test('writes a changed function, and not one of which only comments, layout or «or replace» differ', () => {
    const same = parse(`-- Adds.\n${ADD.replace('select a', '-- Slowly.\n  select\n    a')}`)
    expect(changedOf([same], after(ADD.replace('or replace ', '')))).toEqual([])
    const other = parse(ADD.replace('a + b', 'a + 0 + b'))
    expect(changedOf([other], after(ADD))).toEqual([other])
    expect(changedOf([same], after(`${ADD}drop function add;`))).toEqual([same])
  })

  test('writes a function before the functions and views that name it', () => {
    const total = parse('create or replace view total as select add(1, 2) as n;', 'total')
    const calls = [total, parse(ADD)]
    expect(changedOf(calls, new Map()).map(({ name }) => name)).toEqual(['add', 'total'])
  })

  test('follows a function that was given another name', () => {
    expect([...after(`${ADD}alter function add(int, int) rename to sum_of;`).keys()]).toEqual(['function sum_of'])
  })

  test('says of which function the arguments or the result have changed', () => {
    expect(resignedOf([parse(ADD.replace('b int', 'b bigint'))], after(ADD))).toEqual(['add'])
    expect(resignedOf([parse(ADD.replace('a + b', 'b + a'))], after(ADD))).toEqual([])
  })

  test('keeps the first sentence of a contract as the comment in the database', () => {
    const text = migrationTextOf(parse(`-- Adds two\n-- numbers of the shop's. Never\n-- fails.\n${ADD}`))
    expect(text).toContain("comment on function add is\n  'Adds two numbers of the shop''s.';")
  })

  test('names the file that is no SQL', () => {
    expect(() => parse('create functoin add();')).toThrow('migrations/function/add.sql: syntax error at or near')
  })
})

test('every text that a negative control takes out of a function is in its file', () => {
  const controls = readSource('test/support/control.ts').matchAll(/without\(\s*'(\w+)',\s*(['"`])(.*?)\2,/g)
  const missing = [...controls].filter(([, name, , text = '']) => {
    const file = files.find((one) => one.name === name)
    return file?.text.includes(text.replaceAll('\\n', '\n')) !== true
  })
  expect(missing.map(([call]) => call)).toEqual([])
})

test.each([
  ['a tab', 'select\t1;\n', '1: a tab'],
  ['capitals', 'select 1 FROM orders;\n', '1: FROM in capitals'],
  ['capitals in a body', 'do $$\nbegin\n  IF true then null; end if;\nend\n$$;\n', '3: IF in capitals'],
  ['a long line', `select '${'x'.repeat(120)}';\n`, '1: more than 120 characters'],
  ['an error in a body', 'do $$\nbegin\n  if true null; end if;\nend\n$$;\n', 'missing "THEN"'],
  ['a missing line break', 'select 1;', '1: one line break ends the file'],
])('the style of the house has no place for %s', (_, text, problem) => {
  const [first = '', ...others] = findSqlProblems('migrations/function/x.sql', text)
  expect(first).toContain(problem)
  expect(others).toEqual([])
})
