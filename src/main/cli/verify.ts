// holdfast verify: checks that orders, stock, payments and workflows agree. Reads only, with a role that cannot write.

import { Client, Connection } from '@temporalio/client'
import type { Command } from 'commander'
import type { ConsistencyReport } from '../../db/consistency.ts'
import { openDatabase } from '../../db/connection/pool.ts'
import { KEEPALIVE } from '../../grpc/client.ts'
import { checkConsistency, CONSISTENCY_CHECKS } from '../../relay/consistency.ts'
import { readTemporalTls, temporalOptions } from '../temporal_connection.ts'
import { endingOf, FoundError, UnverifiedError } from './exit.ts'
import { parseAddress, parseDatabaseUrl } from './option.ts'
import { formatFields, formatTable, print } from './print.ts'
import { databaseUrlOf, findStack, type Shell } from './session.ts'

const POOL_SIZE = 2
const CONNECT_WITHIN = '5 seconds'

type VerifyOptions = { database?: string; temporal?: string; namespace?: string; json?: boolean; readyFile?: string }

export function addVerifyCommand(program: Command, shell: Shell): void {
  program
    .command('verify')
    .description('check that orders, stock, payments and workflows agree; reads only')
    .option('--database <url>', 'Postgres, as the auditor, without a password (DATABASE_URL)', parseDatabaseUrl)
    .option('--temporal <host:port>', 'Temporal (TEMPORAL_ADDRESS)', parseAddress)
    .option('--namespace <name>', 'where the orders’ workflows are (TEMPORAL_NAMESPACE)')
    .action(async (_options: object, command: Command) => {
      const options = command.optsWithGlobals<VerifyOptions>()
      const report = await checkShop(shell, options)
      print({ json: options.json === true, write: shell.write }, reportView(report), () => describe(report))
      const count = report.differences.length
      if (count > 0) throw new FoundError(`${count} ${count === 1 ? 'difference' : 'differences'}`)
    })
}

/** @throws {UnverifiedError} if anything prevented a verdict */
async function checkShop(shell: Shell, options: VerifyOptions): Promise<ConsistencyReport> {
  const closing: (() => Promise<unknown>)[] = []
  try {
    const { config } = shell
    const { ready, found } = await findStack(shell, options.readyFile)
    const database = await openDatabase({
      url: found(databaseUrlOf(config, options.database) ?? ready?.audit.database, '--database'),
      poolSize: POOL_SIZE,
      applicationName: 'holdfast-verify',
    })
    closing.push(database.close)
    const address = found(options.temporal ?? config.TEMPORAL_ADDRESS ?? ready?.temporal.address, '--temporal')
    const connectionOptions = temporalOptions(address, KEEPALIVE, await readTemporalTls(config, address))
    const connection = await Connection.connect({ ...connectionOptions, connectTimeout: CONNECT_WITHIN })
    closing.push(() => connection.close())
    const namespace = found(options.namespace ?? config.TEMPORAL_NAMESPACE ?? ready?.temporal.namespace, '--namespace')
    return await checkConsistency({ database, client: new Client({ connection, namespace }) })
  } catch (error) {
    throw new UnverifiedError(`verification failed: ${endingOf(error).message}`, { cause: error })
  } finally {
    for (const close of closing) await close()
  }
}

const reportView = ({ startedAt, looked, differences }: ConsistencyReport) => ({
  isConsistent: differences.length === 0,
  startedAt: startedAt.toISOString(),
  looked,
  differences: differences.map((difference) => ({ ...difference, says: CONSISTENCY_CHECKS[difference.check] ?? '' })),
})

function describe({ looked, differences }: ConsistencyReport): string {
  const checks = Object.keys(CONSISTENCY_CHECKS).length
  const verdict = differences.length === 0 ? 'all checks passed' : 'DIFFERENCES FOUND'
  const summary = formatFields({ ...looked, checks, verdict })
  if (differences.length === 0) return summary
  const rows = differences.map(({ check, subject, detail }) => ({ check, about: subject, found: detail }))
  const said = [...new Set(differences.map(({ check }) => check))].map(
    (check) => `${check}: ${CONSISTENCY_CHECKS[check] ?? ''}`,
  )
  return [summary, '', formatTable(rows), '', 'What each check requires:', ...said].join('\n')
}
