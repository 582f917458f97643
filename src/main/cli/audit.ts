// holdfast audit ...: verifies the sealed audit history, and proves what was done to an order.

import { access, readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { CHECKS, type Finding } from '../../audit/finding.ts'
import type { Verdict } from '../../audit/verification.ts'
import { checkProof, PROOF_FILE } from '../../audit/proof.ts'
import { verifyAudit } from '../../audit/verify.ts'
import { formatCheckpoint } from '../../audit/witness.ts'
import { openDatabase } from '../../db/connection/pool.ts'
import type { GetOrderHistoryResponse } from '../../grpc/client.ts'
import { loadSealerKeys, type SealerKeys } from '../../keyvault/checkpoint.ts'
import { SecretError } from '../../keyvault/secret.ts'
import { FoundError, UsageError } from './exit.ts'
import { MAX_PAGE, parseDatabaseUrl, parseUuid } from './option.ts'
import { formatFields, formatJson, formatTable, print, type Row } from './print.ts'
import { callerOptions, databaseUrlOf, findStack, withSession, type Shell } from './session.ts'

const POOL_SIZE = 2

type VerifyOptions = { database?: string; file?: string; publicKeys?: string; json?: boolean; readyFile?: string }

export function addAuditCommands(program: Command, shell: Shell): void {
  const audit = program.command('audit').description('verify the audit history and prove entries of it')

  audit
    .command('verify')
    .description("compare the whole audit history with the sealer's checkpoints; reads only")
    .option('--database <url>', 'Postgres, as the auditor, without a password (DATABASE_URL)', parseDatabaseUrl)
    .option('--file <path>', "the sealer's file or a copy of it (HOLDFAST_AUDIT_FILE)")
    .option('--public-keys <path>', 'trusted public keys of the sealer, PEM (HOLDFAST_SEAL_PUBLIC_KEYS_FILE)')
    .action(async (_options: object, command: Command) => verify(shell, command.optsWithGlobals<VerifyOptions>()))

  const proof = audit
    .command('proof')
    .description("print an order's history with proofs, as JSON for `audit check`")
    .argument('<order>', 'order id', parseUuid)
  callerOptions(proof, 'auditor').action(async (orderId: string, _options: object, command: Command) =>
    withSession(shell, command, async ({ admin, output }) => {
      const client = admin()
      const entries: object[] = []
      let cursor = ''
      do {
        const answer = await client.audit.getOrderHistory({ orderId, limit: MAX_PAGE, cursor })
        entries.push(...provenEntries(answer))
        cursor = answer.nextCursor
      } while (cursor !== '')
      output.write(`${formatJson({ format: PROOF_FILE.shape.format.value, orderId, entries })}\n`)
    }),
  )

  audit
    .command('check')
    .description('verify a proof offline: without server or database, with the public key only')
    .argument('<file>', 'what `audit proof` printed')
    .option('--public-keys <path>', 'trusted public keys of the sealer, PEM (HOLDFAST_SEAL_PUBLIC_KEYS_FILE)')
    .action(async (path: string, _options: object, command: Command) =>
      check(shell, path, command.optsWithGlobals<VerifyOptions>()),
    )
}

async function verify(shell: Shell, options: VerifyOptions): Promise<void> {
  const { config, write } = shell
  const { ready, found } = await findStack(shell, options.readyFile)
  const database = await openDatabase({
    url: found(databaseUrlOf(config, options.database) ?? ready?.audit.database, '--database'),
    poolSize: POOL_SIZE,
    applicationName: 'holdfast-audit-verify',
  })
  try {
    const file = found(options.file ?? config.HOLDFAST_AUDIT_FILE ?? ready?.audit.file, '--file')
    await access(file).catch(() => refuseFile(file))
    const verdict = await verifyAudit({ database, file, keys: await readKeys(shell, options) })
    print({ json: options.json === true, write }, verdictView(verdict), () => describe(verdict))
    if (verdict.findings.length > 0) throw new FoundError(`${verdict.findings.length} findings: history was changed`)
  } finally {
    await database.close()
  }
}

async function check(shell: Shell, path: string, options: VerifyOptions): Promise<void> {
  const file = PROOF_FILE.safeParse(parseJson(await readFileOf(path)))
  if (!file.success) throw new UsageError(`${path} is not the output of \`audit proof\``)
  const verdict = checkProof(file.data, await readKeys(shell, options))
  const problems = verdict.problems.map(({ entryId, problem }) => ({ entry: String(entryId), problem }))
  const { sealed, unsealed } = verdict
  print({ json: options.json === true, write: shell.write }, { sealed, unsealed, problems }, () =>
    problems.length === 0 ? formatFields({ proven: sealed, 'not yet sealed': unsealed }) : formatTable(problems),
  )
  if (problems.length > 0) throw new FoundError('the proof is not valid')
}

async function readKeys(shell: Shell, options: VerifyOptions): Promise<SealerKeys> {
  const given = options.publicKeys ?? shell.config.HOLDFAST_SEAL_PUBLIC_KEYS_FILE
  const { ready, found } = await findStack(shell, options.readyFile)
  const path = found(given ?? ready?.audit.publicKeys, '--public-keys')
  try {
    return loadSealerKeys(path, await readFileOf(path))
  } catch (error) {
    throw error instanceof SecretError ? new UsageError(error.message) : error
  }
}

async function readFileOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => refuseFile(path))
}

