import { expect, test } from '@jest/globals'
import type { JestResult } from './jest.ts'
import { commandOf, failuresIn, planRuns, PASSES, reportOf, SEEDS, shuffled, type Plan, type Run } from './shake.ts'

const plan = (overrides: Partial<Plan> = {}) =>
  planRuns({
    passes: PASSES,
    files: new Map([
      ['unit', ['src/a.test.ts']],
      ['integration', ['src/b.int.test.ts', 'src/c.int.test.ts']],
    ]),
    paths: [],
    times: 2,
    seed: 7,
    ...overrides,
  })
const run = (overrides: Partial<Run> = {}): Run => ({
  ...{ stage: 'integration', paths: ['src/b.int.test.ts'], share: 'third', seed: 7, isAlone: true },
  ...overrides,
})

test('a shake is the suite with all of the CPU and with a third, then each integration file alone with either in turn', () => {
  expect(plan().map(({ stage, paths, share }) => [stage, ...paths, share])).toEqual([
    ['unit', 'whole'],
    ['integration', 'whole'],
    ['unit', 'third'],
    ['integration', 'third'],
    ['integration', 'src/b.int.test.ts', 'whole'],
    ['integration', 'src/b.int.test.ts', 'third'],
    ['integration', 'src/c.int.test.ts', 'whole'],
    ['integration', 'src/c.int.test.ts', 'third'],
  ])
})

test('a part of it is chosen by pass, and the files of the suite by what was asked for', () => {
  expect(plan({ passes: ['third'], paths: ['src/b'] }).map(({ paths, share }) => [...paths, share])).toEqual([
    ['src/b', 'third'],
    ['src/b', 'third'],
  ])
  expect(plan({ passes: ['alone'], times: 3 })).toHaveLength(6)
  expect(plan({ passes: ['alone'], files: new Map([['unit', ['src/a.test.ts']]]) })).toEqual([])
})

test('each run has a seed of its own, and the first has the one that was asked for', () => {
  expect(plan().map(({ seed }) => seed)).toEqual([7, 8, 9, 10, 11, 12, 13, 14])
  expect(plan({ seed: SEEDS - 1, passes: ['whole'] }).map(({ seed }) => seed)).toEqual([SEEDS - 1, 0])
})

test('the command that repeats a run makes that run and no other', () => {
  const command = 'npm run test:shake -- src/b.int.test.ts --stage integration --pass third --seed 7'
  expect(commandOf(run())).toBe(command)
  const files = new Map([['integration', ['src/b.int.test.ts']]] as const)
  expect(plan({ passes: ['third'], paths: ['src/b.int.test.ts'], files })).toEqual([run({ isAlone: false })])
})

const resultOf = (overrides: Partial<JestResult> = {}): JestResult => ({
  ...{ numPassedTests: 1, numFailedTests: 0, numRuntimeErrorTestSuites: 0, numPendingTests: 0, numTodoTests: 0 },
  testResults: [],
  ...overrides,
})

test('what failed is named by file and test; a file that could not be run, and a run without a result, count too', () => {
  const tests = [
    { fullName: 'goes well', status: 'passed' },
    { fullName: 'goes wrong', status: 'failed' },
  ]
  const result = resultOf({
    testResults: [
      { name: '/repo/src/a.test.ts', startTime: 0, endTime: 1, status: 'failed', assertionResults: tests },
      { name: '/repo/src/b.test.ts', startTime: 0, endTime: 1, status: 'failed', assertionResults: [] },
    ],
  })
  expect(failuresIn('/repo', result)).toEqual(['src/a.test.ts: goes wrong', 'src/b.test.ts: the file could not be run'])
  expect(failuresIn('/repo', resultOf())).toEqual([])
  expect(failuresIn('/repo', undefined)).toEqual(['jest ended without a result'])
})

test('the report lists what failed at least once, most often first, with the seed of each run', () => {
  const outcomes = [
    { run: run({ seed: 1 }), failures: ['one'] },
    { run: run({ seed: 2 }), failures: ['two', 'two'] },
    { run: run({ seed: 3 }), failures: ['one', 'two'] },
    { run: run({ seed: 4 }), failures: ['two'] },
  ]
  const again = 'npm run test:shake -- src/b.int.test.ts --stage integration --pass third --seed'
  expect(reportOf(outcomes).split('\n')).toEqual([
    ...['3× two', `   ${again} 2`, `   ${again} 3`, `   ${again} 4`],
    ...['2× one', `   ${again} 1`, `   ${again} 3`],
    '4 runs, 2 tests failed at least once',
  ])
  expect(reportOf([{ run: run(), failures: [] }])).toBe('1 runs, 0 tests failed at least once')
})

test('files come in an order that the seed decides, whatever order they are found in', () => {
  const files = Array.from({ length: 20 }, (_, at) => `src/${at}.test.ts`)
  const orderOf = (seed: number, found = files) => shuffled(found, seed, (path) => path)
  expect(orderOf(1)).toEqual(orderOf(1, files.toReversed()))
  expect(orderOf(1).toSorted()).toEqual(files.toSorted())
  expect(orderOf(1)).not.toEqual(files)
  expect(orderOf(1)).not.toEqual(orderOf(2))
})
