// The programs that npm does not carry: where each is looked for, and which one is used.

import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { build, cachedPathOf, exists } from './go.mjs';
import { SetupError, say } from './report.mjs';

const SERVER_ALTERNATIVES =
  'Any one of these will do:\n' +
  '  - install Go (https://go.dev/dl) and run the same command again: the server is then built once;\n' +
  '  - set TEMPORAL_ADDRESS to a Temporal server of your own, such as 127.0.0.1:7233\n' +
  '    (`temporal server start-dev` of the Temporal CLI is enough to look around);\n' +
  '  - put `temporal-server` and `temporal-sql-tool` on PATH.';
const TOOL_ALTERNATIVES = 'Install Go (https://go.dev/dl), or put the program itself on PATH.';

/** @type {Record<string, import('./go.mjs').GoTool & { variable: string }>} */
export const TOOLS = Object.fromEntries(
  [
    ['temporal-server', 'temporal', 'go.temporal.io/server/cmd/server', 'HOLDFAST_TEMPORAL_SERVER', 'once per machine, about 5 minutes on two cores'],
    ['temporal-sql-tool', 'temporal', 'go.temporal.io/server/cmd/tools/sql', 'HOLDFAST_TEMPORAL_SQL_TOOL', 'once per machine, under a minute after the server'],
    ['temporal-ui-server', 'temporal', 'github.com/temporalio/ui-server/v2/cmd/server', 'HOLDFAST_TEMPORAL_UI', 'once per machine, about a minute'],
    ['temporal', 'temporal', 'github.com/temporalio/cli/cmd/temporal', 'HOLDFAST_TEMPORAL_CLI', 'once per machine, about two minutes'],
    ['grpcurl', 'grpc', 'github.com/fullstorydev/grpcurl/cmd/grpcurl', 'HOLDFAST_GRPCURL', 'once per machine, about a minute'],
    ['ghz', 'grpc', 'github.com/bojand/ghz/cmd/ghz', 'HOLDFAST_GHZ', 'once per machine, about a minute'],
    ['h2spec', 'grpc', 'github.com/summerwind/h2spec/cmd/h2spec', 'HOLDFAST_H2SPEC', 'once per machine, a few seconds'],
  ].map(([name, module, command, variable, about]) => [name, { name, module, command, variable, about }]),
);

/**
 * Finds a program on PATH, then in the cache, and builds it where it is in neither.
 * @param {string} name one of TOOLS
 * @returns {Promise<string>} its absolute path
 * @throws {SetupError} when it can be neither found nor built
 */
export async function ensureTool(name) {
  const tool = TOOLS[name];
  if (!tool) throw new SetupError(`there is no tool named ${name}; there are ${Object.keys(TOOLS).join(', ')}`);
  const onPath = await findOnPath(name);
  if (onPath) {
    say(`${name}: ${onPath} (found on PATH)`);
    return onPath;
  }
  const cached = await cachedPathOf(tool);
  if (await exists(cached)) {
    say(`${name}: ${cached} (built before)`);
    return cached;
  }
  return build(tool, name.startsWith('temporal-s') ? SERVER_ALTERNATIVES : TOOL_ALTERNATIVES);
}

/**
 * Obtains what a command needs, one by one: later builds use what earlier ones compiled.
 * @param {string[]} names
 * @returns {Promise<Record<string, string>>} environment variables that tell the command where they are
 */
export async function ensureTools(names) {
  /** @type {Record<string, string>} */
  const variables = {};
  for (const name of names) variables[TOOLS[name].variable] = await ensureTool(name);
  return variables;
}

/** @param {string} name @returns {Promise<string | undefined>} */
async function findOnPath(name) {
  const suffix = process.platform === 'win32' ? '.exe' : '';
  for (const dir of (process.env['PATH'] ?? '').split(delimiter).filter(Boolean)) {
    const path = join(dir, `${name}${suffix}`);
    if (await access(path, constants.X_OK).then(() => true, () => false)) return path;
  }
  return undefined;
}