function refuseFile(path: string): never {
  throw new UsageError(`${path} cannot be read`)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** The page in PROOF_FILE's format. */
function provenEntries({ entries, checkpoint }: GetOrderHistoryResponse): object[] {
  const sealed = checkpoint && {
    ...{ no: Number(checkpoint.number), continues: Number(checkpoint.continues), size: Number(checkpoint.size) },
    ...{ root: hex(checkpoint.root), afterEntryId: checkpoint.afterEntryId, lastEntryId: checkpoint.lastEntryId },
    ...{ belowTxid: checkpoint.belowTxid, at: checkpoint.sealedAt, previous: hex(checkpoint.previous) },
    ...{ keyId: checkpoint.keyId, signature: Buffer.from(checkpoint.signature).toString('base64') },
  }
  return entries.map(({ entryId, txid, seq, prevHash, body, hash, proof }) => ({
    ...{ entryId: String(entryId), txid: String(txid), seq: String(seq) },
    prevHash: prevHash.length === 0 ? null : hex(prevHash),
    ...{ body, hash: hex(hash) },
    seal:
      proof === undefined || sealed === undefined
        ? null
        : {
            leafIndex: Number(proof.leafIndex),
            path: proof.path.map(hex),
            checkpoint: JSON.parse(formatCheckpoint(sealed)) as object,
          },
  }))
}

const verdictView = ({ findings, last, ...rest }: Verdict) => ({
  isRight: findings.length === 0,
  ...rest,
  last: last === undefined ? null : { no: last.no, size: last.size, root: last.root, at: last.at },
  findings: findings.map(findingView),
})

const findingView = ({ entryId, seq, ...rest }: Finding) => ({
  ...rest,
  meaning: CHECKS[rest.check],
  ...(entryId !== undefined && { entryId: String(entryId) }),
  ...(seq !== undefined && seq !== null && { seq: String(seq) }),
})

function describe({ findings, isComplete, ...verdict }: Verdict): string {
  const { last, entries, unsealed, purged, chains, products, abandoned } = verdict
  const lines = [
    formatFields({
      entries,
      chains,
      products,
      'not yet sealed': unsealed,
      ...(purged > 0 && { 'purged after retention': purged }),
      ...(abandoned > 0 && { 'checkpoints abandoned by a restore': abandoned }),
      'last checkpoint': last === undefined ? null : `${last.no} of ${last.at}, over ${last.size} entries`,
      verdict: findings.length === 0 ? 'the history matches its checkpoints' : 'HISTORY WAS CHANGED',
    }),
  ]
  if (findings.length > 0) lines.push('', formatTable(findings.map(findingRow)))
  if (!isComplete) lines.push('', 'Too many findings: the rest was not checked.')
  return lines.join('\n')
}

const findingRow = ({ check: name, checkpoint, entryId, kind, aggregateId, seq, where, leaf }: Finding): Row => ({
  check: name,
  checkpoint: checkpoint ?? null,
  entry: entryId === undefined ? null : String(entryId),
  about: kind === undefined ? (where ?? (leaf === undefined ? null : `leaf ${leaf}`)) : `${kind} ${aggregateId ?? ''}`,
  seq: seq === undefined || seq === null ? null : String(seq),
  meaning: CHECKS[name],
})
