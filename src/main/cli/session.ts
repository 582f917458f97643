// A command's connection and caller: a running development stack found by its ready file, or a server named on the
// command line with a token for it.

import { readFile } from 'node:fs/promises'
import { Option, type Command } from 'commander'
import { readSecretFile, type Config } from '../../config.ts'
import { usesTls } from '../../domain/deployment.ts'
import { ROLES, type Role } from '../../domain/access.ts'
import { createAdminClient, createClient, type HoldfastClient } from '../../grpc/client.ts'
import { CertificateError, readClientTls, type ClientTls } from '../../grpc/tls.ts'
import { hasDevelopmentMark } from '../../keyvault/secret.ts'
import { loadTokenSecrets, signDevelopmentToken } from '../../keyvault/token.ts'
import { DEFAULT_DATA_DIR, findReady, PEOPLE, readyFileIn, type Ready } from '../ready_file.ts'
import { UnavailableError, UsageError } from './exit.ts'
import { parseAddress } from './option.ts'
import type { Output } from './print.ts'

/** Everything outside the process that a command uses. */
export type Shell = {
  config: Config<'cli'>
  /** The environment of the process that `preflight` checks; this program's own by default. */
  env?: NodeJS.ProcessEnv
  /** Prints answers (`write`) and errors of the command line. */
  write: (text: string) => void
  complain: (text: string) => void
  /** For commands that run until Ctrl-C: installs the handler and returns a signal that it aborts. */
  untilInterrupted: () => AbortSignal
}

export type AdminClient = ReturnType<typeof createAdminClient>

export type Session = {
  output: Output
  untilInterrupted: () => AbortSignal
  role: Role
  subject: string
  /** The subject as a user id. @throws {UsageError} for a caller without a user id */
  userId: () => bigint
  token: () => Promise<string>
  client: () => HoldfastClient
  admin: () => AdminClient
  /** URL of the development chain. @throws {UnavailableError} if there is none */
  chainUrl: () => string
}

type GlobalOptions = {
  json?: boolean
  readyFile?: string
  api?: string
  admin?: string
  tokenFile?: string
  chain?: string
}
type CallerOptions = { role?: Role; user?: string }

/** Options of every command; `callerOptions` adds those of the caller. */
export const globalOptions = (command: Command): Command =>
  command
    .option('--json', 'print JSON instead of tables')
    .option('--ready-file <path>', 'ready file of the stack (HOLDFAST_READY_FILE; default: that of npm start)')
    .option('--api <host:port>', 'gRPC address (HOLDFAST_API)', parseAddress)
    .option('--admin <host:port>', 'admin gRPC address (HOLDFAST_ADMIN)', parseAddress)
    .option(
      '--token-file <path>',
      'access token, in a file (HOLDFAST_TOKEN_FILE or HOLDFAST_TOKEN; default: signed here, development only)',
    )
    .option('--chain <url>', 'JSON-RPC of the development chain')

/** Adds the options that select the caller. */
export const callerOptions = (command: Command, role: Role): Command =>
  command
    .addOption(new Option('--role <role>', 'role in the token').choices(ROLES).default(role))
    .option(
      '--user <id>',
      `user id in the token; a name for watcher and service (default: ${subjectOf(role)} as ${role})`,
    )

/** The first development user with the role. */
const subjectOf = (role: Role): string => Object.values(PEOPLE).find((person) => person.role === role)?.subject ?? '1'

/** Runs `work` with a session and closes its connections afterwards. */
export async function withSession(
  shell: Shell,
  command: Command,
  work: (session: Session) => Promise<void>,
): Promise<void> {
  const closing: (() => void)[] = []
  try {
    await work(await openSession(shell, command.optsWithGlobals<GlobalOptions & CallerOptions>(), closing))
  } finally {
    for (const close of closing) close()
  }
}

/** The running stack, if there is one. `found` names the option to give otherwise. */
export async function findStack({ config }: Pick<Shell, 'config'>, givenFile: string | undefined) {
  const readyFile = givenFile ?? config.HOLDFAST_READY_FILE ?? readyFileIn(DEFAULT_DATA_DIR)
  const ready = await findReady(readyFile).catch((error: unknown) => {
    throw new UsageError(`${readyFile} is not the ready file of a stack`, { cause: error })
  })
  const found = <T>(given: T | undefined, what: string): T => {
    if (given !== undefined) return given
    throw new UnavailableError(`no running stack was found (${readyFile}): start one with npm start, or give ${what}`)
  }
  return { ready, found }
}

