// The schedule that stands behind the fast duties. They run without Temporal, for its outages; it runs without them, for
// a process that lives and has lost its loop.

import { ScheduleAlreadyRunning, ScheduleOverlapPolicy, type Client } from '@temporalio/client'
import { BACKGROUND_TASK_QUEUE, BACKSTOP_SCHEDULE } from '../workflows/message.ts'

const EVERY = '1 minute'

/** Makes the schedule unless it is there; any worker may, at any start. @param client on the background namespace */
export async function ensureBackstop(client: Client): Promise<void> {
  try {
    await client.schedule.create({
      scheduleId: BACKSTOP_SCHEDULE,
      spec: { intervals: [{ every: EVERY }] },
      action: { type: 'startWorkflow', workflowType: 'backstop', taskQueue: BACKGROUND_TASK_QUEUE },
      // What was missed is not made up for: the next run sees the same state.
      policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: EVERY },
    })
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error
  }
}
