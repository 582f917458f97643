// `npm start` and `npm run demo`: the whole of Holdfast on this machine. The commands are in dev/.

import { Command, InvalidArgumentError } from 'commander'
import { demo } from './dev/demo.ts'
import { start, type StartOptions } from './dev/start.ts'
import { DEFAULT_DATA_DIR } from './ready_file.ts'

function parsePort(text: string): number {
  if (/^[1-9][0-9]{0,4}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('Not a port.')
}

const program = new Command('dev').description('Runs the whole of Holdfast on this machine, for development.')
program
  .command('start')
  .description('start the stack and keep it running')
  .option('--data-dir <path>', 'where it keeps everything', DEFAULT_DATA_DIR)
  .option('--port-base <port>', "the api's port; all others keep their distance from it (default: 7070)", parsePort)
  .option('--ready-file <path>', 'write addresses and tokens here once all is healthy')
  .option('--adopt', 'after a restore of the database: the audit goes on from what it holds now')
  .option('--fresh', 'begin with nothing: what the data directory holds is removed')
  .action((options: StartOptions) => start(options))
program
  .command('demo')
  .description('play the life of four orders on a stack of its own')
  .option('--json', 'print one JSON document instead of the story')
  .action(async (options: { json?: true }) => {
    process.exitCode = (await demo(options)) ? 0 : 1
  })

try {
  await program.parseAsync()
} catch (error) {
  // A start that was asked to stop has said so.
  if (!(error instanceof Error && error.name === 'AbortError'))
    process.stderr.write(`holdfast: ${error instanceof Error ? error.message : 'unknown error'}\n`)
  process.exitCode = 1
}
