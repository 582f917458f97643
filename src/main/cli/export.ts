// holdfast export settled: settled money for accountants, from the ledger, as CSV or JSON. Reads only, with a role that
// cannot write.

import { InvalidArgumentError, Option, type Command } from 'commander'
import { stringify } from 'csv-stringify/sync'
import { openDatabase } from '../../db/connection/pool.ts'
import { findLedgerSums, POSTED_WITHIN_MS, readPostings, type Period } from '../../db/settlement.ts'
import { FoundError, UsageError } from './exit.ts'
import { parseDatabaseUrl } from './option.ts'
import { formatJson } from './print.ts'
import { databaseUrlOf, findStack, type Shell } from './session.ts'
import { COLUMNS, settledRows, type SettledRow } from './settled.ts'

const DAY_MS = 86_400_000
const POOL_SIZE = 1

type ExportOptions = { from: Date; to: Date; format: 'csv' | 'json'; database?: string; readyFile?: string }

export function addExportCommand(program: Command, shell: Shell): void {
  program
    .command('export')
    .description('export settled money for accountants; reads only')
    .command('settled')
    .description('postings of the ledger with the sums of each day and of all, which equal the ledger; times in UTC')
    .requiredOption('--from <day>', 'first day, YYYY-MM-DD in UTC', parseDay)
    .requiredOption('--to <day>', 'last day, YYYY-MM-DD in UTC', parseDay)
    .addOption(new Option('--format <format>', 'of the output').choices(['csv', 'json']).default('csv'))
    .option('--database <url>', 'Postgres, as the auditor, without a password (DATABASE_URL)', parseDatabaseUrl)
    .action(async (_options: object, command: Command) =>
      exportSettled(shell, command.optsWithGlobals<ExportOptions>(), Date.now()),
    )
}

function parseDay(text: string): Date {
  const day = new Date(`${text}T00:00:00Z`)
  if (/^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text)) return day
  throw new InvalidArgumentError('Not a day such as 2026-01-31.')
}

/**
 * The days from `from` to `to`, both included; of a day that is not over, what can change no more.
 * @throws {UsageError} if nothing of it has passed
 */
export function periodOf({ from, to }: Pick<ExportOptions, 'from' | 'to'>, now: number): Period {
  const until = new Date(Math.min(to.getTime() + DAY_MS, now - POSTED_WITHIN_MS))
  if (until > from) return { from, until }
  throw new UsageError(to < from ? '--to is before --from' : '--from has not begun')
}

async function exportSettled(shell: Shell, options: ExportOptions, now: number): Promise<void> {
  const period = periodOf(options, now)
  const { ready, found } = await findStack(shell, options.readyFile)
  const database = await openDatabase({
    url: found(databaseUrlOf(shell.config, options.database) ?? ready?.audit.database, '--database'),
    poolSize: POOL_SIZE,
    applicationName: 'holdfast-export',
  })
  try {
    const rows = settledRows(readPostings(database.sql, period), () => findLedgerSums(database.sql, period))
    if (!(await WRITERS[options.format](rows, period, shell.write)))
      throw new FoundError('the totals of the export are not the sums of the ledger')
  } finally {
    await database.close()
  }
}

type Rows = AsyncGenerator<SettledRow, boolean>
type Writer = (rows: Rows, period: Period, write: (text: string) => void) => Promise<boolean>

async function forEach(rows: Rows, use: (row: SettledRow) => void): Promise<boolean> {
  for (;;) {
    const next = await rows.next()
    if (next.done === true) return next.value
    use(next.value)
  }
}

const WRITERS: Readonly<Record<ExportOptions['format'], Writer>> = {
  csv: async (rows, _period, write) => {
    write(stringify([COLUMNS]))
    return forEach(rows, (row) => write(stringify([row], { columns: [...COLUMNS] })))
  },
  json: async (rows, { from, until }, write) => {
    const head = { timeZone: 'UTC', from: from.toISOString(), until: until.toISOString() }
    write(`${formatJson(head, 0).slice(0, -1)},"rows":[`)
    let separator = '\n'
    const isEqual = await forEach(rows, (row) => {
      write(`${separator}${formatJson(row, 0)}`)
      separator = ',\n'
    })
    write(`\n],"reconciles":${isEqual}}\n`)
    return isEqual
  },
}
