// Starts a server of the front benchmarks on a core of its own, and asks for what it uses.

import { startAsked } from '../child.ts'
import { SERVER_CORE } from '../pin.ts'
import type { ServerConfig, ServerReady, ServerUsage } from './process.ts'

export type BenchServer = ServerReady & {
  /** The CPU time that it has used so far, and its memory now. */
  usage: () => Promise<ServerUsage>
  stop: () => Promise<void>
}

export async function startServer(config: ServerConfig): Promise<BenchServer> {
  const { ask, stop } = startAsked('front/process.ts', SERVER_CORE)
  return { ...(await ask<ServerReady>(config)), usage: () => ask<ServerUsage>({}), stop }
}
