// A helper process that ends our children when this process dies without stopping them (kill -9, a crash). It reads
// their process ids from a pipe, which the kernel closes with this process.
// The file is both sides: imported it is the writer, run by Node it is the guardian.

import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** Long enough for Postgres to end its sessions and write a checkpoint. */
const GRACE_MS = 10_000
const PROBE_INTERVAL_MS = 100

let guardian: Writable | undefined

/** Makes the guardian end this process group if this process dies. */
export function guard(pid: number): void {
  send(`+${pid}`)
}

/** The group has ended; its id may be reused soon. */
export function unguard(pid: number): void {
  send(`-${pid}`)
}

function send(line: string): void {
  guardian ??= startGuardian()
  guardian.write(`${line}\n`)
}

function startGuardian(): Writable {
  // In its own process group, so that a signal to ours does not end it too.
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    env: {},
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.unref()
  child.stdin.on('error', () => undefined) // the guardian was killed: only its protection is lost
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
  // Newest first: clients of a server are signalled before the server.
  const left = [...groups].toReversed()
  const deadline = performance.now() + GRACE_MS
  // SIGINT, because Postgres would wait for its clients after SIGTERM.
  let alive = left.filter((pid) => signal(pid, 'SIGINT'))
  while (alive.length > 0 && performance.now() < deadline) {
    await sleep(PROBE_INTERVAL_MS)
    alive = alive.filter((pid) => signal(pid, 0))
  }
  for (const pid of alive) signal(pid, 'SIGKILL')
}

/** @returns false when the group no longer exists */
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
