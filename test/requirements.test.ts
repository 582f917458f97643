// Checks docs/requirements.md (what must be true, and the test that proves it) and docs/design.md (the design rules):
// the named tests exist, and every id cited anywhere is explained there.

import { describe, expect, test } from '@jest/globals'
import { findSources, readSource } from './support/source.ts'

const ID = /^[A-Z]{1,5}[0-9]?-[A-Z]?\d+(?:\.\d+)?$/
/** The families of ids: other words of this shape, such as SHA-256, are no ids. */
const CITED_ID =
  /\b(?:ACC?|AUTHZ?|C|DI?|EV|F|FUT|G|INV|I[RV]?|MET|MTR|NS|OPS|P|PCI|PRE|S2|SR|ST|T|TH)-[A-Z]?\d+(?:\.\d+)?\b/g
const CITED_RULE = /\bdesign rules? (\d+)(?:(?: (?:to|and) |, )(\d+))*/g

const page = readSource('docs/requirements.md')
const design = readSource('docs/design.md')

/** The rows of the table below a heading, cell by cell. */
const tableBelow = (heading: string): string[][] =>
  (page.split(`\n## ${heading}\n`)[1] ?? '')
    .replace(/\n## [\s\S]*/, '')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| (id|---) /.test(line))
    .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '').trim()))

const sentences = tableBelow('Requirements').map(([id = '', sentence = '']) => ({ id, sentence }))
const known = new Set(sentences.map(({ id }) => id))
const rows = tableBelow('Proofs').map(([id = '', file = '', title = '']) => ({ id, file, title }))

const testFiles = new Set(findSources('{src,test,bench,tools}/**/*.test.{ts,mjs}'))
const byId = (ids: readonly string[]): string[] => ids.toSorted(new Intl.Collator('en', { numeric: true }).compare)

const hasTest = (file: string, title: string): boolean =>
  [`'${title.replaceAll("'", "\\'")}'`, `"${title}"`, `\`${title}\``].some((literal) =>
    readSource(file).includes(literal),
  )

/** Every file that people write, without generated code and pinned tools. */
const citing = findSources(
  '{src,test,bench,tools,proto,migrations,docs,ops}/**/*.{ts,mjs,proto,sql,md,yaml,yml,sh}',
  '*.{md,js,yml}',
  'Dockerfile',
).filter((path) => !/\/gen\/|\/google\/|requirements\.test\.ts$/.test(path))

describe('a requirement', () => {
  test('has one sentence, in the order of ids', () => {
    const ids = sentences.map(({ id }) => id)
    expect(sentences.filter(({ id, sentence }) => !ID.test(id) || !/^.+\.$/.test(sentence))).toEqual([])
    expect(ids).toEqual(byId([...new Set(ids)]))
  })

  test('that is cited anywhere has its sentence', () => {
    const missing = citing.flatMap((path) =>
      [...readSource(path).matchAll(CITED_ID)]
        .map(([id]) => id)
        .filter((id) => !known.has(id))
        .map((id) => `${path}: ${id}`),
    )
    expect(missing).toEqual([])
  })
})

describe('a proof', () => {
  test('names a requirement, a test file and a test', () => {
    expect(rows.filter(({ id, file, title }) => !known.has(id) || !testFiles.has(file) || title === '')).toEqual([])
  })

  test('names a test that exists in its file', () => {
    expect(rows.filter(({ file, title }) => testFiles.has(file) && !hasTest(file, title))).toEqual([])
  })

  test('stands once, in the order of ids', () => {
    const keys = rows.map(({ id, file, title }) => [id, file, title].join(' | '))
    const ids = rows.map(({ id }) => id)
    expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([])
    expect(ids).toEqual(byId(ids))
  })
})

describe('a rule of the design', () => {
  const numbers = [...design.matchAll(/^(\d+)\. \*\*/gm)].map(([, number]) => Number(number))

  test('has its number once, in order', () => {
    expect(numbers).toEqual(numbers.map((_number, index) => index + 1))
    expect(numbers.length).toBeGreaterThan(0)
  })

  test('that is cited anywhere has its text', () => {
    const missing = citing.flatMap((path) =>
      [...readSource(path).matchAll(CITED_RULE)]
        .flatMap(([text]) => text.match(/\d+/g) ?? [])
        .filter((number) => !numbers.includes(Number(number)))
        .map((number) => `${path}: design rule ${number}`),
    )
    expect(missing).toEqual([])
  })

  test('is proven by tests that exist', () => {
    const lists = design.match(/^ +- «.*$/gm) ?? []
    const titles = lists.flatMap((line) => [...line.matchAll(/«(.*?)»(?=, «|$)/g)].map(([, title]) => title ?? ''))
    expect(lists).toHaveLength(numbers.length)
    expect(titles.filter((title) => ![...testFiles].some((file) => hasTest(file, title)))).toEqual([])
  })
})
