// Keeps a process on one core, where the system has a program for it: the server must not share one with its load.

import { accessSync, constants } from 'node:fs'
import { availableParallelism } from 'node:os'
import { delimiter, join } from 'node:path'

export const SERVER_CORE = 0
export const LOAD_CORE = 1

function isOnPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Whether processes can be kept on cores of their own. */
export const canPin = availableParallelism() > LOAD_CORE && isOnPath('taskset')

/** The command line that runs a program on one core; unchanged where that cannot be. */
export const pinned = (core: number, command: string, args: readonly string[]): [string, string[]] =>
  canPin ? ['taskset', ['--cpu-list', String(core), command, ...args]] : [command, [...args]]
