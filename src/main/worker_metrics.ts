// What every worker shows of the shop: backlogs, orders that need an operator, the last consistency check. The gauges
// hold what was read last; a read that fails is logged, and the next comes as usual.

import type { Client } from '@temporalio/client'
import { findBacklog, findUnpaidRefunds, UNPAID_STATUSES } from '../db/backlog.ts'
import { findDoubts } from '../db/chain/suspension.ts'
import { findConsistency } from '../db/consistency.ts'
import { countOrdersInDoubt } from '../db/doubt.ts'
import { countHoldsAside } from '../db/sweep.ts'
import type { Database } from '../db/connection/pool.ts'
import { CONSISTENCY_CHECKS } from '../relay/consistency.ts'
import type { RelayMetrics } from '../relay/loop.ts'
import { repeat } from '../repeat.ts'
import { Counter, Gauge, type Logger, type Registry } from '../telemetry.ts'
import { registerSessionGauge } from './database_metrics.ts'

const BACKLOG_EVERY_MS = 2_000
/** Of what changes slowly, or costs more to count. */
const OTHERS_EVERY_MS = 15_000

export type Watch = { registry: Registry; logger: Logger; signal: AbortSignal }

const createGauge = <Label extends string>({ registry }: Watch, name: string, help: string, ...labelNames: Label[]) =>
  new Gauge({ name: `holdfast_${name}`, help, labelNames, registers: [registry] })

/** Measures at once and then every so often. @param what for the log */
function measureEvery(everyMs: number, what: string, { logger, signal }: Watch, measure: () => Promise<void>): void {
  const onError = (error: unknown): void => logger.warn({ err: error }, `${what} not measured`)
  void repeat(measure, { signal, everyMs, onError })
}

/** Everything that is read from the database. */
export function watchDatabase(database: Database, watch: Watch): void {
  registerSessionGauge(watch.registry, database)
  watchBacklog(database, watch)
  watchUnpaidRefunds(database, watch)
  watchOrdersInDoubt(database, watch)
  watchDoubts(database, watch)
  watchConsistency(database, watch)
}

/** By a process that always runs: no payer is needed to notice that none runs. */
function watchUnpaidRefunds(database: Database, watch: Watch): void {
  const age = createGauge(
    watch,
    'refund_unpaid_age_seconds',
    'How long the oldest refund of a status is in it: approved, or being paid.',
    'status',
  )
  measureEvery(OTHERS_EVERY_MS, 'unpaid refunds', watch, async () => {
    const found = await findUnpaidRefunds(database)
    for (const status of UNPAID_STATUSES)
      age.set({ status }, found.find((each) => each.status === status)?.oldestS ?? 0)
  })
}

/** Rows that wait, to alarm and to scale on. */
function watchBacklog(database: Database, watch: Watch): void {
  const rows = createGauge(watch, 'backlog_rows', 'Rows that wait to be passed on.', 'queue')
  const dead = createGauge(watch, 'backlog_dead_rows', 'Rows that wait for an operator.', 'queue')
  const startAge = createGauge(watch, 'start_backlog_age_seconds', 'Age of the oldest order without a workflow.')
  const wakeAge = createGauge(
    watch,
    'wake_backlog_age_seconds',
    'Age of the oldest news that no workflow has assessed.',
  )
  const notificationAge = createGauge(
    watch,
    'notification_backlog_age_seconds',
    'Age of the oldest notification that is still retried.',
  )
  measureEvery(BACKLOG_EVERY_MS, 'backlog', watch, async () => {
    const backlog = await findBacklog(database)
    rows.set({ queue: 'start' }, Number(backlog.starts))
    rows.set({ queue: 'wake' }, Number(backlog.wakes))
    rows.set({ queue: 'notification' }, Number(backlog.notifications))
    dead.set({ queue: 'start' }, Number(backlog.deadStarts))
    dead.set({ queue: 'wake' }, Number(backlog.deadWakes))
    dead.set({ queue: 'notification' }, Number(backlog.deadNotifications))
    startAge.set(backlog.oldestStartS)
    wakeAge.set(backlog.oldestWakeS)
    notificationAge.set(backlog.oldestNotificationS)
    dead.set({ queue: 'hold' }, await countHoldsAside(database))
  })
}

