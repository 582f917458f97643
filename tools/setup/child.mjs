// Child processes of set-up, one at a time. A signal to set-up is forwarded to the running child, so that the child's
// end decides what happens next and nothing is left running.

import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { createInterface } from 'node:readline'

const FORWARDED = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])
const TAIL_LINES = 25

const NOT_FOUND = 127

/** @type {NodeJS.Signals | undefined} */
let stoppedBy

/** Set-up was signalled to stop; its child has ended. */
export class Interrupted extends Error {
  /** @param {NodeJS.Signals} signal */
  constructor(signal) {
    super(`stopped by ${signal}`)
    this.exitCode = exitCodeOf(null, signal)
  }
}

/** @param {number | null} code @param {NodeJS.Signals | null} signal @returns {number} as a shell reports it */
export function exitCodeOf(code, signal) {
  return code ?? 128 + (signal ? constants.signals[signal] : 0)
}

/**
 * Runs a command to its end and collects what it prints.
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd: string, onStart?: (pid: number) => Promise<void>, onLine?: (line: string) => void }} options
 * `onLine` sees stderr as it comes
 * @returns {Promise<{ code: number, stdout: string, tail: string }>} `tail`: the last lines of stderr; the code is
 * 127 where there is no such command
 * @throws {Interrupted} when set-up was signalled while it ran
 */
export async function collect(command, args, { cwd, onStart, onLine }) {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  /** @type {string[]} */
  const tail = []
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text))
  createInterface({ input: child.stderr }).on('line', (line) => {
    tail.push(line)
    if (tail.length > TAIL_LINES) tail.shift()
    onLine?.(line)
  })
  const [code] = await Promise.all([ended(child), child.pid && onStart?.(child.pid)]).catch((error) => {
    if (error.code !== 'ENOENT') throw error
    tail.push(`there is no \`${command}\` on PATH`)
    return [NOT_FOUND]
  })
  if (stoppedBy) throw new Interrupted(stoppedBy)
  return { code, stdout, tail: tail.join('\n') }
}

/**
 * Hands the terminal to a command and waits for its end.
 * @param {string} command
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<number>} its exit code, 128 + n after signal n
 */
export async function handOver(command, args, env) {
  return ended(spawn(command, args, { env, stdio: 'inherit' }))
}

/** @param {import('node:child_process').ChildProcess} child @returns {Promise<number>} */
async function ended(child) {
  const forward = (/** @type {NodeJS.Signals} */ signal) => {
    stoppedBy = signal
    child.kill(signal)
  }
  for (const signal of FORWARDED) process.on(signal, forward)
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => resolve(exitCodeOf(code, signal)))
    })
  } finally {
    for (const signal of FORWARDED) process.off(signal, forward)
  }
}
