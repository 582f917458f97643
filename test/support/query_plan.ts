// Records the query plan of each statement that really ran, including those inside functions and foreign keys.
// Postgres's auto_explain sends the plans over the sessions that our code uses.

import pg from 'pg'
import type { TestDatabase } from './database.ts'
import type { DatabaseRole } from './servers.ts'

/** One scan of a table or an index, all its loops together. */
export type Scan = {
  table: string
  /** Undefined for a sequential scan. */
  index: string | undefined
  /** Rows read, including those that a filter removed. */
  rows: number
}
export type Plan = { query: string; scans: readonly Scan[]; blocks: number }

export type PlanRecorder = {
  /** The plans of the statements that `work` ran. */
  during: (work: () => Promise<unknown>) => Promise<Plan[]>
  stop: () => void
}

type Node = {
  'Node Type': string
  'Relation Name'?: string
  'Index Name'?: string
  'Actual Rows'?: number
  'Actual Loops'?: number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  'Shared Hit Blocks'?: number
  'Shared Read Blocks'?: number
  Plans?: Node[]
}

/** Turns plan reporting on for new sessions of these roles. */
export async function recordPlans(test: TestDatabase, roles: readonly DatabaseRole[]): Promise<PlanRecorder> {
  const settings = {
    session_preload_libraries: 'auto_explain',
    'auto_explain.log_min_duration': '0',
    'auto_explain.log_analyze': 'on',
    'auto_explain.log_buffers': 'on',
    'auto_explain.log_timing': 'off',
    'auto_explain.log_nested_statements': 'on',
    'auto_explain.log_format': 'json',
    'auto_explain.log_level': 'notice',
  }
  for (const role of roles) {
    for (const [name, value] of Object.entries(settings)) {
      await test.query(`alter role ${role} in database ${test.name} set ${name} = '${value}'`)
    }
  }
  let heard: Plan[] = []
  const listen = (client: pg.Client): void =>
    void client.on('notice', ({ message = '' }) => {
      if (message.includes('plan:')) heard.push(planOf(JSON.parse(message.slice(message.indexOf('{')))))
    })
  const stop = onConnect(listen)
  return {
    during: async (work) => {
      heard = []
      await work()
      return heard
    },
    stop,
  }
}

/** Calls `listen` with every new session of this process: pools do not expose theirs. Returns the undo. */
function onConnect(listen: (client: pg.Client) => void): () => void {
  type Connect = (this: pg.Client, ...args: unknown[]) => unknown
  const prototype = pg.Client.prototype as unknown as { connect: Connect }
  const original = Object.getOwnPropertyDescriptor(prototype, 'connect')?.value as Connect
  prototype.connect = function (...args) {
    listen(this)
    return original.apply(this, args)
  }
  return () => void (prototype.connect = original)
}

function planOf({ 'Query Text': query, Plan: root }: { 'Query Text': string; Plan: Node }): Plan {
  return {
    query,
    scans: scansOf(root),
    blocks: (root['Shared Hit Blocks'] ?? 0) + (root['Shared Read Blocks'] ?? 0),
  }
}

const READERS = new Set(['Seq Scan', 'Index Scan', 'Index Only Scan', 'Bitmap Index Scan'])

/** @param heap the table that a bitmap index scan leads to */
function scansOf(node: Node, heap = ''): Scan[] {
  const table = node['Relation Name'] ?? heap
  const below = (node.Plans ?? []).flatMap((child) => scansOf(child, table))
  if (!READERS.has(node['Node Type'])) return below
  const removed = (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)
  const rows = ((node['Actual Rows'] ?? 0) + removed) * (node['Actual Loops'] ?? 1)
  return [...below, { table, index: node['Index Name'], rows }]
}
