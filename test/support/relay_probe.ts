// A probe for relays under test: a logger and metrics to pass in, with what the relay logged and counted.

import { Writable } from 'node:stream'
import type { RelayMetrics } from '../../src/relay/loop.ts'
import { Counter, createLogger, Gauge, Registry, type Logger } from '../../src/telemetry.ts'

export type RelayProbe = {
  logger: Logger
  metrics: RelayMetrics
  /** All log lines so far. */
  lines: () => readonly Record<string, unknown>[]
  /** How many items this relay delivered, and how many failed. */
  counts: (relay: string) => Promise<{ passed: number; failed: number }>
}

export function createRelayProbe(): RelayProbe {
  const lines: Record<string, unknown>[] = []
  const destination = new Writable({
    write: (chunk: Buffer, _encoding, done) => (lines.push(JSON.parse(chunk.toString()) as never), done()),
  })
  const registers = [new Registry()]
  const metrics: RelayMetrics = {
    passed: new Counter({ name: 'passed', help: 'passed', labelNames: ['relay'], registers }),
    failed: new Counter({ name: 'failed', help: 'failed', labelNames: ['relay'], registers }),
    lastSuccess: new Gauge({ name: 'last_success', help: 'last success', labelNames: ['relay'], registers }),
  }
  const read = async (counter: Counter<'relay'>, relay: string): Promise<number> =>
    (await counter.get()).values.find(({ labels }) => labels.relay === relay)?.value ?? 0
  return {
    logger: createLogger({ process: 'test', level: 'debug', destination }),
    metrics,
    lines: () => lines,
    counts: async (relay) => ({ passed: await read(metrics.passed, relay), failed: await read(metrics.failed, relay) }),
  }
}
