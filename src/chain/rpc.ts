// JSON-RPC 2.0 over HTTP, as Ethereum nodes speak it. Answers are checked by the schema of their call. Errors name the
// method and never the node's URL, which often carries a key.

import { z } from 'zod'

const ANSWER = z.object({
  result: z.unknown().optional(),
  error: z.object({ code: z.number(), message: z.string() }).optional(),
})

export type Rpc = <Schema extends z.ZodType>(
  method: string,
  params: readonly unknown[],
  result: Schema,
) => Promise<z.output<Schema>>

export class RpcError extends Error {
  override readonly name = 'RpcError'
}

/** Calls reject with RpcError after `timeoutMs`, and on any answer that is not a result of the expected shape. */
export function createRpc(url: string, timeoutMs: number): Rpc {
  let lastId = 0
  return async (method, params, result) => {
    lastId += 1
    const answer = await post(url, { jsonrpc: '2.0', id: lastId, method, params }, timeoutMs).catch(
      (cause: unknown) => {
        throw new RpcError(`${method}: the node did not answer`, { cause })
      },
    )
    const parsed = ANSWER.safeParse(answer)
    if (!parsed.success) throw new RpcError(`${method}: not an answer of JSON-RPC`)
    const { error } = parsed.data
    if (error !== undefined) throw new RpcError(`${method}: the node refused (${error.code} ${error.message})`)
    const checked = result.safeParse(parsed.data.result)
    if (checked.success) return checked.data
    const [issue] = checked.error.issues
    throw new RpcError(`${method}: unexpected answer at ${issue?.path.join('.') ?? 'its root'}`)
  }
}

async function post(url: string, body: unknown, timeoutMs: number): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  })
  return response.json()
}
