// Metrics of single nodes. A node is labelled by its place in the list, from 1, because its URL may contain a key.

import { Counter, Gauge, type Registry } from '../telemetry.ts'
import { ASIDE_REASONS, type AsideReason } from './node_health.ts'
import type { OnMessage } from './rpc.ts'

const nodeOf = (index: number): string => String(index + 1)

export type NodeMetrics = ReturnType<typeof createNodeMetrics>

export function createNodeMetrics(registry: Registry, network: string, count: number) {
  const shared = { registers: [registry] }
  const inUse = new Gauge({
    ...{ name: 'holdfast_chain_node_in_use', help: '1 for the node that the chain is read from.' },
    ...{ labelNames: ['network', 'node'], ...shared },
  })
  const aside = new Gauge({
    ...{ name: 'holdfast_chain_node_set_aside', help: '1 while a node is not used, by reason.' },
    ...{ labelNames: ['network', 'node', 'reason'], ...shared },
  })
  const lagBlocks = new Gauge({
    ...{ name: 'holdfast_chain_node_lag_blocks', help: 'Blocks that the tip of a node is behind the newest tip.' },
    ...{ labelNames: ['network', 'node'], ...shared },
  })
  const calls = new Counter({
    ...{ name: 'holdfast_chain_rpc_calls_total', help: 'Calls of a node, each one of a batch, by method and outcome.' },
    ...{ labelNames: ['network', 'node', 'method', 'outcome'], ...shared },
  })
  const bytes = new Counter({
    ...{ name: 'holdfast_chain_rpc_bytes_total', help: 'Bytes that a node answered, by method.' },
    ...{ labelNames: ['network', 'node', 'method'], ...shared },
  })
  const noteAside = (index: number, reason: AsideReason | undefined): void => {
    for (const each of ASIDE_REASONS) aside.set({ network, node: nodeOf(index), reason: each }, Number(each === reason))
  }
  const noteUse = (index: number | undefined): void => {
    for (let each = 0; each < count; each += 1) inUse.set({ network, node: nodeOf(each) }, Number(each === index))
  }
  noteUse(undefined)
  for (let index = 0; index < count; index += 1) noteAside(index, undefined)
  return {
    noteUse,
    noteAside,
    noteLag: (index: number, blocks: number): void => lagBlocks.set({ network, node: nodeOf(index) }, blocks),
    /** Counts the messages to a node. */
    countMessages:
      (index: number): OnMessage =>
      ({ method, calls: made, bytes: answered, outcome }) => {
        calls.inc({ network, node: nodeOf(index), method, outcome }, made)
        bytes.inc({ network, node: nodeOf(index), method }, answered)
      },
  }
}
