// `npx holdfast ...`: the command line. Its commands are in cli/.

import { CommanderError } from 'commander'
import { ConfigError, loadConfig } from '../config.ts'
import { EXIT, endingOf } from './cli/exit.ts'
import { createProgram } from './cli/program.ts'

const stopping = new AbortController()
process.once('SIGINT', () => stopping.abort())
// The reader of a pipe may leave early (`| head`).
process.stdout.on('error', () => process.exit(EXIT.ok))

try {
  const shell = {
    config: loadConfig('cli'),
    write: (text: string) => process.stdout.write(text),
    signal: stopping.signal,
  }
  await createProgram(shell).parseAsync()
} catch (error) {
  // What commander refuses, it has explained already.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage
  else {
    const { code, message } =
      error instanceof ConfigError ? { code: EXIT.usage, message: error.message } : endingOf(error)
    process.stderr.write(`${message}\n`)
    process.exitCode = code
  }
}
