// The worker process of the bare engine. Its clients run in the same process: every call is as short as possible.

import { fileURLToPath } from 'node:url'
import { activityInfo } from '@temporalio/activity'
import { createMilestones, runLoop } from '../loop.ts'
import { advance, changed } from './bare_workflow.ts'
import { openEngine, type EngineConfig } from './engine.ts'
import { readConfig } from '../loop.ts'

export type BareActivities = { pass: (milestone: 'reserved' | 'paid') => Promise<void> }

const config = await readConfig<EngineConfig>()
const milestones = createMilestones()
const activities: BareActivities = {
  pass: async (milestone) => milestones.reached(activityInfo().workflowExecution?.workflowId ?? '', milestone),
}
const engine = await openEngine(config, {
  workflowsPath: fileURLToPath(new URL('bare_workflow.ts', import.meta.url)),
  activities,
})
const { workflow } = engine.client

await runLoop(config, async (workflowId, phase) => {
  await phase('create', async () => {
    const reserved = milestones.reach(workflowId, 'reserved')
    await workflow.start('bare', { workflowId, taskQueue: engine.taskQueue, requestEagerStart: true })
    await reserved
  })
  const handle = workflow.getHandle(workflowId)
  await phase('pay', async () => {
    const paid = milestones.reach(workflowId, 'paid')
    await handle.signal(changed)
    await paid
  })
  await phase('ship', () => handle.executeUpdate(advance))
  await phase('deliver', () => handle.executeUpdate(advance))
})
await engine.close()
