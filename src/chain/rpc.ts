// JSON-RPC 2.0 client over HTTP, as Ethereum nodes speak it. Each answer is checked by the schema of its call. Errors name
// the method and the fault, but not the node's URL, which often contains a key.

import { z } from 'zod'
import { ChainError } from './client.ts'

/** Nodes and their providers allow at most this many calls in a batch. */
const BATCH_SIZE = 100
/** A node's error text is untrusted: it is cut before it is logged. */
const MAX_REASON_LENGTH = 120

// Some nodes send `"error": null` beside a result.
const ANSWER = z.object({
  id: z.unknown().optional(),
  result: z.unknown().optional(),
  error: z.object({ code: z.number(), message: z.string() }).nullish(),
})
type Answer = z.output<typeof ANSWER>

export type Rpc = <Schema extends z.ZodType>(
  method: string,
  params: readonly unknown[],
  result: Schema,
) => Promise<z.output<Schema>>

/** Calls one method with several lists of parameters. Returns the results in their order. */
export type BatchRpc = <Schema extends z.ZodType>(
  method: string,
  params: readonly (readonly unknown[])[],
  result: Schema,
) => Promise<z.output<Schema>[]>

export class RpcError extends ChainError {
  override readonly name = 'RpcError'
}

/** The node answered with a JSON-RPC error. */
export class RpcRefusal extends ChainError {
  override readonly name = 'RpcRefusal'
  readonly code: number
  /** The node's own text, uncut. */
  readonly reason: string

  constructor(method: string, code: number, message: string) {
    super(`${method}: the node refused (${code} ${message.slice(0, MAX_REASON_LENGTH)})`)
    this.code = code
    this.reason = message
  }
}

/** Calls reject with RpcError after `timeoutMs`, and on an answer without a result of the expected shape. */
export function createRpc(url: string, timeoutMs: number): Rpc {
  let lastId = 0
  return async (method, params, result) => {
    lastId += 1
    const answer = await post(url, method, { jsonrpc: '2.0', id: lastId, method, params }, timeoutMs)
    return read(method, ANSWER.safeParse(answer).data, result)
  }
}

/** As createRpc, with up to a hundred calls in one message. */
export function createBatchRpc(url: string, timeoutMs: number): BatchRpc {
  return async (method, params, result) => {
    const results = []
    for (let from = 0; from < params.length; from += BATCH_SIZE) {
      const part = params.slice(from, from + BATCH_SIZE)
      const calls = part.map((each, id) => ({ jsonrpc: '2.0', id, method, params: each }))
      const answers = await post(url, method, calls, timeoutMs)
      const parsed = z.array(ANSWER).safeParse(answers)
      // A node without batches answers once, usually with its reason.
      if (!parsed.success) return [read(method, ANSWER.safeParse(answers).data, z.never())]
      const byId = new Map(parsed.data.map((answer) => [answer.id, answer]))
      results.push(...part.map((_, id) => read(method, byId.get(id), result)))
    }
    return results
  }
}

function read<Schema extends z.ZodType>(method: string, answer: Answer | undefined, schema: Schema): z.output<Schema> {
  if (answer === undefined) throw new RpcError(`${method}: not an answer of JSON-RPC`)
  if (answer.error) throw new RpcRefusal(method, answer.error.code, answer.error.message)
  const checked = schema.safeParse(answer.result)
  if (checked.success) return checked.data
  const [issue] = checked.error.issues
  const place = issue === undefined || issue.path.length === 0 ? 'its root' : issue.path.join('.')
  throw new RpcError(`${method}: unexpected answer at ${place}: ${issue?.message ?? 'unreadable'}`)
}

async function post(url: string, method: string, body: unknown, timeoutMs: number): Promise<unknown> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    })
    return await response.json()
  } catch (cause) {
    throw new RpcError(`${method}: the node did not answer`, { cause })
  }
}
