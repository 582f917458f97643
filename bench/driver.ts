// Runs a load driver and reads counters around its measured window. Every driver speaks the same protocol: a
// configuration line on stdin; `begin`, `end` and `done` events on stdout.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { costPerOrder, foreignShare, readCounters } from './counters.ts'
import type { Measurement } from './benchmark.ts'
import type { BenchServers } from './servers.ts'
import { percentile } from './statistics.ts'

export type Drive = {
  servers: BenchServers
  command: string
  args: readonly string[]
  config: Readonly<Record<string, unknown>> & { measureMs: number }
  /** The driver process's name in the costs. */
  name: string
  /** Other processes of the system. */
  pids?: Readonly<Record<string, number>>
  /** The application's database. */
  database?: string
  /** History size of one order's workflow, by order id. */
  historyOf: (orderId: string) => Promise<{ events: number; bytes: number }>
}

type Done = {
  event: 'done'
  orderIds: string[]
  latencyMs: Record<string, number[]>
  errors: number
  messages: string[]
}
type Event = { event: 'begin' } | { event: 'end' } | Done

/** Order histories are alike: a few of them are enough. */
const HISTORIES = 20

export async function drive(options: Drive): Promise<Measurement> {
  const { servers, command, args, config } = options
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const pids = { ...options.pids, [options.name]: child.pid ?? 0 }
  const read = () => readCounters(servers, pids, options.database)
  // The driver ends when its stdin closes, so at the latest with this process.
  child.stdin.write(`${JSON.stringify(config)}\n`)
  let before: Awaited<ReturnType<typeof read>> | undefined
  let after: Awaited<ReturnType<typeof read>> | undefined
  let done: Done | undefined
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line) as Event
    if (event.event === 'begin') before = await read()
    if (event.event === 'end') after = await read()
    if (event.event === 'done') done = event
  }
  await exited
  if (before === undefined || after === undefined || done === undefined)
    throw new Error(`${options.name} ended before its window did`)

  const orders = done.orderIds.length
  const histories = await Promise.all(done.orderIds.slice(0, HISTORIES).map(options.historyOf))
  const median = (values: readonly number[]): number => percentile(values, 0.5)
  return {
    figures: {
      'orders/s': orders / (config.measureMs / 1_000),
      ...latencies(done.latencyMs),
      'history events': median(histories.map(({ events }) => events)),
      'history bytes': median(histories.map(({ bytes }) => bytes)),
      ...costPerOrder(before, after, orders),
      'foreign CPU share': foreignShare(before, after),
    },
    errors: done.errors,
    messages: done.messages,
  }
}

const latencies = (byPhase: Readonly<Record<string, number[]>>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(byPhase).flatMap(([phase, values]) => [
      [`${phase} ms, p50`, percentile(values, 0.5)],
      [`${phase} ms, p99`, percentile(values, 0.99)],
    ]),
  )
