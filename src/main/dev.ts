// `npm start` and `npm run demo`: all of Holdfast on this machine. The commands are in dev/.

import { Command, InvalidArgumentError } from 'commander'
import { runDemoCommand } from './dev/demo.ts'
import { runStartCommand, type StartCommandOptions } from './dev/start.ts'
import { MAX_PORT_BASE, MIN_PORT_BASE } from '../servers/wiring.ts'
import { DEFAULT_DATA_DIR } from './ready_file.ts'

function parsePort(text: string): number {
  const port = /^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : 0
  if (port >= MIN_PORT_BASE && port <= MAX_PORT_BASE) return port
  throw new InvalidArgumentError(`Not from ${MIN_PORT_BASE} to ${MAX_PORT_BASE}.`)
}

/** As of `npx holdfast`: wrong usage is told from a failed start. */
const USAGE_CODE = 2

const program = new Command('dev')
  .description('Runs all of Holdfast on this machine, for development.')
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_CODE))
program
  .command('start')
  .description('start the stack and keep it running')
  .option('--data-dir <path>', 'where the stack keeps its data', DEFAULT_DATA_DIR)
  .option(
    '--port-base <port>',
    `the api's port; all other ports move with it (${MIN_PORT_BASE} to ${MAX_PORT_BASE}; default: 7070)`,
    parsePort,
  )
  .option('--ready-file <path>', 'write addresses and tokens here once the stack is healthy')
  .option('--adopt', 'after a restore of the database: continue the audit from what it holds now')
  .option('--fresh', 'remove what the data directory holds, and start empty')
  .action((options: StartCommandOptions) => runStartCommand(options))
program
  .command('demo')
  .description('play the life of five orders on a temporary stack')
  .option('--json', 'print one JSON document instead of the story')
  .action(async (options: { json?: true }) => {
    process.exitCode = (await runDemoCommand(options)) ? 0 : 1
  })

try {
  await program.parseAsync()
} catch (error) {
  // A start that was stopped has logged that already.
  if (!(error instanceof Error && error.name === 'AbortError'))
    process.stderr.write(`holdfast: ${error instanceof Error ? error.message : 'unknown error'}\n`)
  process.exitCode = 1
}