async function openSession(
  shell: Shell,
  options: GlobalOptions & CallerOptions,
  closing: (() => void)[],
): Promise<Session> {
  const { config, write, untilInterrupted } = shell
  const { ready, found } = await findStack(shell, options.readyFile)
  const role = options.role ?? 'customer'
  const subject = options.user ?? subjectOf(role)
  const token = async (): Promise<string> =>
    (await findToken(config, options.tokenFile)) ?? (await signToken(found(ready, '--token-file'), role, subject))
  const [api, adminApi] = [
    options.api ?? config.HOLDFAST_API ?? ready?.api,
    options.admin ?? config.HOLDFAST_ADMIN ?? ready?.admin,
  ]
  const [tls, adminTls] = [await findTls(config, api), await findTls(config, adminApi)]
  const opened = <C extends { close: () => void }>(client: C): C => {
    closing.push(() => client.close())
    return client
  }
  return {
    output: { json: options.json === true, write },
    untilInterrupted,
    role,
    subject,
    userId: () => userIdOf(subject),
    token,
    client: () => opened(createClient({ address: found(api, '--api'), token, tls })),
    admin: () => opened(createAdminClient({ address: found(adminApi, '--admin'), token, tls: adminTls })),
    chainUrl: () => found(options.chain ?? ready?.chains.ethereum, '--chain'),
  }
}

/** The token of the command line's or the environment's file, or of the environment. */
async function findToken(config: Config<'cli'>, givenFile: string | undefined): Promise<string | undefined> {
  const path = givenFile ?? config.HOLDFAST_TOKEN_FILE
  if (path === undefined) return config.HOLDFAST_TOKEN
  const text = await readFile(path, 'utf8').catch(() => {
    throw new UsageError(`${givenFile === undefined ? 'HOLDFAST_TOKEN_FILE' : '--token-file'}: ${path} cannot be read`)
  })
  return text.trim()
}

/** TLS to every host except this machine and those named as private: a token must not travel in clear. */
async function findTls(config: Config<'cli'>, address: string | undefined): Promise<ClientTls | undefined> {
  const { HOLDFAST_API_CA_FILE: caFile, HOLDFAST_API_CERT_FILE: certFile, HOLDFAST_API_KEY_FILE: keyFile } = config
  const isAsked = [caFile, certFile, keyFile].some((file) => file !== undefined)
  if (address === undefined || (!isAsked && !usesTls(config, address))) return undefined
  return readClientTls({ caFile, certFile, keyFile }).catch((error: unknown) => {
    const names = 'HOLDFAST_API_CA_FILE, HOLDFAST_API_CERT_FILE or HOLDFAST_API_KEY_FILE'
    throw error instanceof CertificateError ? new UsageError(`${names}: ${error.message}`) : error
  })
}

/** The URL of the command line, with the password of DATABASE_PASSWORD_FILE; else DATABASE_URL. */
export function databaseUrlOf(config: Config<'cli'>, given: string | undefined): string | undefined {
  if (given === undefined || config.DATABASE_PASSWORD_FILE === undefined) return given ?? config.DATABASE_URL
  const url = new URL(given)
  url.password = encodeURIComponent(readSecretFile('DATABASE_PASSWORD_FILE', config.DATABASE_PASSWORD_FILE))
  return url.href
}

/** Signs with development secrets only: a copied or a forged ready file may name those of production. */
async function signToken({ jwt }: Ready, role: Role, subject: string): Promise<string> {
  const secrets = loadTokenSecrets(await readFile(jwt.secretsFile, 'utf8'), 'development')
  if (!secrets.keys.every(({ key }) => hasDevelopmentMark(key.export())))
    throw new UsageError('tokens are signed here with development secrets only: give --token-file or HOLDFAST_TOKEN')
  return signDevelopmentToken({ secrets, issuer: jwt.issuer, audience: jwt.audience, roles: [role], subject })
}

function userIdOf(subject: string): bigint {
  if (/^[1-9][0-9]{0,18}$/.test(subject)) return BigInt(subject)
  throw new UsageError(`--user must be a user id, a positive number, and not ${subject}`)
}