function watchOrdersInDoubt(database: Database, watch: Watch): void {
  const help = 'Paid orders whose money lost its block (at_risk) or is gone (reversed).'
  const orders = createGauge(watch, 'orders_in_doubt', help, 'state')
  measureEvery(OTHERS_EVERY_MS, 'orders in doubt', watch, async () => {
    const { atRisk, reversed } = await countOrdersInDoubt(database)
    orders.set({ state: 'at_risk' }, atRisk)
    orders.set({ state: 'reversed' }, reversed)
  })
}

function watchDoubts(database: Database, watch: Watch): void {
  const outputs = createGauge(watch, 'source_doubts', 'Outputs on which the sources do not agree.', 'kind')
  const short = createGauge(watch, 'orders_short_of_sources', 'Orders past their end that wait for another source.')
  const silent = createGauge(
    watch,
    'source_silent',
    '1 while a source reads nothing although another one of its network does.',
    ...['network', 'source'],
  )
  const suspended = createGauge(watch, 'suspended_network', '1 while a network is suspended.', 'network', 'cause')
  measureEvery(OTHERS_EVERY_MS, 'doubts', watch, async () => {
    const doubts = await findDoubts(database)
    outputs.set({ kind: 'lone' }, doubts.lone)
    outputs.set({ kind: 'differing' }, doubts.differing)
    short.set(doubts.short)
    silent.reset()
    for (const each of doubts.silent) silent.set(each, 1)
    suspended.reset()
    for (const each of doubts.suspended) suspended.set(each, 1)
  })
}

function watchConsistency(database: Database, watch: Watch): void {
  const found = createGauge(watch, 'inconsistencies', 'Differences that the last consistency check found.', 'check')
  const checkedAt = createGauge(
    watch,
    'consistency_checked_timestamp_seconds',
    'When a consistency check last ended; before the first, when this worker began.',
  )
  checkedAt.set(Date.now() / 1_000)
  measureEvery(OTHERS_EVERY_MS, 'consistency', watch, async () => {
    const { counts, finishedAt } = await findConsistency(database)
    for (const check of Object.keys(CONSISTENCY_CHECKS)) found.set({ check }, counts.get(check) ?? 0)
    if (finishedAt !== undefined) checkedAt.set(finishedAt.getTime() / 1_000)
  })
}

/** Orders whose compensation waits for an operator: only Temporal knows of them. */
export function watchParkedOrders(client: Client, watch: Watch): void {
  const parked = createGauge(watch, 'parked_orders', 'Orders whose compensation waits for an operator.')
  measureEvery(OTHERS_EVERY_MS, 'parked orders', watch, async () =>
    parked.set((await client.workflow.count("NeedsOperator = true AND ExecutionStatus = 'Running'")).count),
  )
}

/** @param turned called at the begin of each turn of a relay */
export const createRelayMetrics = (registry: Registry, turned: (relay: string) => void): RelayMetrics => {
  const labelNames = ['relay'] as const
  const registers = [registry]
  return {
    turned,
    passed: new Counter({
      name: 'holdfast_relay_passed_total',
      help: 'Items a relay passed on.',
      labelNames,
      registers,
    }),
    failed: new Counter({
      name: 'holdfast_relay_failed_total',
      help: 'Items a relay could not pass on yet.',
      labelNames,
      registers,
    }),
    lastSuccess: new Gauge({
      name: 'holdfast_relay_last_success_timestamp_seconds',
      help: 'When a relay or duty last finished a turn.',
      labelNames,
      registers,
    }),
  }
}
