// Runs our commands as an operator does: in another process, with its output and exit code.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { join } from 'node:path'
import { compileCache } from './bundle.ts'
import { findTool } from './servers.ts'
import { ROOT } from './source.ts'

export type Ended = { code: number | null; stdout: string; stderr: string }
export type Command = { child: ChildProcess; ended: Promise<Ended> }

/** @param args a file of src/main and its arguments */
export function runMain([file = '', ...args]: readonly string[], env: NodeJS.ProcessEnv = {}): Command {
  const child = spawn(process.execPath, [join(ROOT, 'src/main', file), ...args], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...compileCache(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exit = once(child, 'exit') as Promise<[number | null]>
  const ended = Promise.all([exit, text(child.stdout), text(child.stderr)]).then(([[code], stdout, stderr]) => ({
    ...{ code, stdout, stderr },
  }))
  return { child, ended }
}

/** The variables that tools/setup.mjs sets for commands that start servers. */
export const serverVariables = async (): Promise<Record<string, string>> => ({
  HOLDFAST_TEMPORAL_SERVER: process.env['HOLDFAST_TEMPORAL_SERVER'] ?? (await findTool('temporal-server')),
  HOLDFAST_TEMPORAL_SQL_TOOL: process.env['HOLDFAST_TEMPORAL_SQL_TOOL'] ?? (await findTool('temporal-sql-tool')),
})
