// Jest's globalSetup of the projects that need servers: starts them unless test/run.ts has.
// Plain JavaScript: jest would translate a .ts file here in a way that does not support top-level await.

import { areServersRunning, startTestServers } from './servers.ts'

export default async function setup() {
  if (!areServersRunning()) globalThis.stopTestServers = await startTestServers()
}
