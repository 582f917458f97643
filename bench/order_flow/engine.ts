// A Temporal worker and a client on one connection, as in our worker process.

import { Client } from '@temporalio/client'
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker'
import { limitStackTraces } from '../../src/main/stack_trace.ts'
import type { LoopConfig } from '../loop.ts'

export type EngineConfig = LoopConfig & EngineAddress
export type EngineAddress = { temporalAddress: string; namespace: string }

const TASK_QUEUE = 'bench'

export async function openEngine(
  { temporalAddress, namespace }: EngineAddress,
  { workflowsPath, activities }: { workflowsPath: string; activities: object },
) {
  const logger = new DefaultLogger('WARN', ({ level, message }) => void process.stderr.write(`${level} ${message}\n`))
  // Makes Temporal cheaper for us, so the compared systems get it too.
  limitStackTraces()
  Runtime.install({ logger, shutdownSignals: [] })
  const connection = await NativeConnection.connect({ address: temporalAddress })
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue: TASK_QUEUE,
    workflowBundle: await bundleWorkflowCode({ workflowsPath, logger }),
    activities,
  })
  const running = worker.run()
  return {
    client: new Client({ connection, namespace }),
    taskQueue: TASK_QUEUE,
    close: async () => {
      worker.shutdown()
      await running
      await connection.close()
      // Listeners on stdin would keep the process alive.
      process.exit(0)
    },
  }
}
