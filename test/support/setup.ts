// Jest's globalSetup of the projects that need servers.

import { areServersRunning, startTestServers } from './servers.ts'

declare global {
  /** Only set where this jest run started the servers itself. */
  var stopTestServers: (() => Promise<void>) | undefined
}

export default async function setup(): Promise<void> {
  if (!areServersRunning()) globalThis.stopTestServers = await startTestServers()
}
