// The programs that npm does not provide: where each is searched, and which one is used.

import { constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { build, cachedPathOf } from './go.mjs'
import { isAllowed } from './place.mjs'
import { SetupError, say } from './report.mjs'

const SERVER_ALTERNATIVES =
  'Do one of these:\n' +
  '  - install Go (https://go.dev/dl) and run the same command again: the server is then built once;\n' +
  '  - set TEMPORAL_ADDRESS to a Temporal server of your own, such as 127.0.0.1:7233\n' +
  '    (`temporal server start-dev` of the Temporal CLI is enough to try it);\n' +
  '  - put `temporal-server` and `temporal-sql-tool` on PATH.'
const TOOL_ALTERNATIVES = 'Install Go (https://go.dev/dl), or put the program itself on PATH.'

const SECONDS_AFTER_SERVER = 'seconds once the server is built'

/** @type {Record<string, import('./go.mjs').GoTool & { variable: string }>} `variable`: holds the program's path */
const TOOLS = {
  'temporal-server': {
    name: 'temporal-server',
    module: 'temporal',
    command: 'go.temporal.io/server/cmd/server',
    variable: 'HOLDFAST_TEMPORAL_SERVER',
    about: 'once per machine, 4 to 7 minutes on two cores',
  },
  'temporal-sql-tool': {
    name: 'temporal-sql-tool',
    module: 'temporal',
    command: 'go.temporal.io/server/cmd/tools/sql',
    variable: 'HOLDFAST_TEMPORAL_SQL_TOOL',
    about: SECONDS_AFTER_SERVER,
  },
  'temporal-ui-server': {
    name: 'temporal-ui-server',
    module: 'temporal',
    command: 'github.com/temporalio/ui-server/v2/cmd/server',
    variable: 'HOLDFAST_TEMPORAL_UI',
    about: SECONDS_AFTER_SERVER,
  },
  temporal: {
    name: 'temporal',
    module: 'temporal',
    command: 'github.com/temporalio/cli/cmd/temporal',
    variable: 'HOLDFAST_TEMPORAL_CLI',
    about: SECONDS_AFTER_SERVER,
  },
  grpcurl: {
    name: 'grpcurl',
    module: 'grpc',
    command: 'github.com/fullstorydev/grpcurl/cmd/grpcurl',
    variable: 'HOLDFAST_GRPCURL',
    about: 'once per machine, about a minute',
  },
  ghz: {
    name: 'ghz',
    module: 'grpc',
    command: 'github.com/bojand/ghz/cmd/ghz',
    variable: 'HOLDFAST_GHZ',
    about: 'once per machine, about a minute',
  },
  'holdfast-bench-driver': {
    name: 'holdfast-bench-driver',
    module: 'bench-driver',
    command: '.',
    variable: 'HOLDFAST_BENCH_DRIVER',
    about: 'once per change of it, less than a minute',
  },
  h2spec: {
    name: 'h2spec',
    module: 'grpc',
    command: 'github.com/summerwind/h2spec/cmd/h2spec',
    variable: 'HOLDFAST_H2SPEC',
    about: 'once per machine, about a minute',
  },
}

/**
 * Finds a program on PATH, then in the cache; otherwise builds it.
 * @param {string} name one of TOOLS
 * @returns {Promise<string>} its absolute path
 * @throws {SetupError} when it can be neither found nor built
 */
export async function ensureTool(name) {
  const tool = TOOLS[name]
  if (!tool) throw new SetupError(`there is no tool named ${name}; there are ${Object.keys(TOOLS).join(', ')}`)
  const onPath = await findOnPath(name)
  if (onPath) {
    say(`${name}: ${onPath} (found on PATH)`)
    return onPath
  }
  const cached = await cachedPathOf(tool)
  if (await isAllowed(cached, constants.X_OK)) {
    say(`${name}: ${cached} (built before)`)
    return cached
  }
  return build(tool, name.startsWith('temporal-s') ? SERVER_ALTERNATIVES : TOOL_ALTERNATIVES)
}

/**
 * Obtains a command's programs one by one, so that later builds reuse what earlier ones compiled.
 * @param {string[]} names
 * @returns {Promise<Record<string, string>>} environment variables that tell the command where they are
 */
export async function ensureTools(names) {
  /** @type {Record<string, string>} */
  const variables = {}
  for (const name of names) variables[TOOLS[name].variable] = await ensureTool(name)
  return variables
}

/** @param {string} name @returns {Promise<string | undefined>} */
async function findOnPath(name) {
  for (const dir of (process.env['PATH'] ?? '').split(delimiter).filter(Boolean)) {
    const path = join(dir, name)
    if (await isAllowed(path, constants.X_OK)) return path
  }
  return undefined
}
