// A closed-loop load driver inside the worker process of a system without a front. It speaks the same protocol on stdin
// and stdout as tools/bench-driver, which drives ours.

import { randomUUID } from 'node:crypto'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const MAX_MESSAGES = 5
const PAUSE_AFTER_ERROR_MS = 100

export type LoopConfig = {
  /** Orders in flight at any time. */
  inFlight: number
  warmUpMs: number
  measureMs: number
  /** Think time before each step of an order but its first: steps come from people who saw the step before. */
  thinkMs: number
}

/** Runs one step of an order and records its duration under its name. */
export type Phase = (name: string, act: () => Promise<unknown>) => Promise<void>

/** The configuration, from the first line of stdin. Ends this process when stdin closes: its parent has ended. */
export async function readConfig<Config>(): Promise<Config> {
  const lines = createInterface({ input: process.stdin })
  const first = await new Promise<string>((resolve) => lines.once('line', resolve))
  lines.once('close', () => process.exit(1))
  return JSON.parse(first) as Config
}

/**
 * Keeps orders in flight, and reports the begin and end of the window and its results.
 * @param act takes one order of the given id from its start to its delivery
 */
export async function runLoop(
  config: LoopConfig,
  act: (orderId: string, phase: Phase) => Promise<void>,
): Promise<void> {
  const done = {
    event: 'done',
    orderIds: [] as string[],
    latencyMs: {} as Record<string, number[]>,
    errors: 0,
    messages: [] as string[],
  }
  const loop: { stage: 'warming up' | 'measuring' | 'over' } = { stage: 'warming up' }

  async function takeOne(): Promise<void> {
    const orderId = randomUUID()
    const took: Record<string, number> = {}
    await act(orderId, async (name, step) => {
      if (Object.keys(took).length > 0) await sleep(config.thinkMs)
      const start = performance.now()
      await step()
      took[name] = performance.now() - start
    })
    if (loop.stage !== 'measuring') return
    done.orderIds.push(orderId)
    for (const [name, ms] of Object.entries(took)) (done.latencyMs[name] ??= []).push(ms)
  }

  async function buy(): Promise<void> {
    while (loop.stage !== 'over') {
      try {
        await takeOne()
      } catch (error) {
        done.errors += 1
        if (done.messages.length < MAX_MESSAGES) done.messages.push(String(error))
        await sleep(PAUSE_AFTER_ERROR_MS)
      }
    }
  }

  const buyers = Array.from({ length: config.inFlight }, buy)
  await sleep(config.warmUpMs)
  loop.stage = 'measuring'
  say({ event: 'begin' })
  await sleep(config.measureMs)
  loop.stage = 'over'
  say({ event: 'end' })
  await Promise.all(buyers)
  say(done)
}

const say = (event: object): void => void process.stdout.write(`${JSON.stringify(event)}\n`)

/** In-process notification, at no cost: an activity reports that an order has reached a point. */
export function createMilestones() {
  const waiting = new Map<string, () => void>()
  const keyOf = (orderId: string, milestone: string): string => `${milestone} ${orderId}`
  return {
    reached: (orderId: string, milestone: string): void => waiting.get(keyOf(orderId, milestone))?.(),
    /** Call it before the step that leads there. */
    reach: (orderId: string, milestone: string): Promise<void> =>
      new Promise((resolve) =>
        waiting.set(keyOf(orderId, milestone), () => {
          waiting.delete(keyOf(orderId, milestone))
          resolve()
        }),
      ),
  }
}
