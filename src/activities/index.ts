// The steps of the workflows as activities: one transaction each, safe to repeat, fenced. The statements are in
// db/order.ts and db/payment.ts; here each step gets its failure translated and logged for operators.

import { activityInfo, log } from '@temporalio/activity'
import { deleteExpiredAnswers } from '../db/idempotency.ts'
import { deleteExpiredNotifications } from '../db/notification.ts'
import { deleteExpiredSecurityEvents } from '../db/security_event.ts'
import { expireOrder, releaseStock, reserveStock, runCommand } from '../db/order.ts'
import { assessLatePayments, assessPayments } from '../db/payment.ts'
import { findStaleDuties } from '../db/duty.ts'
import { isDatabaseDown, type Database } from '../db/connection/pool.ts'
import { runHoldSweep } from '../db/sweep.ts'
import type { CommandInput, CommandResult, Fence } from '../domain/command.ts'
import { DomainError } from '../domain/failure.ts'
import type { LatePolicy } from '../domain/late.ts'
import type { Command, OrderState } from '../domain/order.ts'
import { applicationFailureOf } from './failure.ts'

/** While the database is known to be down, local activities fail at once: a try would only delay the workflow task. */
const SKIP_LOCAL_FOR_MS = 1_000

/** A duty that has not succeeded for this long has lost its process, or hangs in it. */
const STALE_AFTER_MS = 30_000

export type Activities = {
  reserveStock: (fence: Fence) => Promise<OrderState>
  assessPayments: (fence: Fence) => Promise<OrderState>
  expireOrder: (fence: Fence) => Promise<OrderState>
  runCommand: (fence: Fence, command: Command, input: CommandInput) => Promise<CommandResult>
  releaseStock: (fence: Fence) => Promise<OrderState>
  assessLatePayments: (orderId: string) => Promise<OrderState>
  /** Runs the duties that no process has run lately. @returns their names */
  runStaleDuties: () => Promise<readonly string[]>
  /** Deletes a batch of answers to idempotency keys that are too old to be repeated. */
  forgetAnswers: () => Promise<{ count: number; isDone: boolean }>
  /** Deletes a batch of notifications that were delivered long ago. */
  forgetNotifications: () => Promise<{ count: number; isDone: boolean }>
  /** Deletes a batch of old security events. */
  forgetSecurityEvents: () => Promise<{ count: number; isDone: boolean }>
}

export type ActivityDeps = {
  database: Database
  /** What becomes of late money of expired orders. Without it nothing is decided, and all of it is owed back. */
  latePolicy?: LatePolicy
}

export function createActivities({ database, latePolicy }: ActivityDeps): Activities {
  let downUntil = 0

  const guarded =
    <Args extends readonly unknown[], Result>(name: string, act: (...args: Args) => Promise<Result>) =>
    async (...args: Args): Promise<Result> => {
      try {
        if (activityInfo().isLocal && Date.now() < downUntil) {
          throw new DomainError('DATABASE_UNAVAILABLE', 'The database was down a moment ago.')
        }
        return await act(...args)
      } catch (error) {
        if (isDatabaseDown(error)) downUntil = Date.now() + SKIP_LOCAL_FOR_MS
        const failure = applicationFailureOf(error)
        log.warn('step failed', { step: name, reason: failure.type, isFinal: failure.nonRetryable })
        throw failure
      }
    }

  return {
    reserveStock: guarded('reserveStock', (fence) => reserveStock(database, fence)),
    assessPayments: guarded('assessPayments', (fence) => assessPayments(database, fence)),
    expireOrder: guarded('expireOrder', (fence) => expireOrder(database, fence)),
    runCommand: guarded('runCommand', (fence, command, input) => runCommand(database, fence, command, input)),
    releaseStock: guarded('releaseStock', (fence) => releaseStock(database, fence)),
    runStaleDuties: guarded('runStaleDuties', async () => {
      const stale = await findStaleDuties(database, STALE_AFTER_MS)
      if (stale.includes('hold_sweep')) await runHoldSweep(database, 'backstop')
      return stale
    }),
    forgetAnswers: guarded('forgetAnswers', () => deleteExpiredAnswers(database)),
    forgetNotifications: guarded('forgetNotifications', () => deleteExpiredNotifications(database)),
    forgetSecurityEvents: guarded('forgetSecurityEvents', () => deleteExpiredSecurityEvents(database)),
    assessLatePayments: guarded('assessLatePayments', (orderId) => assessLatePayments(database, orderId, latePolicy)),
  }
}
