// holdfast chain ...: shows the positions of the watchers, and makes the decisions about a chain that only an operator
// may make. It uses the database directly, as the watcher's role; to retire a source, as the owner of the tables.

import { InvalidArgumentError, type Command } from 'commander'
import {
  allowRewind,
  attributeBalance,
  listChains,
  resumeChain,
  setAside,
  setStart,
  settleReport,
  type OutputName,
} from '../../db/chain/operation.ts'
import { listDeadReports } from '../../db/chain/outbox.ts'
import { findOwnSource, findSources, retireSource } from '../../db/chain/source.ts'
import { openDatabase, sqlStateOf, type Database } from '../../db/connection/pool.ts'
import { MACHINE_PATTERN, MACHINE_RULE, NETWORK_PATTERN, NETWORK_RULE } from '../../domain/identifier.ts'
import { RefusedError, UsageError } from './exit.ts'
import { countArgument, parseDatabaseUrl } from './option.ts'
import { formatTable, print } from './print.ts'
import { databaseUrlOf, type Shell } from './session.ts'

const POOL_SIZE = 1
const MAX_HEIGHT = Number.MAX_SAFE_INTEGER
const MAX_REASON_LENGTH = 200
/** The default of HOLDFAST_SOURCE, for a network that no watcher has read yet. */
const FIRST_SOURCE = 'watcher-1'
/** SQLSTATE of a statement that the login may not execute. */
const INSUFFICIENT_PRIVILEGE = '42501'
/** An output as `chain list` shows it: transaction id and number. */
const OUTPUT_PATTERN = /^([\dA-Za-z]{64,88}):(\d{1,9})$/

type ChainOptions = {
  database?: string
  json?: boolean
  source?: string
  operator: string
  reason: string
  dropUnsettled?: boolean
  seenAt?: Date
  height?: number
}

const WHY: Readonly<Record<string, string>> = {
  retired: 'This source is retired already.',
  unknown: 'There is nothing to decide on: see holdfast chain list. Attributed money is reported first.',
  unsettled:
    'Transfers below this height are not final yet: wait until the watcher has settled them. Where its node no longer has their blocks: --drop-unsettled.',
  above_tip: "This height is above the node's next block: the watcher would read nothing until then.",
  unread: 'No block between this height and that of the balance is stored: give the time with --seen-at instead.',
  elsewhere:
    'Another source has reported outputs to this address, which may be this money. Once they are final, what is left is unexplained: see holdfast chain list.',
  stale: 'The balance was read at an older block. A running watcher reads it again: try again in a few blocks.',
}

export function addChainCommands(program: Command, shell: Shell): void {
  const chain = program.command('chain').description('show the positions of the watchers, and correct them manually')

  addOptions(
    chain
      .command('list')
      .description('show each source of each chain, money that no transfer explains, and refused reports'),
  ).action(async (_options: object, command: Command) => list(shell, command))

  const operation = (name: string, description: string) =>
    addDecision(
      addOptions(
        chain.command(name).description(description).argument('<network>', 'name of the network', parseNetwork),
      ),
    ).option('--source <name>', "whose rows (default: the network's only source)", parseSource)
  const height = countArgument(0, MAX_HEIGHT)

  operation('start', 'read a chain from this height on, as if for the first time')
    .argument('<height>', 'first block to read', height)
    .option('--drop-unsettled', 'report transfers of earlier blocks that are not final as dropped')
    .action(act(shell, (database, network, at: number, by) => setStart(database, network, at, by)))

  operation('rewind', 'allow one reorganisation to go back to a height below blocks that were reported as final')
    .argument('<height>', 'lowest block that the watcher may go back to', height)
    .action(act(shell, (database, network, at: number, by) => allowRewind(database, network, at, by)))

  operation('resume', 'end the suspension of a chain after a reorganisation below final blocks').action(
    async (network: string, _options: object, command: Command) =>
      act(shell, (database, name, _what: undefined, by) => resumeChain(database, name, by))(
        network,
        undefined,
        {},
        command,
      ),
  )

  operation('attribute', 'report the unexplained money of an address as a payment to its order')
    .argument('<address>', 'as chain list shows it')
    .option('--seen-at <time>', 'when it arrived, ISO 8601 (default: when it was found)', parseTime)
    .option('--height <height>', 'the block it arrived in; its time is used', height)
    .action(act(shell, (database, network, address: string, by) => attributeBalance(database, network, address, by)))

  operation('set-aside', 'decide that the unexplained money of an address is not a payment')
    .argument('<address>', 'as chain list shows it')
    .action(act(shell, (database, network, address: string, by) => setAside(database, network, address, by)))

  addRetire(chain, shell)

  operation('report-again', 'report the present state of an output again, under a sequence number that is free')
    .argument('<output>', 'TRANSACTION:NUMBER, as chain list shows it', parseOutput)
    .action(
      act(shell, (database, network, at: OutputName, by) => settleReport(database, network, 'report_again', at, by)),
    )

  operation('discard', 'delete the refused reports of an output, and drop it until its block is read again')
    .argument('<output>', 'TRANSACTION:NUMBER, as chain list shows it', parseOutput)
    .action(act(shell, (database, network, at: OutputName, by) => settleReport(database, network, 'discard', at, by)))
}

