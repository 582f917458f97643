// The commands: what each needs and what runs it. `node tools/setup.mjs COMMAND [ARG...]`

import { delimiter, join } from 'node:path'
import { Interrupted, handOver } from './child.mjs'
import { PINNED_NODE, ensureInstalled } from './install.mjs'
import { ROOT } from './place.mjs'
import { SetupError, say } from './report.mjs'
import { ensureTool, ensureTools } from './tool.mjs'

const SERVERS = ['temporal-server', 'temporal-sql-tool']

/** `extras`: optional programs, left out where they cannot be obtained.
 * @type {Record<string, { entry: string[], servers?: boolean, tools?: string[], extras?: string[] }>} */
const COMMANDS = {
  demo: { entry: ['src/main/dev.ts', 'demo'], servers: true },
  start: { entry: ['src/main/dev.ts', 'start'], servers: true, extras: ['temporal-ui-server', 'temporal'] },
  test: { entry: ['test/run.ts'], servers: true, extras: ['grpcurl', 'h2spec'] },
  shake: { entry: ['test/shake.ts'], servers: true, extras: ['grpcurl', 'h2spec'] },
  fuzz: { entry: ['test/fuzz.ts'], servers: true },
  'chaos:kill': { entry: ['test/chaos_kill.ts'], servers: true },
  'chaos:payments': { entry: ['test/chaos_payments.ts'], servers: true },
  controls: { entry: ['test/controls.ts'], servers: true },
  timing: { entry: ['test/timing.ts'], servers: true },
  bench: { entry: ['bench/run.ts'], servers: true, tools: ['ghz', 'holdfast-bench-driver'] },
  migrate: { entry: ['src/main/migrate.ts'] },
  schema: { entry: ['test/schema.ts'] },
  migration: { entry: ['test/migration.ts'] },
  docs: { entry: ['test/docs.ts'] },
  cli: { entry: ['src/main/cli.ts'] },
}

const USAGE = `usage: node tools/setup.mjs COMMAND [ARG...]
  ${Object.keys(COMMANDS).join(', ')}: install, obtain the servers it needs, run it
  tool NAME: obtain one program of tools/ and print its path`

/**
 * @param {string[]} argv command and its arguments
 * @returns {Promise<number>} the exit code of the command, or of the failed set-up
 */
export async function main([name, ...args]) {
  try {
    if (name === 'tool' && args[0]) {
      console.log(await ensureTool(args[0]))
      return 0
    }
    const command = COMMANDS[name ?? '']
    if (!command) {
      console.error(USAGE)
      return 2
    }
    await ensureInstalled()
    const [file, ...first] = command.entry
    return await handOver(PINNED_NODE, [join(ROOT, file), ...first, ...args], await environmentOf(command))
  } catch (error) {
    if (!(error instanceof SetupError) && !(error instanceof Interrupted)) throw error
    say(error.message)
    return error instanceof Interrupted ? error.exitCode : 1
  }
}

/** @param {{ servers?: boolean, tools?: string[], extras?: string[] }} command @returns {Promise<NodeJS.ProcessEnv>} */
async function environmentOf({ servers = false, tools = [], extras = [] }) {
  const address = process.env['TEMPORAL_ADDRESS']
  if (servers && address) say(`temporal-server: ${address} (TEMPORAL_ADDRESS)`)
  const variables = await ensureTools([...(servers && !address ? SERVERS : []), ...tools])
  for (const name of extras) Object.assign(variables, await ensureExtra(name))
  const bin = join(ROOT, 'node_modules', '.bin')
  return { ...process.env, ...variables, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` }
}

/** @param {string} name @returns {Promise<Record<string, string>>} */
async function ensureExtra(name) {
  try {
    return await ensureTools([name])
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    say(`${name} is left out: ${error.message}`)
    return {}
  }
}
