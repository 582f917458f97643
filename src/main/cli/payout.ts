// holdfast payout ...: shows payouts of refunds, carries transactions to a signer that is not online and back, and makes
// the decisions about a payout that only an operator may make. It uses the database directly, as the worker's role.

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { InvalidArgumentError, type Command } from 'commander'
import { openDatabase, type Database } from '../../db/connection/pool.ts'
import { replacePayout, storeSignature, type OpenPayout } from '../../db/payout.ts'
import {
  findAllOpenPayouts,
  findPayingRefund,
  listPayouts,
  releasePayout,
  settlePayout,
} from '../../db/payout_operation.ts'
import type { Actor } from '../../domain/audit.ts'
import { MACHINE_PATTERN, MACHINE_RULE } from '../../domain/identifier.ts'
import { ASSET_POLICY } from '../../domain/payment.ts'
import { bumpedPriceOf } from '../../domain/payout.ts'
import { fileNameOf, parseSignedFile, readSmallFile, unsignedFileOf, writeWhole } from '../../payout/file_signer.ts'
import { createPayoutNode } from '../../payout/node.ts'
import { findSettlement } from '../../payout/settlement.ts'
import { readSigned, SignatureRefused } from '../../payout/transaction.ts'
import { RefusedError, UsageError } from './exit.ts'
import { countArgument, MAX_PAGE, parseDatabaseUrl, parseUuid } from './option.ts'
import { formatTable, print } from './print.ts'
import { databaseUrlOf, type Shell } from './session.ts'

const POOL_SIZE = 2
const MAX_OPEN = 1_000
const MAX_REASON_LENGTH = 200
const NO_PRICE = { maxFee: 0n, priorityFee: 0n }

const MAX_DEPTH = 10_000
/** The depth at which ether is final (payment.ts). */
const DEFAULT_DEPTH = ASSET_POLICY.ETH.confirmations

type PayoutOptions = {
  database?: string
  json?: boolean
  limit?: number
  operator?: string
  reason?: string
  transaction?: string
  node?: string
  confirmations?: number
}

const SETTLE_REFUSALS: Readonly<Record<string, string>> = {
  live: 'A payout of the refund may still be executed: see holdfast payout list.',
  taken: 'The transaction is another payout’s, or paid another refund.',
  conflict: 'The refund is paid by another transaction, or the transaction paid another refund.',
  refused: 'The refund has moved meanwhile.',
}

export function addPayoutCommands(program: Command, shell: Shell): void {
  const payout = program.command('payout').description('show payouts of refunds, and have them signed elsewhere')
  const command = (name: string, description: string) =>
    payout
      .command(name)
      .description(description)
      .option('--database <url>', 'Postgres, as the worker, without a password (DATABASE_URL)', parseDatabaseUrl)
  const operation = (name: string, description: string) =>
    command(name, description)
      .requiredOption('--operator <name>', 'who decides, for the audit', parseOperator)
      .requiredOption('--reason <text>', 'why, for the audit; no personal data', parseReason)

  command('list', 'show the newest payouts')
    .option('--limit <count>', `at most so many, up to ${MAX_PAGE}`, countArgument(1, MAX_PAGE), MAX_PAGE)
    .action(run(shell, (database, _none, { limit }) => showPayouts(database, limit)))

  command('export', 'write each transaction that waits for a signature to a file of its own')
    .argument('<folder>', 'where to; it is made if it is not there')
    .action(run(shell, exportUnsigned))

  operation('import', 'take the file of a signed transaction, which must be the one that was exported')
    .argument('<file>', 'as the signer wrote it')
    .action(run(shell, importSigned))

  operation('cancel', 'replace a payout that is not over by an empty transaction with its nonce, to be signed')
    .argument('<payout>', 'as payout list shows it', parseUuid)
    .action(run(shell, cancelPayout))

  operation('settle', 'say which transaction paid a refund whose payout failed; the chain must say so too')
    .argument('<refund>', 'as payout list shows it', parseUuid)
    .requiredOption('--transaction <id>', 'of the transaction, 0x and 64 hex digits', parseTxId)
    .requiredOption('--node <url>', 'JSON-RPC of an Ethereum node of yours', parseNodeUrl)
    .option('--confirmations <count>', 'blocks from which on it is final', countArgument(1, MAX_DEPTH), DEFAULT_DEPTH)
    .action(run(shell, settle))

  operation('release', 'let the refund of a failed payout be sent by another payout')
    .argument('<payout>', 'as payout list shows it', parseUuid)
    .action(run(shell, release))
}

/** `data` for programs, and `text` for people. */
type Answer = { data: unknown; text: string }
type Act = (database: Database, what: string, options: PayoutOptions) => Promise<Answer>

const run =
  (shell: Shell, act: Act) =>
  async (...given: unknown[]): Promise<void> => {
    const command = given.at(-1) as Command
    const options = command.optsWithGlobals<PayoutOptions>()
    const answer = await withDatabase(shell, options, (database) => act(database, command.args[0] ?? '', options))
    print({ json: options.json === true, write: shell.write }, answer.data, () => answer.text)
  }

async function showPayouts(database: Database, limit = MAX_PAGE): Promise<Answer> {
  const payouts = await listPayouts(database, limit)
  return { data: { payouts }, text: formatTable(payouts) }
}

