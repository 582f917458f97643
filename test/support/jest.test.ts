import { basename, join } from 'node:path'
import { expect, test } from '@jest/globals'
import { timesOf } from './jest.ts'
import { LONGEST, longestFirst } from './longest.ts'
import { findSources, ROOT } from './source.ts'

test('a stage tells where its time went: in all, and in its ten slowest files', () => {
  const testResults = Array.from({ length: 12 }, (_, at) => ({
    ...{ name: `/repo/src/${at}.test.ts`, startTime: 1_000, endTime: 1_000 + at * 1_500 },
    ...{ status: 'passed', assertionResults: [] },
  }))
  const counts = { numPassedTests: 1, numFailedTests: 0, numRuntimeErrorTestSuites: 0, numPendingTests: 0 }
  const lines = timesOf('/repo', 'unit', 61_250, { ...counts, numTodoTests: 0, testResults }).split('\n')
  expect(lines[0]).toBe('unit tests took 61.3 s: 12 files of 99.0 s in all, the slowest of them')
  expect(lines.slice(1, 3)).toEqual(['   16.5 s  src/11.test.ts', '   15.0 s  src/10.test.ts'])
  expect(lines).toHaveLength(11)
  expect(timesOf('/repo', 'unit', 1_000, undefined)).toContain('0 files')
})

test('files that take long are begun first, then the larger ones', () => {
  const paths = ['test/readme.test.ts', 'test/house.test.ts', 'test/scale.int.test.ts', 'src/db/race.int.test.ts']
  const found = paths.map((name) => findSources(`**/${basename(name)}`)[0] ?? name)
  const sorted = longestFirst(found.map((path) => ({ path: join(ROOT, path) })))
  expect(sorted.map(({ path }) => basename(path))).toEqual([
    ...['race.int.test.ts', 'scale.int.test.ts', 'house.test.ts', 'readme.test.ts'],
  ])
})

test('every file that is to be begun first exists', () => {
  const names = new Set(findSources('{src,test}/**/*.test.ts').map((path) => basename(path)))
  expect(LONGEST.filter((name) => !names.has(name))).toEqual([])
})
