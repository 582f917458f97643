// CreateOrder on one product through gRPC: two identical fronts, each in its own process, with different acceptors.

import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import type { Measurement, System } from '../benchmark.ts'
import { callFor } from '../ghz.ts'
import type { Setup } from '../order_flow/setup.ts'
import { IN_FLIGHT, PLENTY, warmUpOf, type Combining } from './setting.ts'
import { findOversold } from './oversold.ts'

/** More than this machine could use: an order without a free address would be an error. */
const ADDRESSES_PER_S = 3_000
const ADDRESS_BATCH = 1_000
export const BUYER = 1

export type FrontConfig = {
  databaseUrl: string
  combining: Combining
  /** Reads return an empty answer at once: the cost of a call that does no work. */
  isIdle?: boolean
}
export type FrontReady = { address: string; token: string }

export function createFront({ servers, seconds, isSmoke }: Setup, combining: Combining): System {
  const warmUpS = warmUpOf(isSmoke)
  return {
    name: `CreateOrder, ${combining}`,
    about: `CreateOrder through gRPC, ${IN_FLIGHT} in flight on one product, ${combining}.`,
    measure: async () => {
      const database = await servers.createDatabase('bench_front')
      const { productId, unitPrice } = await putProduct(database, { onHand: PLENTY })
      const addresses = (warmUpS + seconds) * ADDRESSES_PER_S
      for (let made = 0; made < addresses; made += ADDRESS_BATCH) await putAddresses(database, ADDRESS_BATCH)
      const data = JSON.stringify({
        idempotencyKey: '{{newUUID}}',
        userId: String(BUYER),
        lines: [{ productId, quantity: 1, expectedUnitPrice: unitPrice }],
        asset: 'ETH',
        shippingAddress: '1 Harbour Street, Sample Town',
      })
      const front = await startFrontProcess({ databaseUrl: database.urlOf('app_api'), combining })
      try {
        const calls = { ...front.ready, method: 'holdfast.v1.OrderService.CreateOrder', data, inFlight: IN_FLIGHT }
        const warm = await callFor({ ...calls, seconds: warmUpS })
        const called = await callFor({ ...calls, seconds })
        const wrong = await findOversold(database)
        return {
          figures: {
            'orders/s': called.rate,
            'create ms, p50': called.latencyMs(0.5),
            'create ms, p99': called.latencyMs(0.99),
          },
          errors: warm.errors + called.errors + wrong.length,
          messages: [...wrong, ...warm.messages, ...called.messages],
        } satisfies Measurement
      } finally {
        await front.stop()
      }
    },
  }
}

export async function startFrontProcess(
  config: FrontConfig,
): Promise<{ ready: FrontReady; stop: () => Promise<void> }> {
  const entry = fileURLToPath(new URL('front_process.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, entry], { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  // The process ends when its stdin closes, so at the latest with this process.
  child.stdin.write(`${JSON.stringify(config)}\n`)
  for await (const line of createInterface({ input: child.stdout })) {
    const stop = async (): Promise<void> => {
      child.stdin.end()
      await exited
    }
    return { ready: JSON.parse(line) as FrontReady, stop }
  }
  throw new Error('the front ended before it was ready')
}