async function exportUnsigned(database: Database, folder: string): Promise<Answer> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const files: string[] = []
  for (const payout of await findAllOpenPayouts(database, MAX_OPEN)) {
    const newest = payout.attempts.at(-1)
    if (newest === undefined || newest.signed !== undefined) continue
    const request = { ...payout, attempt: newest.attempt, transaction: newest.transaction }
    const path = join(folder, fileNameOf(request))
    await writeWhole(path, unsignedFileOf(request))
    files.push(path)
  }
  return { data: { files }, text: files.length === 0 ? 'nothing waits for a signature' : files.join('\n') }
}

async function importSigned(database: Database, path: string): Promise<Answer> {
  try {
    const text = await readSmallFile(path)
    if (text === undefined) throw new UsageError(`${path} is not there`)
    const { payoutId, attempt, raw } = parseSignedFile(text)
    const payout = await getOpen(database, payoutId)
    const expected = payout.attempts.find((each) => each.attempt === attempt)
    if (expected === undefined) throw new RefusedError('The payout has no such attempt: see holdfast payout list.')
    const signed = await readSigned(raw, expected.transaction)
    await storeSignature(database, payoutId, attempt, signed)
    const outcome = { payoutId, attempt, txId: signed.txId }
    return { data: outcome, text: `payout ${payoutId} is signed as ${signed.txId}, and the payer sends it` }
  } catch (error) {
    if (error instanceof SignatureRefused) throw new RefusedError(`${path} is refused: ${error.message}.`)
    throw error
  }
}

async function cancelPayout(database: Database, payoutId: string): Promise<Answer> {
  const newest = (await getOpen(database, payoutId)).attempts.at(-1)
  if (newest?.kind === 'fill') throw new RefusedError('The payout is being cancelled already.')
  const price = bumpedPriceOf(newest?.transaction ?? NO_PRICE, NO_PRICE)
  const after = { attempt: newest?.attempt ?? 0, kind: 'fill' } as const
  const outcome = await replacePayout(database, payoutId, after, price)
  if (outcome !== 'replaced') throw new RefusedError('The payout has moved meanwhile: see holdfast payout list.')
  return { data: { outcome }, text: 'an empty transaction takes its nonce, unless the payout was executed before' }
}

async function release(database: Database, payoutId: string): Promise<Answer> {
  if (!(await releasePayout(database, payoutId)))
    throw new RefusedError('Only a payout that failed is released, and once: see holdfast payout list.')
  return { data: { outcome: 'released' }, text: 'the payer makes another payout for its refund' }
}

async function settle(database: Database, refundId: string, options: PayoutOptions): Promise<Answer> {
  const { transaction: txId = '', node: url = '', confirmations = DEFAULT_DEPTH } = options
  const refund = await findPayingRefund(database, refundId)
  if (refund === undefined) throw new RefusedError('There is no such refund, or it is not being paid.')
  const node = createPayoutNode({ url, chainId: refund.senders[0]?.chainId ?? 0 })
  const { height } = await node.getHead()
  const paid = await findSettlement(node, { txId, settled: height - confirmations + 1 }, refund)
  if ('problem' in paid) throw new RefusedError(`The transaction ${paid.problem}.`)
  const outcome = await settlePayout(database, refundId, { txId, networkFee: paid.networkFee }, actorOf(options))
  if (outcome !== 'paid' && outcome !== 'repeated') throw new RefusedError(SETTLE_REFUSALS[outcome] ?? outcome)
  return { data: { outcome, txId }, text: `refund ${refundId} is paid by ${txId}` }
}

async function getOpen(database: Database, payoutId: string): Promise<OpenPayout> {
  const found = (await findAllOpenPayouts(database, MAX_OPEN)).find((each) => each.payoutId === payoutId)
  if (found === undefined) throw new RefusedError('There is no such payout, or it is over: see holdfast payout list.')
  return found
}

const actorOf = ({ operator = '', reason = '' }: Pick<PayoutOptions, 'operator' | 'reason'>): Actor => ({
  ...{ actor: `operator:${operator}`, role: 'admin', reason },
})

async function withDatabase<T>(
  { config }: Shell,
  { database: given, operator, reason }: PayoutOptions,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const url = databaseUrlOf(config, given)
  if (url === undefined) throw new UsageError('give --database or DATABASE_URL: Postgres, as the worker')
  const actor = operator === undefined || reason === undefined ? undefined : actorOf({ operator, reason })
  const opened = { url, poolSize: POOL_SIZE, applicationName: 'holdfast-payout', ...(actor && { actor }) }
  const database = await openDatabase(opened)
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

function parseOperator(text: string): string {
  if (MACHINE_PATTERN.test(text)) return text
  throw new InvalidArgumentError(`It ${MACHINE_RULE}.`)
}

function parseReason(text: string): string {
  if (text !== '' && text.length <= MAX_REASON_LENGTH) return text
  throw new InvalidArgumentError(`It must have 1 to ${MAX_REASON_LENGTH} characters.`)
}

function parseTxId(text: string): string {
  if (/^0x[0-9a-f]{64}$/.test(text)) return text
  throw new InvalidArgumentError('It must be 0x and 64 lower-case hex digits.')
}

function parseNodeUrl(text: string): string {
  if (/^https?:$/.test(URL.parse(text)?.protocol ?? '')) return text
  throw new InvalidArgumentError('It must be a URL of http or https.')
}
