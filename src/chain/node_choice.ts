// Fall-over between the nodes of one network. Each step begins with a choice, and all its calls go to the chosen node, so
// that no step mixes the branches of two nodes. A node that fails fails the step too; the next step goes to another one.

import type { Logger } from '../telemetry.ts'
import { ChainError, NodesDifferError } from './client.ts'
import { createNodeHealth, type AsideReason } from './node_health.ts'
import type { NodeMetrics } from './node_metrics.ts'
import { RpcBusyError } from './rpc.ts'

export type NodeChoiceOptions<Node> = {
  network: string
  /** In the order of preference. */
  nodes: readonly [Node, ...Node[]]
  metrics: NodeMetrics
  logger: Logger
  /** Called after each answer: a heartbeat for steps with many calls. */
  onAnswer?: () => void
  /** Monotonic milliseconds. */
  now?: () => number
}

/** The first call of a step, and whether the node that answered is behind and another one must be found. */
type Beginning<Node, Start> = {
  start: (node: Node) => Promise<Start>
  isBehind: (index: number, started: Start) => Promise<boolean>
}

export type NodeChoice<Node> = ReturnType<typeof createNodeChoice<Node>>

export function createNodeChoice<Node>(options: NodeChoiceOptions<Node>) {
  const { network, nodes, metrics, logger, now = () => performance.now() } = options
  const health = createNodeHealth({ count: nodes.length, onChange: noteChange, now })
  let step: { index: number; hasFailed: boolean } | undefined
  /** The node of the last step, which the next one prefers. Undefined: no preference. */
  let inUse: number | undefined

  function noteChange(index: number, reason: AsideReason | undefined): void {
    metrics.noteAside(index, reason)
    if (reason === undefined) logger.info({ network, node: index + 1 }, 'a node can be used again')
    else logger.warn({ network, node: index + 1, reason }, 'a node is set aside')
  }

  function noteFailure(index: number, error: unknown): void {
    if (error instanceof RpcBusyError) health.setAside(index, 'busy', error.retryAfterMs)
    else health.setAside(index, 'error')
  }

  /** Calls any node. */
  async function askNode<T>(index: number, call: (node: Node) => Promise<T>): Promise<T> {
    const answer = await call(nodes[index] ?? nodes[0])
    options.onAnswer?.()
    return answer
  }

  function use(index: number): void {
    if (inUse !== undefined && inUse !== index)
      logger.warn({ network, node: index + 1, before: inUse + 1 }, 'another node is used')
    inUse = index
    step = { index, hasFailed: false }
    metrics.noteUse(index)
  }

  return {
    health,
    noteFailure,
    askNode,
    /** Begins a step. @throws {NodesDifferError}; the last failure, when no node can be used */
    begin: async <Start>({ start, isBehind }: Beginning<Node, Start>): Promise<Start> => {
      // A whole step without a failure: also a node of last resort has shown that it is well.
      if (step?.hasFailed === false) health.restore(step.index)
      step = undefined
      let failure: unknown = new ChainError('each node has asked to wait')
      for (const index of health.candidates(inUse)) {
        try {
          const started = await askNode(index, start)
          if (!(await isBehind(index, started))) {
            use(index)
            return started
          }
          health.setAside(index, 'lag')
          failure = new ChainError(`node ${index + 1} is behind the others`)
        } catch (error) {
          if (error instanceof NodesDifferError) throw error
          noteFailure(index, error)
          failure = error
        }
      }
      throw failure
    },
    /** A call of the step. Calls that run at the same time may fail together: that is one failure of the node. */
    ask: async <T>(call: (node: Node) => Promise<T>): Promise<T> => {
      if (step === undefined) throw new ChainError('no node is chosen: a step begins with the tip')
      const asked = step
      try {
        return await askNode(asked.index, call)
      } catch (error) {
        if (!asked.hasFailed) noteFailure(asked.index, error)
        asked.hasFailed = true
        throw error
      }
    },
    /** The next step begins with the first node in the order of preference that can be used. */
    preferFirst: (): void => void (inUse = undefined),
    /** At the end of a step: the next one begins with another node, where there is one. */
    giveUp: (reason: AsideReason): void => {
      if (step === undefined || step.hasFailed || nodes.length === 1) return
      step.hasFailed = true
      health.setAside(step.index, reason)
    },
  }
}
