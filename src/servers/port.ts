// Free TCP ports for the servers of a stack.

import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/**
 * Below the ephemeral range of outgoing connections (from 32768 on Linux): inside it, a client that keeps calling a
 * stopped server on this machine may be given that server's port.
 */
const FIRST_PORT = 15_000
const LAST_PORT = 32_000

/** Whether nothing listens on the port of the loopback address, and this process may. */
export async function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)))
  })
}

/**
 * Ports that are free now, from a random place on, so that stacks started side by side differ.
 * @returns `count` different ports, ascending except where the range wraps around
 */
export async function freePorts(count: number): Promise<number[]> {
  const start = randomInt(FIRST_PORT, LAST_PORT)
  const size = LAST_PORT - FIRST_PORT
  const found: number[] = []
  for (let step = 0; step < size && found.length < count; step += 1) {
    const port = FIRST_PORT + ((start - FIRST_PORT + step) % size)
    if (await isPortFree(port)) found.push(port)
  }
  if (found.length < count) throw new Error(`only ${found.length} of ${count} ports are free`)
  return found
}

/** @throws {Error} that names the part that needs the port, and what to do */
export async function assertPortFree(port: number, wantedBy: string): Promise<void> {
  if (await isPortFree(port)) return
  throw new Error(
    `port ${port} is in use, and ${wantedBy} needs it: stop what listens there, or choose other ports with --port-base`,
  )
}
