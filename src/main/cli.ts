// `npx holdfast ...`: the command line. Its commands are in cli/.

import { CommanderError, InvalidArgumentError } from 'commander'
import { ConfigError, loadConfig } from '../config.ts'
import { silenceLibrary } from '../grpc/library_log.ts'
import { EXIT, endingOf } from './cli/exit.ts'
import { printable } from './cli/print.ts'
import { createProgram } from './cli/program.ts'

function untilInterrupted(): AbortSignal {
  const stopping = new AbortController()
  process.once('SIGINT', () => stopping.abort())
  return stopping.signal
}

silenceLibrary()
// The reader of a command cannot act on warnings about the code of a library.
process.removeAllListeners('warning')
// The reader of a pipe may close it early (`| head`).
process.stdout.on('error', () => process.exit(EXIT.ok))

const write = (text: string): void => void process.stdout.write(text)
const complain = (text: string): void => void process.stderr.write(text)

try {
  await createProgram({ config: loadConfig('cli'), write, complain, untilInterrupted }).parseAsync()
} catch (error) {
  // Commander has already printed the reason, except of an argument that an action has parsed.
  if (error instanceof CommanderError) {
    if (error instanceof InvalidArgumentError) complain(`${printable(error.message)}\n`)
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage
  } else {
    const { code, message } =
      error instanceof ConfigError ? { code: EXIT.usage, message: error.message } : endingOf(error)
    complain(`${printable(message)}\n`)
    process.exitCode = code
  }
}
