// A process of Holdfast as a child of a development stack or a benchmark.

import { spawnChild, type Child } from './child.ts'
import { addressOf, type ProcessSpec } from './wiring.ts'

/** The worker bundles its workflows before it is ready: seconds on an idle machine. */
const PROCESS_READY_WITHIN_MS = 120_000
/** Above a worker's own grace for the activities it runs. */
const PROCESS_STOP_WITHIN_MS = 20_000
const PROBE_WITHIN_MS = 2_000

/**
 * Node's switches of every process, the same as in the Dockerfile: SIGUSR1 opens no debugger, and code that reaches for
 * `__proto__`, as prototype pollution does, throws.
 */
export const NODE_SWITCHES = ['--disable-sigusr1', '--disable-proto=throw'] as const

export type StartProcessOptions = {
  logFile: string
  /** By default, whether /readyz says yes. */
  isReady?: (spec: ProcessSpec) => Promise<boolean>
  /** Node's own switches, such as a profiler's. */
  nodeArgs?: readonly string[]
}

/** Resolves once it is ready. @throws {StartError} with the end of its log */
export const startProcess = (
  spec: ProcessSpec,
  { logFile, isReady = isProcessReady, nodeArgs = [] }: StartProcessOptions,
): Promise<Child> =>
  spawnChild({
    name: spec.name,
    command: process.execPath,
    args: [...NODE_SWITCHES, ...nodeArgs, spec.entry],
    env: spec.env,
    logFile,
    isReady: () => isReady(spec),
    readyWithinMs: PROCESS_READY_WITHIN_MS,
    stopWithinMs: PROCESS_STOP_WITHIN_MS,
  })

export async function isProcessReady({ metricsPort }: ProcessSpec): Promise<boolean> {
  const url = `http://${addressOf(metricsPort)}/readyz`
  return (await fetch(url, { signal: AbortSignal.timeout(PROBE_WITHIN_MS) })).ok
}
