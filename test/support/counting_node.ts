// An HTTP proxy in front of an Ethereum node: counts the messages by method, is as far away as a test wants, and may
// answer some calls itself.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'

const CALL = z.object({ id: z.unknown(), method: z.string(), params: z.array(z.unknown()) })
const MESSAGE = z.union([CALL, z.array(CALL).min(1)])

type Call = z.output<typeof CALL>
/** An answer of the proxy's own; undefined: the node is asked. */
export type Intercept = (call: Call) => { result: unknown } | { error: { code: number; message: string } } | undefined

export type CountingNode = {
  url: string
  /** Messages by method since the last call; a batch is one message. */
  count: () => Record<string, number>
  intercept: (by: Intercept | undefined) => void
  /** Answers so much later from now on. */
  slowDown: (ms: number) => void
  /** The most messages that were unanswered at one time, since the last call. */
  peak: () => number
  close: () => void
}

export async function startCountingNode(nodeUrl: string): Promise<CountingNode> {
  let counts: Record<string, number> = {}
  let intercept: Intercept | undefined
  let latencyMs = 0
  let [open, peak] = [0, 0]
  async function answer(body: string): Promise<string> {
    const message = MESSAGE.parse(JSON.parse(body))
    const [first] = Array.isArray(message) ? message : [message]
    if (first === undefined) throw new Error('an empty batch')
    counts[first.method] = (counts[first.method] ?? 0) + 1
    if (latencyMs > 0) await delay(latencyMs)
    const own = intercept?.(first)
    if (own !== undefined) return JSON.stringify({ jsonrpc: '2.0', id: first.id, ...own })
    const response = await fetch(nodeUrl, { method: 'POST', body, headers: { 'content-type': 'application/json' } })
    return response.text()
  }
  const server = createServer((request, response) => {
    open += 1
    peak = Math.max(peak, open)
    void text(request)
      .then(answer)
      .then((body) => response.end(body))
      .catch(() => response.destroy())
      .finally(() => (open -= 1))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    count: () => {
      const count = counts
      counts = {}
      return count
    },
    intercept: (by) => {
      intercept = by
    },
    slowDown: (ms) => {
      latencyMs = ms
    },
    peak: () => {
      const most = peak
      peak = 0
      return most
    },
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
