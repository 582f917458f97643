// Which plan Postgres chose for each statement that really ran, inside functions and foreign keys too: told by its own
// auto_explain, over the very sessions that our code uses.

import pg from 'pg'
import type { TestDatabase } from './database.ts'
import type { DatabaseRole } from './servers.ts'

/** One scan of a table or an index, all its repetitions together. */
export type Scan = {
  table: string
  /** Undefined where the table itself was read from its beginning. */
  index: string | undefined
  /** Rows looked at, also those that a filter then left out. */
  rows: number
}
export type Plan = { query: string; scans: readonly Scan[]; blocks: number }

export type PlanRecorder = {
  /** The plans of what `work` ran. */
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

/** Has the sessions that these roles open from now on tell their plans. */
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

/** Every session of this process passes here, since pools tell nobody of theirs. Returns what undoes it. */
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

/** @param heap the table whose rows a bitmap of an index leads to */
function scansOf(node: Node, heap = ''): Scan[] {
  const table = node['Relation Name'] ?? heap
  const below = (node.Plans ?? []).flatMap((child) => scansOf(child, table))
  if (!READERS.has(node['Node Type'])) return below
  const removed = (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)
  const rows = ((node['Actual Rows'] ?? 0) + removed) * (node['Actual Loops'] ?? 1)
  return [...below, { table, index: node['Index Name'], rows }]
}
