import { asyncLocalStorage, CancelledFailure, Context } from '@temporalio/activity'
import { expect, test } from '@jest/globals'
import type { ConsistencyReport } from '../db/consistency.ts'
import { createConsistencyActivities } from './consistency.ts'

const REPORT: ConsistencyReport = {
  startedAt: new Date(),
  looked: { orders: 2, products: 1, answers: 2, workflows: 2 },
  differences: [{ check: 'total_equals_lines', subject: 'order-1', detail: 'total 2, lines 1' }],
}

/** Runs the activity as Temporal would, over ranges between which it may be stopped. */
async function look(ranges: number, report = REPORT, stopAt = Number.POSITIVE_INFINITY) {
  const seen = { lines: [] as unknown[], heartbeats: 0, records: 0 }
  const stopping = new AbortController()
  const context = Object.assign(Object.create(Context.prototype) as object, {
    info: { isLocal: false },
    log: { error: (message: string, fields: unknown) => seen.lines.push({ message, fields }) },
    cancellationSignal: stopping.signal,
    heartbeat: () => (seen.heartbeats += 1),
  }) as unknown as Context
  const { checkConsistency } = createConsistencyActivities({
    database: { sql: { transaction: async () => void (seen.records += 1) } as never },
    look: async (onRange) => {
      for (let at = 0; at < ranges; at += 1) {
        if (at === stopAt) stopping.abort(new CancelledFailure('WORKER_SHUTDOWN'))
        onRange()
      }
      return report
    },
  })
  const outcome = await asyncLocalStorage.run(context, () => checkConsistency().catch((error: unknown) => ({ error })))
  return { outcome, ...seen }
}

test('each difference is a line in the log, with the id it is about', async () => {
  expect(await look(3)).toEqual({
    outcome: 1,
    lines: [{ message: 'inconsistency', fields: REPORT.differences[0] }],
    heartbeats: 3,
    records: 1,
  })
})

test('a database that is wrong from end to end does not flood the log', async () => {
  const [difference] = REPORT.differences
  const { outcome, lines } = await look(1, {
    ...REPORT,
    differences: Array.from({ length: 500 }, () => difference as never),
  })
  expect(outcome).toBe(500)
  expect(lines).toHaveLength(100)
})

test('a worker that stops does not wait for the end of a look, and half a look is recorded nowhere', async () => {
  expect(await look(9, REPORT, 2)).toMatchObject({
    outcome: { error: { name: 'CancelledFailure' } },
    heartbeats: 2,
    records: 0,
  })
})
