// holdfast preflight PROCESS: checks the configuration, the secrets and the dependencies of a process without starting it,
// and with --deployed the running api too. It reads the environment of that process and changes nothing.

import { Argument, type Command } from 'commander'
import { ConfigError, loadConfig, readSecretFile } from '../../config.ts'
import { createClient } from '../../grpc/client.ts'
import { readClientTls } from '../../grpc/tls.ts'
import { checkDependencies, withDatabase, type CheckResult } from '../dependency.ts'
import { checkDeployed } from '../deployed.ts'
import { inspectSecrets } from '../preflight.ts'
import { SERVICE_NAMES, type ServiceName } from '../process.ts'
import { FoundError, UsageError } from './exit.ts'
import { parseAddress } from './option.ts'
import { formatTable, print } from './print.ts'
import type { Shell } from './session.ts'

const CONFIGURATION = 'configuration and secrets'

type PreflightOptions = {
  deployed?: boolean
  json?: boolean
  api?: string
  admin?: string
  metrics?: string
  tokenFile?: string
}

export function addPreflightCommand(program: Command, shell: Shell): void {
  program
    .command('preflight')
    .description('check the configuration and the dependencies of a process in its environment; starts nothing')
    .addArgument(new Argument('<process>', 'whose environment this is').choices(SERVICE_NAMES))
    .option('--deployed', 'check the running api too, with --token-file of a customer (PRE-1 to PRE-12)')
    .option('--metrics <host:port>', "the api's operators' port (default: that of its configuration)", parseAddress)
    .action(async (name: ServiceName, _options: object, command: Command) => {
      const options = command.optsWithGlobals<PreflightOptions>()
      if (options.deployed === true && name !== 'api') throw new UsageError('--deployed checks the api only')
      const findings = options.deployed === true ? await checkRunning(shell, options) : await checkProcess(shell, name)
      print({ json: options.json === true, write: shell.write }, { findings: findings.map(viewOf) }, () =>
        formatTable(findings.map(viewOf)),
      )
      const failed = findings.filter(({ problem }) => problem !== undefined).length
      if (failed > 0) throw new FoundError(`${failed} of ${findings.length} checks failed`)
    })
}

const viewOf = ({ check, problem }: CheckResult) => ({ check, result: problem ?? 'ok' })

/** The configuration of a process; each line of its refusal is a finding. */
async function checkProcess({ env }: Shell, name: ServiceName): Promise<CheckResult[]> {
  try {
    const config = loadConfig(name, env, inspectSecrets(name))
    return [{ check: CONFIGURATION, problem: undefined }, ...(await checkDependencies(name, config))]
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const [, ...lines] = error.message.split('\n')
    return lines.map((line) => ({ check: CONFIGURATION, problem: line.trim() }))
  }
}

async function checkRunning(shell: Shell, options: PreflightOptions): Promise<CheckResult[]> {
  const found = await checkProcess(shell, 'api')
  const first = found[0]
  if (first === undefined || first.problem !== undefined) return found
  const config = loadConfig('api', shell.env)
  const isHere = config.HOLDFAST_TLS === 'here' && config.HOLDFAST_TLS_CERT_FILE !== undefined
  const api = options.api ?? `127.0.0.1:${config.HOLDFAST_GRPC_PORT}`
  const admin = options.admin ?? `127.0.0.1:${config.HOLDFAST_ADMIN_PORT}`
  const {
    HOLDFAST_API_CA_FILE: caFile,
    HOLDFAST_API_CERT_FILE: certFile,
    HOLDFAST_API_KEY_FILE: keyFile,
  } = shell.config
  const tls = isHere ? await readClientTls({ caFile, certFile, keyFile }) : undefined
  const token = readToken(shell, options)
  const client = createClient({ address: api, token: () => token, tls })
  const plain = [api, admin].map((address) => createClient({ address, token: () => '' }))
  try {
    const metricsUrl = `http://${options.metrics ?? `127.0.0.1:${config.HOLDFAST_METRICS_PORT}`}`
    const checked = await withDatabase(config.DATABASE_URL, (database) =>
      checkDeployed({ config, env: shell.env, client, plain, metricsUrl, database }),
    )
    return [...found, ...checked]
  } finally {
    for (const each of [client, ...plain]) each.close()
  }
}

function readToken({ config }: Shell, { tokenFile }: PreflightOptions): string {
  const path = tokenFile ?? config.HOLDFAST_TOKEN_FILE
  const token = path === undefined ? config.HOLDFAST_TOKEN : readSecretFile('HOLDFAST_TOKEN_FILE', path)
  if (token === undefined) throw new UsageError('--deployed needs the token of a customer: give --token-file')
  return token
}
