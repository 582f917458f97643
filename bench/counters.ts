// Resource counters of a measured window: CPU per process, and Postgres work per database. Throughput depends on the
// machine's present load; cost per order hardly does.

import { readdir, readFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import type { BenchServers } from './servers.ts'

/** CLK_TCK, the unit of process times on Linux; 100 wherever Node runs. */
const TICK_MS = 10
const ENGINE_DATABASES = ['temporal', 'temporal_visibility']

export type Counters = {
  atMs: number
  /** CPU by process. Postgres's is split by the database that a session works for. */
  cpuMs: Readonly<Record<string, number>>
  /** CPU of the whole machine. */
  machineMs: number
  commits: { application: number; engine: number }
  statements: { application: number; engine: number }
  walBytes: number
}

/** @param pids the system's processes by name; the servers are added. @param database the application's, if any */
export async function readCounters(
  servers: BenchServers,
  pids: Readonly<Record<string, number>>,
  database: string | undefined,
): Promise<Counters> {
  const cpuMs = await readCpu(servers, pids, database)
  const machineMs = readMachine()
  const {
    rows: [wal],
  } = await servers.admin.query<{ bytes: string }>(
    `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text as bytes`,
  )
  const commits = await readByDatabase(servers, 'select datname, xact_commit as n from pg_stat_database', database)
  const statements = await readByDatabase(
    servers,
    `select d.datname, sum(s.calls) as n from pg_stat_statements s join pg_database d on d.oid = s.dbid
     where s.toplevel group by 1`,
    database,
  )
  return { atMs: performance.now(), cpuMs, machineMs, commits, statements, walBytes: Number(wal?.bytes ?? '0') }
}

async function readByDatabase(servers: BenchServers, query: string, database: string | undefined) {
  const { rows } = await servers.admin.query<{ datname: string | null; n: string }>(query)
  const sumOf = (names: readonly (string | undefined)[]): number =>
    rows.filter(({ datname }) => names.includes(datname ?? '')).reduce((sum, { n }) => sum + Number(n), 0)
  return { application: sumOf([database]), engine: sumOf(ENGINE_DATABASES) }
}

type Process = { pid: number; parent: number; ms: number; reapedMs: number }

async function readCpu(
  servers: BenchServers,
  pids: Readonly<Record<string, number>>,
  database: string | undefined,
): Promise<Record<string, number>> {
  const cpuMs: Record<string, number> = { temporal: (await readProcess(servers.temporalPid))?.ms ?? 0 }
  for (const [name, pid] of Object.entries(pids)) cpuMs[name] = (await readProcess(pid))?.ms ?? 0
  const add = (name: string, ms: number): void => void (cpuMs[name] = (cpuMs[name] ?? 0) + ms)
  for (const { pid, parent, ms, reapedMs } of await readProcesses()) {
    // Postgres counts ended sessions with its main process.
    if (pid === servers.postgresPid) add('postgres, itself', ms + reapedMs)
    if (parent === servers.postgresPid) add(`postgres, ${await purposeOf(pid, database)}`, ms)
  }
  return cpuMs
}

/** A session's title is `postgres: ROLE DATABASE HOST(PORT) …`. */
async function purposeOf(pid: number, database: string | undefined): Promise<string> {
  const title = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  const name = title.split(' ')[2] ?? ''
  if (ENGINE_DATABASES.includes(name)) return 'for the engine'
  return name === database ? 'for the application' : 'itself'
}

async function readProcesses(): Promise<Process[]> {
  const pids = (await readdir('/proc')).map(Number).filter(Number.isInteger)
  const found = await Promise.all(pids.map(readProcess))
  return found.filter((process) => process !== undefined)
}

async function readProcess(pid: number): Promise<Process | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  // The second field is a name in brackets and may contain spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (number: number): number => Number(fields[number - 3])
  return {
    pid,
    parent: field(4),
    ms: (field(14) + field(15)) * TICK_MS,
    reapedMs: (field(16) + field(17)) * TICK_MS,
  }
}

const readMachine = (): number =>
  cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0)

/** Cost per order between two readings. */
export function costPerOrder(before: Counters, after: Counters, orders: number): Record<string, number> {
  const each = (amount: number): number => amount / orders
  const costs: Record<string, number> = {}
  for (const kind of ['application', 'engine'] as const) {
    costs[`commits, ${kind}`] = each(after.commits[kind] - before.commits[kind])
    costs[`statements, ${kind}`] = each(after.statements[kind] - before.statements[kind])
  }
  costs['WAL kB'] = each((after.walBytes - before.walBytes) / 1_000)
  let total = 0
  for (const [name, ms] of Object.entries(after.cpuMs)) {
    const spent = ms - (before.cpuMs[name] ?? 0)
    costs[`CPU ms, ${name}`] = each(spent)
    total += spent
  }
  costs['CPU ms, all'] = each(total)
  return costs
}

/** The share of the machine used by processes outside the system: a noisy neighbour shows here. */
export function foreignShare(before: Counters, after: Counters): number {
  const own = Object.entries(after.cpuMs).reduce((sum, [name, ms]) => sum + ms - (before.cpuMs[name] ?? 0), 0)
  const capacity = (after.atMs - before.atMs) * cpus().length
  return Math.max(0, (after.machineMs - before.machineMs - own) / capacity)
}
