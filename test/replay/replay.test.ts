// Replay tests: workflow code must replay histories of older code, since running orders move to new code.

import { expect, test } from '@jest/globals'
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker'
import { mkdtemp, cp, readFile, writeFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { workflowBundleFile } from '../support/bundle.ts'
import { readHistories } from '../support/history.ts'

const SRC = fileURLToPath(new URL('../../src', import.meta.url))
const MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url))
/** Bundles the workflows twice. */
const WITHIN_MS = 180_000

Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] })

async function replayAll(code: string): Promise<Record<string, string>> {
  const outcomes: Record<string, string> = {}
  for (const { path, history } of await readHistories()) {
    const run = Worker.runReplayHistory({ workflowBundle: { code } }, history, `order:${path}`)
    outcomes[path] = await run.then(
      () => 'replays',
      (error: Error) => error.name,
    )
  }
  return outcomes
}

test(
  'every recorded path replays on the present workflow code',
  async () => {
    const outcomes = await replayAll(await readFile(await workflowBundleFile(), 'utf8'))
    expect(Object.keys(outcomes)).toEqual(
      expect.arrayContaining(['cancelled', 'delivered', 'expired', 'parked', 'prepaid', 'reset']),
    )
    expect(new Set(Object.values(outcomes))).toEqual(new Set(['replays']))
  },
  WITHIN_MS,
)

test(
  'the replay notices workflow code that does its steps in another order',
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'holdfast-replay-'))
    try {
      await cp(SRC, join(dir, 'src'), { recursive: true })
      await symlink(MODULES, join(dir, 'node_modules'))
      await writeFile(join(dir, 'package.json'), '{"type":"module"}')
      const file = join(dir, 'src/workflows/run.ts')
      const text = await readFile(file, 'utf8')
      const exchanged = { reserveStock: 'assessPayments', assessPayments: 'reserveStock' } as const
      const changed = text.replaceAll(
        /(?<=step\(')(reserveStock|assessPayments)(?=', fence\))/g,
        (name) => exchanged[name as keyof typeof exchanged],
      )
      expect(changed).not.toBe(text)
      await writeFile(file, changed)
      const { code } = await bundleWorkflowCode({
        workflowsPath: join(dir, 'src/workflows/index.ts'),
        logger: new DefaultLogger('WARN'),
      })
      expect(Object.values(await replayAll(code))).not.toContain('replays')
    } finally {
      await rm(dir, { recursive: true })
    }
  },
  WITHIN_MS,
)
