// Chores that Temporal repeats, in a namespace of their own: those that need not survive it, and the one that stands
// behind the fast duties, which do: they run without Temporal, for its outages; it runs without them, for a process
// that lives and has lost its loop.

import { ScheduleAlreadyRunning, ScheduleOverlapPolicy, type Client } from '@temporalio/client'
import { BACKGROUND_TASK_QUEUE, SCHEDULES } from '../workflows/message.ts'

/**
 * Makes the schedules that are not there; any worker may, at any start.
 * @param client on the background namespace
 * @param everyMs by schedule, where it is configured: one that is there is changed to it
 */
export async function ensureSchedules(client: Client, everyMs: Readonly<Record<string, number>> = {}): Promise<void> {
  for (const { scheduleId, workflowType, every: usual } of SCHEDULES) {
    const chosen = everyMs[scheduleId]
    const spec = { intervals: [{ every: chosen ?? usual }] }
    try {
      await client.schedule.create({
        scheduleId,
        spec,
        action: { type: 'startWorkflow', workflowType, taskQueue: BACKGROUND_TASK_QUEUE },
        // What was missed is not made up for: the next run sees the same state.
        policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' },
      })
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error
      if (chosen !== undefined)
        await client.schedule.getHandle(scheduleId).update(({ action, ...rest }) => ({ ...rest, action, spec }))
    }
  }
}
