// JSON-RPC 2.0 client over HTTP, as Ethereum nodes speak it. Each answer is checked by the schema of its call. Errors name
// the method and the fault, but not the node's URL, which often contains a key.

import { z } from 'zod'
import { ChainError } from './client.ts'
import { postJson } from './transport.ts'

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
  override readonly name: string = 'RpcError'
}

/** The node asks to wait: too many calls, or an overload. */
export class RpcBusyError extends RpcError {
  override readonly name = 'RpcBusyError'
  /** As its Retry-After says, cut to a bound. Undefined: it does not say how long. */
  readonly retryAfterMs: number | undefined

  constructor(method: string, retryAfterMs: number | undefined) {
    super(`${method}: the node asks to wait`)
    this.retryAfterMs = retryAfterMs
  }
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

export const RPC_OUTCOMES = ['ok', 'refused', 'busy', 'failed'] as const
/** One message to a node, with one call or several of one method. */
export type RpcMessage = {
  method: string
  calls: number
  /** Of the answer. */
  bytes: number
  outcome: (typeof RPC_OUTCOMES)[number]
}

/** Called with each message once it is over. */
export type OnMessage = (message: RpcMessage) => void
type Target = { url: string; timeoutMs: number; onMessage: OnMessage | undefined }

/** Calls reject with RpcError after `timeoutMs`, and on an answer without a result of the expected shape. */
export function createRpc(url: string, timeoutMs: number, onMessage?: OnMessage): Rpc {
  const target = { url, timeoutMs, onMessage }
  let lastId = 0
  return (method, params, result) => {
    lastId += 1
    const call = { jsonrpc: '2.0', id: lastId, method, params }
    return send(target, { method, calls: 1 }, call, (answer) => read(method, ANSWER.safeParse(answer).data, result))
  }
}

/** As createRpc, with up to a hundred calls in one message. */
export function createBatchRpc(url: string, timeoutMs: number, onMessage?: OnMessage): BatchRpc {
  const target = { url, timeoutMs, onMessage }
  return async (method, params, result) => {
    const results = []
    for (let from = 0; from < params.length; from += BATCH_SIZE) {
      const part = params.slice(from, from + BATCH_SIZE)
      const calls = part.map((each, id) => ({ jsonrpc: '2.0', id, method, params: each }))
      results.push(
        ...(await send(target, { method, calls: calls.length }, calls, (answers) => {
          const parsed = z.array(ANSWER).safeParse(answers)
          // A node without batches answers once, usually with its reason.
          if (!parsed.success) return [read(method, ANSWER.safeParse(answers).data, z.never())]
          const byId = new Map(parsed.data.map((answer) => [answer.id, answer]))
          return part.map((_, id) => read(method, byId.get(id), result))
        })),
      )
    }
    return results
  }
}

async function send<T>(
  { url, timeoutMs, onMessage }: Target,
  message: Pick<RpcMessage, 'method' | 'calls'>,
  body: unknown,
  readAnswer: (answer: unknown) => T,
): Promise<T> {
  let bytes = 0
  let outcome: RpcMessage['outcome'] = 'failed'
  const { method } = message
  try {
    const answer = await postJson(url, body, timeoutMs).catch((cause: unknown) => {
      throw new RpcError(`${method}: the node did not answer`, { cause })
    })
    bytes = answer.bytes
    if (answer.isBusy) throw new RpcBusyError(method, answer.retryAfterMs)
    const result = readAnswer(answer.body)
    outcome = 'ok'
    return result
  } catch (error) {
    if (error instanceof RpcBusyError) outcome = 'busy'
    if (error instanceof RpcRefusal) outcome = 'refused'
    throw error
  } finally {
    onMessage?.({ ...message, bytes, outcome })
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
