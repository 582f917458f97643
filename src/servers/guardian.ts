// A process beside this one that ends our children when we die without stopping them (kill -9, a
// crash): it reads their process ids from a pipe that the kernel closes with us.
// The same file is both sides: imported it is our end, run by Node it is the guardian.

import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** Long enough for Postgres to end its sessions and write a checkpoint. */
const PATIENCE_MS = 10_000
const PROBE_INTERVAL_MS = 100

let guardian: Writable | undefined

/** Has the guardian end this process group should we die. */
export function guard(pid: number): void {
  tell(`+${pid}`)
}

/** The group has ended; its id may soon be another's. */
export function unguard(pid: number): void {
  tell(`-${pid}`)
}

function tell(line: string): void {
  guardian ??= startGuardian()
  guardian.write(`${line}\n`)
}

function startGuardian(): Writable {
  // A group of its own: a signal meant for us must not take it along.
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    env: {},
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.unref()
  child.stdin.on('error', () => undefined) // it was killed: its help is lost, nothing else
  ;(child.stdin as Socket).unref()
  return child.stdin
}

async function keepGuard(): Promise<void> {
  const groups = new Set<number>()
  for await (const line of createInterface({ input: process.stdin })) {
    const pid = Number(line.slice(1))
    if (line.startsWith('+')) groups.add(pid)
    else groups.delete(pid)
  }
  // Newest first: what uses a server hears of it before the server does.
  const left = [...groups].toReversed()
  const deadline = performance.now() + PATIENCE_MS
  // SIGINT: to Postgres, SIGTERM would mean waiting for its clients.
  let alive = left.filter((pid) => signal(pid, 'SIGINT'))
  while (alive.length > 0 && performance.now() < deadline) {
    await sleep(PROBE_INTERVAL_MS)
    alive = alive.filter((pid) => signal(pid, 0))
  }
  for (const pid of alive) signal(pid, 'SIGKILL')
}

/** False when there is no such group any more. */
function signal(pid: number, what: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, what)
    return true
  } catch {
    return false
  }
}

if (import.meta.main) {
  for (const ignored of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(ignored, () => undefined)
  await keepGuard()
}
