// `npm run test:controls`: negative controls. It removes each guard of the database in turn, in separate databases, and
// the test named beside the guard must fail. First, all of those tests must pass with every guard in place.
// npm run test:controls -- [WORD...: only guards whose name contains one of these]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CONTROLS, type Control } from './support/control.ts'
import { createTestDatabase } from './support/database.ts'
import { startTestServers } from './support/servers.ts'
import { ROOT } from './support/source.ts'

const JEST = join(ROOT, 'node_modules/jest/bin/jest.js')
const WITHIN_MS = 300_000

type Outcome = { passed: readonly string[]; failed: readonly string[]; text: string }
/** The part of jest's result that is read here. */
type JestResult = {
  testResults: { assertionResults: { status: string; fullName: string }[]; message: string }[]
}

const escaped = (text: string): string => text.replaceAll(/[$()*+.?[\\\]^{|}]/g, String.raw`\$&`)

/** Runs only the tests of these controls. */
async function run(controls: readonly Control[], mutation: string, outputFile: string): Promise<Outcome> {
  const files = [...new Set(controls.map(({ file }) => escaped(file)))]
  const names = controls.map(({ test }) => escaped(test)).join('|')
  const child = spawn(
    process.execPath,
    [JEST, '--ci', '--selectProjects', 'integration', '--testPathPatterns', ...files].concat([
      '--testNamePattern',
      names,
      '--json',
      '--outputFile',
      outputFile,
      '--maxWorkers=2',
    ]),
    {
      cwd: ROOT,
      env: {
        ...process.env,
        NODE_OPTIONS: '--experimental-vm-modules --disable-warning=ExperimentalWarning',
        HOLDFAST_TEST_COMMANDS: '2000',
        HOLDFAST_TEST_MUTATION: mutation,
      },
      stdio: 'ignore',
      timeout: WITHIN_MS,
    },
  )
  await once(child, 'exit')
  const result = JSON.parse(await readFile(outputFile, 'utf8')) as JestResult
  await rm(outputFile)
  const tests = result.testResults.flatMap(({ assertionResults }) => assertionResults)
  return {
    passed: tests.filter(({ status }) => status === 'passed').map(({ fullName }) => fullName),
    failed: tests.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
    text: result.testResults.map(({ message }) => message).join('\n'),
  }
}

/** Checks that the mutation applies: otherwise every test would fail. @throws Postgres's error */
async function assertApplies(mutation: string): Promise<void> {
  process.env['HOLDFAST_TEST_MUTATION'] = mutation
  try {
    await (await createTestDatabase()).drop()
  } finally {
    delete process.env['HOLDFAST_TEST_MUTATION']
  }
}

const words = process.argv.slice(2)
const chosen = CONTROLS.filter(({ guard }) => words.length === 0 || words.some((word) => guard.includes(word)))
const dir = await mkdtemp(join(tmpdir(), 'holdfast-controls-'))
const stop = await startTestServers()
const rows: { guard: string; test: string; outcome: 'red' | 'GREEN' }[] = []
try {
  const whole = await run(chosen, '', join(dir, 'whole.json'))
  // A file that cannot be loaded has no test that failed.
  const missing = chosen.filter((control) => !whole.passed.some((name) => name.includes(control.test)))
  if (whole.failed.length > 0 || missing.length > 0) {
    const named = [...whole.failed, ...missing.map(({ test }) => test)].join(', ')
    throw new Error(`with every guard in place, failed or not run: ${named}\n${whole.text}`)
  }
  for (const control of chosen) {
    await assertApplies(control.mutation)
    const { failed } = await run([control], control.mutation, join(dir, 'one.json'))
    const isNoticed = failed.some((name) => name.includes(control.test))
    rows.push({ guard: control.guard, test: failed[0] ?? control.test, outcome: isNoticed ? 'red' : 'GREEN' })
    console.error(`${isNoticed ? 'red  ' : 'GREEN'} without ${control.guard}`)
  }
} finally {
  await stop()
  await rm(dir, { recursive: true })
}
console.table(rows)
const unnoticed = rows.filter(({ outcome }) => outcome === 'GREEN').length
console.log(`${rows.length - unnoticed} of ${rows.length} missing guards are noticed by their tests`)
process.exitCode = unnoticed === 0 ? 0 : 1
