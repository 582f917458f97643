// docs/requirements.md says which test proves which requirement; this keeps it true.

import { expect, test } from '@jest/globals'
import { findSources, readSource } from './support/source.ts'

const ID = /^(?:[A-Z]{1,5}[0-9]?-)[A-Z]?\d+(?:\.\d+)?$/

const rows = readSource('docs/requirements.md')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (id|---) /.test(line))
  .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '').trim()))
  .map(([id = '', file = '', title = '']) => ({ id, file, title }))

const testFiles = new Set(findSources('{src,test,bench,tools}/**/*.test.{ts,mjs}'))

test('every row names a requirement, a test file and a test', () => {
  expect(rows.filter(({ id, file, title }) => !ID.test(id) || !testFiles.has(file) || title === '')).toEqual([])
})

test('every test that is named exists in its file', () => {
  const missing = rows.filter(({ file, title }) => {
    const literals = [`'${title.replaceAll("'", "\\'")}'`, `"${title}"`, `\`${title}\``]
    return testFiles.has(file) && !literals.some((literal) => readSource(file).includes(literal))
  })
  expect(missing).toEqual([])
})

test('rows stand once each, ordered by id', () => {
  const keys = rows.map(({ id, file, title }) => [id, file, title].join(' | '))
  const ids = rows.map(({ id }) => id)
  expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([])
  expect(ids).toEqual(ids.toSorted(new Intl.Collator('en', { numeric: true }).compare))
})
