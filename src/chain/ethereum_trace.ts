// Parses traces: coins that contracts send in calls inside a transaction, as Geth's callTracer shows them. Erigon,
// Nethermind, Reth and anvil give the same answer.

import { z } from 'zod'
import type { ChainOutput } from '../domain/chain.ts'
import { ADDRESS, numberOf } from './ethereum_block.ts'
import { RpcError } from './rpc.ts'

/** Kinds of calls that move coins to an address. A delegate call repeats its caller's value and moves none. */
const MOVES_VALUE = ['CALL', 'SELFDESTRUCT']
const MAX_INT32 = 2 ** 31 - 1

type Frame = {
  type: string
  to?: string | null | undefined
  value?: string | null | undefined
  error?: string | null | undefined
  calls?: Frame[] | null | undefined
}
const FRAME: z.ZodType<Frame> = z.lazy(() =>
  z.object({
    type: z.string(),
    to: z.string().nullish(),
    value: z.string().nullish(),
    error: z.string().nullish(),
    calls: z.array(FRAME).nullish(),
  }),
)
export const TRACES = z.array(z.object({ txHash: z.string().nullish(), result: FRAME }))

/**
 * Outputs inside the transactions of a block. Traces and `txIds` are in the same order. All that the calls of one
 * transaction send to an address is one output.
 * @throws {RpcError} where they are not the traces of these transactions
 */
export function readTraces(traces: z.output<typeof TRACES>, txIds: readonly string[]): ChainOutput[] {
  if (
    traces.length !== txIds.length ||
    traces.some(({ txHash }, at) => typeof txHash === 'string' && txHash.toLowerCase() !== txIds[at])
  )
    throw new RpcError('debug_traceBlockByHash: not the traces of the block that was asked for')
  return traces.flatMap(({ result }, at) => {
    const sums = new Map<string, bigint>()
    if (!hasFailed(result)) for (const call of result.calls ?? []) addCalls(call, sums)
    return [...sums].map(([address, amount]) => ({
      asset: 'ETH' as const,
      txId: txIds[at] ?? '',
      outputIndex: indexOf(address),
      address,
      amount,
    }))
  })
}

/** A failed call is undone, with all calls inside it. */
const hasFailed = ({ error }: Frame): boolean => typeof error === 'string' && error !== ''

function addCalls(frame: Frame, sums: Map<string, bigint>): void {
  if (hasFailed(frame)) return
  const address = (frame.to ?? '').toLowerCase()
  const amount = numberOf(frame.value) ?? 0n
  if (MOVES_VALUE.includes(frame.type.toUpperCase()) && amount > 0n && ADDRESS.test(address))
    sums.set(address, (sums.get(address) ?? 0n) + amount)
  for (const call of frame.calls ?? []) addCalls(call, sums)
}

/**
 * Derived from the address, from 1 up, so that the output has the same index on nodes that trace more or fewer calls.
 * Should two addresses of one transaction share an index, the balance check finds the second.
 */
const indexOf = (address: string): number => 1 + (Number.parseInt(address.slice(2, 10), 16) % MAX_INT32)
