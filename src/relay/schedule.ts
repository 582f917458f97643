// Temporal schedules, in a namespace of their own: chores that may stop while Temporal is down, and the backstop of the
// fast duties. Duties run without Temporal, for its outages. The backstop runs without them, for a process that is
// alive and has lost its loop.

import { ScheduleAlreadyRunning, ScheduleOverlapPolicy, type Client } from '@temporalio/client'
import { BACKGROUND_TASK_QUEUE, SCHEDULES } from '../workflows/message.ts'

/**
 * Creates missing schedules. Safe to repeat: every worker calls it at its start.
 * @param client on the background namespace
 * @param everyMs by schedule, where configured: an existing schedule is changed to it
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
        // Missed runs are skipped: the next run sees the same state.
        policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' },
      })
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error
      if (chosen !== undefined)
        await client.schedule.getHandle(scheduleId).update(({ action, ...rest }) => ({ ...rest, action, spec }))
    }
  }
}
