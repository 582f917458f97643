// gRPC load by ghz, in a separate process, so that its CPU does not count as the server's.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { LOAD_CORE, pinned } from './pin.ts'
import { programAt } from './program.ts'
import { percentile } from './statistics.ts'

const run = promisify(execFile)

const PROTOSET = fileURLToPath(new URL('../proto/holdfast.binpb', import.meta.url))
const MAX_CONNECTIONS = 4
const MAX_OUTPUT_BYTES = 512 * 1024 * 1024

export type Calls = {
  address: string
  token: string
  /** `package.Service.Method` */
  method: string
  /** The request as JSON; ghz evaluates its templates again for each call. */
  data: string
  inFlight: number
  seconds: number
  /** Keeps ghz on a core of its own: the server has another. */
  isApart?: boolean
}
export type Called = {
  calls: number
  rate: number
  latencyMs: (share: number) => number
  errors: number
  messages: string[]
}

/** The part of ghz's report that is read here. Latencies are in nanoseconds. */
type Report = {
  count: number
  rps: number
  statusCodeDistribution: Record<string, number>
  errorDistribution: Record<string, number> | null
  details: { latency: number }[]
}

export async function callFor({
  address,
  token,
  method,
  data,
  inFlight,
  seconds,
  isApart = false,
}: Calls): Promise<Called> {
  const args = [
    ...['--insecure', '--protoset', PROTOSET, '--call', method],
    ...['--metadata', JSON.stringify({ authorization: `Bearer ${token}` }), '--data', data],
    ...['--concurrency', String(inFlight), '--connections', String(Math.min(inFlight, MAX_CONNECTIONS))],
    // Waits for calls in flight at the end: when cut off, they would count as errors.
    ...['--duration', `${seconds}s`, '--duration-stop', 'wait', '--format', 'json'],
    address,
  ]
  const [command, words] = isApart
    ? pinned(LOAD_CORE, programAt('HOLDFAST_GHZ'), args)
    : [programAt('HOLDFAST_GHZ'), args]
  const { stdout } = await run(command, words, { maxBuffer: MAX_OUTPUT_BYTES })
  const report = JSON.parse(stdout) as Report
  const latencies = report.details.map(({ latency }) => latency / 1e6)
  return {
    calls: report.count,
    rate: report.rps,
    latencyMs: (share) => percentile(latencies, share),
    errors: report.count - (report.statusCodeDistribution['OK'] ?? 0),
    messages: Object.keys(report.errorDistribution ?? {}),
  }
}
