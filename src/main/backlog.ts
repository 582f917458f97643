// How much waits, shown by every worker alike.

import type { Client } from '@temporalio/client'
import type { Database } from '../db/connection/pool.ts'
import { findBacklog } from '../db/backlog.ts'
import { countHoldsAside } from '../db/sweep.ts'
import { Gauge, type Logger, type Registry } from '../telemetry.ts'
import { repeat } from './repeat.ts'

const BACKLOG_EVERY_MS = 2_000
const PARKED_EVERY_MS = 15_000

/** Backlogs and slots, to alarm and to scale on. */
export function watchBacklog(database: Database, registry: Registry, logger: Logger, signal: AbortSignal): void {
  const rows = new Gauge({
    name: 'holdfast_backlog_rows',
    help: 'Rows that wait to be passed on.',
    labelNames: ['queue'],
    registers: [registry],
  })
  const dead = new Gauge({
    name: 'holdfast_backlog_dead_rows',
    help: 'Rows that wait for a person.',
    labelNames: ['queue'],
    registers: [registry],
  })
  const age = new Gauge({
    name: 'holdfast_start_backlog_age_seconds',
    help: 'Age of the oldest order without a workflow.',
    registers: [registry],
  })
  const notificationAge = new Gauge({
    name: 'holdfast_notification_backlog_age_seconds',
    help: 'Age of the oldest notification that is still tried.',
    registers: [registry],
  })
  const sessions = new Gauge({
    name: 'holdfast_database_sessions',
    help: 'Database sessions by state.',
    labelNames: ['state'],
    registers: [registry],
  })
  const wakeAge = new Gauge({
    name: 'holdfast_wake_backlog_age_seconds',
    help: 'Age of the oldest news that no workflow has looked at.',
    registers: [registry],
  })
  const measure = async (): Promise<void> => {
    const { total, idle, waiting } = database.stats()
    sessions.set({ state: 'busy' }, total - idle)
    sessions.set({ state: 'idle' }, idle)
    sessions.set({ state: 'waiting' }, waiting)
    const backlog = await findBacklog(database)
    rows.set({ queue: 'start' }, Number(backlog.starts))
    rows.set({ queue: 'wake' }, Number(backlog.wakes))
    rows.set({ queue: 'notification' }, Number(backlog.notifications))
    dead.set({ queue: 'notification' }, Number(backlog.deadNotifications))
    notificationAge.set(backlog.oldestNotificationS)
    dead.set({ queue: 'start' }, Number(backlog.deadStarts))
    dead.set({ queue: 'wake' }, Number(backlog.deadWakes))
    dead.set({ queue: 'hold' }, await countHoldsAside(database))
    age.set(backlog.oldestStartS)
    wakeAge.set(backlog.oldestWakeS)
  }
  void repeat(measure, BACKLOG_EVERY_MS, signal, (error) =>
    logger.warn({ err: error }, 'backlog could not be measured'),
  )
}

/** Orders whose undo waits for a person: Temporal alone knows of them. */
export function watchParked(client: Client, registry: Registry, logger: Logger, signal: AbortSignal): void {
  const parked = new Gauge({
    name: 'holdfast_parked_orders',
    help: 'Orders whose undo waits for a person.',
    registers: [registry],
  })
  const measure = async (): Promise<void> =>
    parked.set((await client.workflow.count("NeedsOperator = true AND ExecutionStatus = 'Running'")).count)
  void repeat(measure, PARKED_EVERY_MS, signal, (error) =>
    logger.warn({ err: error }, 'parked orders could not be counted'),
  )
}