function addRetire(chain: Command, shell: Shell): void {
  const retire = chain
    .command('retire')
    .description('end the say of a source for ever: no order waits for it, and its word stands against no other')
    .argument('<source>', 'name of the source', parseSource)
    .option(
      '--database <url>',
      'Postgres, as the owner of the tables, without a password (DATABASE_URL)',
      parseDatabaseUrl,
    )
  addDecision(retire).action(async (source: string, _options: object, command: Command) => {
    const options = command.optsWithGlobals<ChainOptions>()
    const orders = await withDatabase(shell, options, undefined, (database) =>
      retireSource(database, source, options),
    ).catch((error: unknown) => {
      if (sqlStateOf(error) !== INSUFFICIENT_PRIVILEGE) throw error
      throw new RefusedError("This login may not retire a source: use that of the tables' owner.")
    })
    if (orders === 'retired') throw new RefusedError(WHY[orders] ?? orders)
    print({ json: options.json === true, write: shell.write }, { outcome: 'done', orders }, () => 'done')
  })
}

const addDecision = (command: Command): Command =>
  command
    .requiredOption('--operator <name>', 'who decides, for the audit', parseOperator)
    .requiredOption('--reason <text>', 'why, for the audit; no personal data', parseReason)

const addOptions = (command: Command): Command =>
  command.option('--database <url>', 'Postgres, as the watcher, without a password (DATABASE_URL)', parseDatabaseUrl)

/** The action of a command that changes one thing. */
const act =
  <What>(
    shell: Shell,
    change: (database: Database, network: string, what: What, by: ChainOptions) => Promise<string>,
  ) =>
  async (network: string, what: What, _options: object, command: Command): Promise<void> => {
    const options = command.optsWithGlobals<ChainOptions>()
    const source = options.source ?? (await findOnlySource(shell, options, network))
    const outcome = await withDatabase(shell, options, source, (database) => change(database, network, what, options))
    if (outcome !== 'done') throw new RefusedError(WHY[outcome] ?? outcome)
    print({ json: options.json === true, write: shell.write }, { outcome }, () => outcome)
  }

/** The one source of a network, for a command that names none. @throws {UsageError} where there are several */
async function findOnlySource(shell: Shell, options: ChainOptions, network: string): Promise<string> {
  const sources = await withDatabase(shell, options, undefined, (database) => findSources(database, network))
  if (sources.length > 1) throw new UsageError(`${network} has several sources: give --source, ${sources.join(' or ')}`)
  return sources[0] ?? FIRST_SOURCE
}

async function list(shell: Shell, command: Command): Promise<void> {
  const options = command.optsWithGlobals<ChainOptions>()
  const [found, dead] = await withDatabase(shell, options, undefined, async (database) => [
    await listChains(database),
    await listDeadReports(database),
  ])
  const chains = found.chains.map((each) => ({ ...each, caughtUpAt: each.caughtUpAt?.toISOString() ?? null }))
  const evidence = found.evidence.map((each) => ({
    ...each,
    balance: String(each.balance),
    unexplained: String(each.unexplained),
    foundAt: each.foundAt.toISOString(),
  }))
  const refused = dead.map(({ txId, outputIndex, ...each }) => ({ ...each, output: `${txId}:${outputIndex}` }))
  print({ json: options.json === true, write: shell.write }, { chains, evidence, dead }, () =>
    [
      formatTable(chains),
      ...(evidence.length === 0 ? [] : ['', 'Unexplained money:', formatTable(evidence)]),
      ...(refused.length === 0 ? [] : ['', 'Refused reports:', formatTable(refused)]),
    ].join('\n'),
  )
}

async function withDatabase<T>(
  { config }: Shell,
  options: Pick<ChainOptions, 'database'>,
  source: string | undefined,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const url = databaseUrlOf(config, options.database)
  if (url === undefined)
    throw new UsageError('give --database or DATABASE_URL: Postgres, as the watcher; to retire a source, as the owner')
  const own = source === undefined ? {} : { source }
  const database = await openDatabase({ url, poolSize: POOL_SIZE, applicationName: 'holdfast-chain', ...own })
  try {
    if (source !== undefined && (await findOwnSource(database)) !== source)
      throw new RefusedError(`This login may not write for the source ${source}: it is bound to another one.`)
    return await work(database)
  } finally {
    await database.close()
  }
}

const matching = (pattern: RegExp, rule: string) => (text: string) => {
  if (pattern.test(text)) return text
  throw new InvalidArgumentError(`It ${rule}.`)
}
const parseNetwork = matching(NETWORK_PATTERN, NETWORK_RULE)
const parseSource = matching(MACHINE_PATTERN, MACHINE_RULE)
const parseOperator = matching(MACHINE_PATTERN, MACHINE_RULE)

function parseOutput(text: string): OutputName {
  const [, txId, outputIndex] = OUTPUT_PATTERN.exec(text) ?? []
  if (txId === undefined)
    throw new InvalidArgumentError('It must be TRANSACTION:NUMBER, as holdfast chain list shows it.')
  return { txId, outputIndex: Number(outputIndex) }
}

function parseReason(text: string): string {
  if (text !== '' && text.length <= MAX_REASON_LENGTH) return text
  throw new InvalidArgumentError(`It must have 1 to ${MAX_REASON_LENGTH} characters.`)
}

function parseTime(text: string): Date {
  const time = new Date(text)
  if (!Number.isNaN(time.getTime())) return time
  throw new InvalidArgumentError('Not a time.')
}
