// What the development commands share: starting a stack, stopping it on a signal, progress lines.

import type { Config } from '../../config.ts'
import { addressOf } from '../../servers/wiring.ts'
import { startStack, type Stack, type StackOptions } from '../../servers/stack.ts'

const MS_PER_S = 1_000

export type Launch = Omit<StackOptions, 'temporal' | 'log'> & {
  /** For orders' workflows, on a Temporal server that the environment names. */
  readonly namespace?: string
}

/** Progress lines with the seconds since the command began, on stderr: stdout is for the command's result. */
export function createProgress(): (line: string) => void {
  const startedAt = performance.now()
  return (line) => {
    const elapsed = ((performance.now() - startedAt) / MS_PER_S).toFixed(1)
    process.stderr.write(`${elapsed.padStart(7)} s  ${line}\n`)
  }
}

/** Starts a stack with the programs and servers that the environment names. @throws as startStack does */
export function launchStack(
  config: Config<'stack'>,
  { namespace, ...launch }: Launch,
  log: (line: string) => void,
): Promise<Stack> {
  return startStack({ ...launch, temporal: temporalOf(config, namespace), log })
}

function temporalOf(config: Config<'stack'>, namespace: string | undefined): StackOptions['temporal'] {
  const { TEMPORAL_ADDRESS: address } = config
  if (address !== undefined) return namespace === undefined ? { address } : { address, namespace }
  const { HOLDFAST_TEMPORAL_SERVER: serverBinary, HOLDFAST_TEMPORAL_SQL_TOOL: sqlToolBinary } = config
  if (serverBinary === undefined || sqlToolBinary === undefined)
    throw new Error(
      'no Temporal server is named: run this through npm (npm start, npm run demo), or set TEMPORAL_ADDRESS',
    )
  return { serverBinary, sqlToolBinary }
}

/** Aborted by the first Ctrl-C or SIGTERM. Later ones change nothing: the stop in order goes on. */
export function stopSignal(log: (line: string) => void): AbortSignal {
  const stopping = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (!stopping.signal.aborted) log(`${signal}: stopping everything in order`)
      stopping.abort()
    })
  }
  return stopping.signal
}

export const metricsUrlOf = (port: number): string => `http://${addressOf(port)}/metrics`
