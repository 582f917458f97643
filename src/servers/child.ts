// A server or a process of Holdfast as a child process: output to a file, a bound on every wait, and its whole process
// group ended with it. If this process dies, the guardian ends the children.

import { spawn } from 'node:child_process'
import { mkdir, open, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { guard, unguard } from './guardian.ts'

const PROBE_INTERVAL_MS = 50
const LOG_TAIL_LINES = 20

export type ChildOptions = {
  /** Its name in messages, such as `temporal`. */
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** Its whole environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>
  /** Its output is appended here. */
  readonly logFile: string
  /** Polled until it resolves to true. An error counts as false. */
  readonly isReady: (pid: number) => Promise<boolean>
  readonly readyWithinMs: number
  /** From `stopSignal` to SIGKILL. */
  readonly stopWithinMs: number
  readonly stopSignal?: NodeJS.Signals
  readonly cwd?: string
  /** The account it runs under, if not this process's. */
  readonly account?: Account | undefined
}

export type Account = { readonly uid: number; readonly gid: number }

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

export type Child = {
  readonly name: string
  readonly pid: number
  readonly logFile: string
  /** Resolves when it has ended, for any reason; never rejects. */
  readonly exited: Promise<Exit>
  /** Signals it to end, kills it after its bound, and resolves once its process group has ended. */
  readonly stop: () => Promise<void>
  /** Sends SIGKILL to the whole group, like a crash. */
  readonly kill9: () => Promise<void>
}

/** The child ended before it was ready, or was not ready in time; the message ends with its log. */
export class StartError extends Error {}

/**
 * Starts a child and resolves once it is ready.
 * @throws {StartError} with the end of its log, after the child has ended
 */
export async function spawnChild(options: ChildOptions): Promise<Child> {
  await mkdir(dirname(options.logFile), { recursive: true })
  const log = await open(options.logFile, 'a', 0o600)
  const logStart = (await log.stat()).size
  const started = spawn(options.command, options.args, {
    env: options.env,
    cwd: options.cwd,
    // In its own group: a terminal's Ctrl-C reaches only this process, which stops its children in order.
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    ...options.account,
  })
  const exited = new Promise<Exit>((resolve) => {
    started.once('exit', (code, signal) => resolve({ code, signal }))
  })
  const unstartable = new Promise<Error>((resolve) => started.once('error', resolve))
  await log.close()
  const { pid } = started
  if (pid === undefined) throw new StartError(`${options.name} could not be started: ${(await unstartable).message}`)
  guard(pid)
  void exited.then(() => unguard(pid))
  const child: Child = {
    name: options.name,
    pid,
    logFile: options.logFile,
    exited,
    stop: () => end(pid, exited, options.stopSignal ?? 'SIGTERM', options.stopWithinMs),
    kill9: () => end(pid, exited, 'SIGKILL', options.stopWithinMs),
  }
  const failure = await waitUntilReady(child, options)
  if (failure === undefined) return child
  await child.kill9()
  throw new StartError(
    `${options.name} ${failure}. ${options.logFile} ends:\n${await tailOf(options.logFile, logStart)}`,
  )
}

/** Resolves to the failure, or to undefined once the child is ready. */
async function waitUntilReady(child: Child, options: ChildOptions): Promise<string | undefined> {
  let exit: Exit | undefined
  void child.exited.then((result) => (exit = result))
  const deadline = performance.now() + options.readyWithinMs
  while (performance.now() < deadline) {
    if (exit !== undefined) return `ended before it was ready (${exit.signal ?? `exit ${exit.code}`})`
    if (await options.isReady(child.pid).catch(() => false)) return undefined
    await sleep(PROBE_INTERVAL_MS)
  }
  return `was not ready within ${options.readyWithinMs} ms`
}

async function end(pid: number, exited: Promise<Exit>, signal: NodeJS.Signals, withinMs: number): Promise<void> {
  signalGroup(pid, signal)
  const grace = new AbortController()
  const force = sleep(withinMs, undefined, { signal: grace.signal }).then(
    () => signalGroup(pid, 'SIGKILL'),
    () => undefined,
  )
  await exited
  grace.abort()
  await force
  // Otherwise processes that the leader left in its group would outlive it.
  signalGroup(pid, 'SIGKILL')
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function tailOf(logFile: string, start: number): Promise<string> {
  const text = (await readFile(logFile)).subarray(start).toString('utf8')
  return text.trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n')
}
