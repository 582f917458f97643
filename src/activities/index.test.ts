import { expect, test } from '@jest/globals'
import { asyncLocalStorage, Context } from '@temporalio/activity'
import type { Database } from '../db/connection/pool.ts'
import { DomainError } from '../domain/failure.ts'
import { createActivities } from './index.ts'

const FENCE = { orderId: '00000000-0000-8000-8000-000000000000', generation: 1, step: 1 }
const down = (): Error => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })

/** A database that answers every transaction in one way, and counts them. */
function databaseThat(answer: () => Promise<never>) {
  const seen = { transactions: 0 }
  const count = () => {
    seen.transactions += 1
    return answer()
  }
  const database = { run: count, transaction: count } as unknown as Database
  return { database, seen }
}

/** Runs as Temporal would, inside a workflow task or not; says what was logged. */
async function asActivity<T>(isLocal: boolean, act: () => Promise<T>) {
  const lines: unknown[] = []
  const log = { warn: (message: string, fields: unknown) => lines.push({ message, fields }) }
  const context = Object.assign(Object.create(Context.prototype) as object, { info: { isLocal }, log }) as Context
  const outcome = await asyncLocalStorage.run(context, () =>
    act().then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    ),
  )
  return { ...outcome, lines }
}

test('a step that fails says which, why, and whether that is final, and nothing else', async () => {
  const { database } = databaseThat(() => Promise.reject(new DomainError('STALE_RUN', 'A later run owns this order.')))
  const { reserveStock } = createActivities({ database })
  expect(await asActivity(true, () => reserveStock(FENCE))).toMatchObject({
    error: { type: 'STALE_RUN', nonRetryable: true },
    lines: [{ message: 'step failed', fields: { step: 'reserveStock', reason: 'STALE_RUN', isFinal: true } }],
  })
})

test('while the database is down, a workflow task is not held up by asking it again', async () => {
  const { database, seen } = databaseThat(() => Promise.reject(down()))
  const { assessPayments, expireOrder } = createActivities({ database })
  for (const step of [assessPayments, expireOrder])
    expect(await asActivity(true, () => step(FENCE))).toMatchObject({
      error: { type: 'DATABASE_UNAVAILABLE', nonRetryable: false },
    })
  expect(seen.transactions).toBe(1)
  // An ordinary activity waits elsewhere, and is how it is learnt that the database is back.
  await asActivity(false, () => assessPayments(FENCE))
  expect(seen.transactions).toBe(2)
})

test('a refusal is no outage: the next step is asked at once', async () => {
  const { database, seen } = databaseThat(() => Promise.reject(new DomainError('NOT_FOUND', 'No such order.')))
  const { releaseStock } = createActivities({ database })
  await asActivity(true, () => releaseStock(FENCE))
  await asActivity(true, () => releaseStock(FENCE))
  expect(seen.transactions).toBe(2)
})
