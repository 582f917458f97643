// CI checks besides the tests: `npm run check` runs CHECKS first and BENCHMARKS last. Each step counts as one test.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

type Step = {
  name: string
  commands: readonly (readonly string[])[]
  /** Skipped where this program is missing: once a Temporal server is installed, only these steps need Go. */
  needs?: string
}
/** @param scratch a folder for a step's output */
type StepsOf = (scratch: string) => readonly Step[]

const VARIABLES = {
  // Values that docker-compose.yml leaves to the operator.
  HOLDFAST_ETH_RPC_URL: 'http://127.0.0.1:8545',
  HOLDFAST_PAYOUT_SENDER: '0x0000000000000000000000000000000000000001',
  // A benchmark starts its own Temporal server.
  TEMPORAL_ADDRESS: undefined,
}

export const CHECKS: StepsOf = (scratch) => [
  {
    name: 'generated code is current (npm run generate)',
    commands: [
      ['buf', 'generate', '--output', scratch],
      ['diff', '--recursive', `${scratch}/src/grpc/gen`, 'src/grpc/gen'],
      ['buf', 'build', 'proto', '--as-file-descriptor-set', '--output', `${scratch}/holdfast.binpb`],
      ['cmp', `${scratch}/holdfast.binpb`, 'proto/holdfast.binpb'],
    ],
  },
  { name: 'format (npm run format)', commands: [['prettier', '--check', '.']] },
  { name: 'lint', commands: [['oxlint', '--type-aware', '--deny-warnings']] },
  { name: 'SQL style (npm run lint:sql)', commands: [['node', 'test/sql.ts']] },
  { name: 'types', commands: [['tsc', '--noEmit']] },
  {
    name: 'proto style and compatibility',
    commands: [
      ['buf', 'lint'],
      ['buf', 'breaking', 'proto', '--against', 'proto/baseline.binpb'],
    ],
  },
  {
    name: 'docker-compose.yml by the Compose specification',
    commands: [['go', 'run', '-C', 'tools/compose-check', '.', '../../docker-compose.yml']],
    needs: 'go',
  },
  {
    name: 'the image builds from what it is given',
    commands: [
      ['tsc', '--project', 'tsconfig.build.json', '--outDir', `${scratch}/dist`],
      ['node', 'tools/bundle.mjs', `${scratch}/dist`],
    ],
  },
]

/** Smoke runs: so short that they show only that everything still runs. tools/setup.mjs installs what they need. */
export const BENCHMARKS: StepsOf = (scratch) =>
  ['order-flow', 'stock', 'front', 'overload', 'payments'].map((name) => ({
    name: `the benchmark ${name} runs`,
    commands: [['node', 'tools/setup.mjs', 'bench', name, '--smoke', '--out', scratch]],
    needs: 'go',
  }))

/** Runs every step until aborted, prints the output of failed ones, and returns how many passed and failed. */
export async function runSteps(
  root: string,
  stepsOf: StepsOf,
  signal: AbortSignal,
): Promise<{ passed: number; failed: number; skipped: number }> {
  const scratch = await mkdtemp(join(tmpdir(), 'holdfast-check-'))
  const tally = { passed: 0, failed: 0, skipped: 0 }
  try {
    for (const { name, commands, needs } of stepsOf(scratch)) {
      if (signal.aborted) break
      const isThere = needs === undefined ? [] : [['sh', '-c', `command -v ${needs}`]]
      if ((await firstProblem(isThere, root, signal)) !== undefined) {
        tally.skipped += 1
        console.error(`  ○ ${name}: skipped, ${needs} is not installed`)
        continue
      }
      const problem = await firstProblem(commands, root, signal)
      tally[problem === undefined ? 'passed' : 'failed'] += 1
      console.error(problem === undefined ? `  ✓ ${name}` : `  ✕ ${name}\n${problem}`)
    }
  } finally {
    await rm(scratch, { recursive: true })
  }
  return tally
}

/** The output of the first command that fails; undefined when all succeed. */
async function firstProblem(commands: Step['commands'], cwd: string, signal: AbortSignal): Promise<string | undefined> {
  for (const [command = '', ...args] of commands) {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...VARIABLES },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const stop = (): unknown => child.kill('SIGTERM')
    signal.addEventListener('abort', stop, { once: true })
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
    signal.removeEventListener('abort', stop)
    if (code !== 0) return `${[command, ...args].join(' ')} (exit ${code})\n${out}${err}`
  }
  return undefined
}
