// A command's connection and caller: a running development stack found by its ready file, or a server named on the
// command line with a token for it.

import { readFile } from 'node:fs/promises'
import { Option, type Command } from 'commander'
import type { Config } from '../../config.ts'
import { ROLES, type Role } from '../../domain/access.ts'
import { createAdminClient, createClient, type HoldfastClient } from '../../grpc/client.ts'
import { loadTokenSecrets, signDevelopmentToken } from '../../keyvault/token.ts'
import { DEFAULT_DATA_DIR, findReady, PEOPLE, readyFileIn, type Ready } from '../ready_file.ts'
import { UnavailableError, UsageError } from './exit.ts'
import type { Output } from './print.ts'

/** Everything outside the process that a command uses. */
export type Shell = {
  config: Config<'cli'>
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
  token?: string
  chain?: string
}
type CallerOptions = { role?: Role; user?: string }

/** Options of every command; `callerOptions` adds those of the caller. */
export const globalOptions = (command: Command): Command =>
  command
    .option('--json', 'print JSON instead of tables')
    .option('--ready-file <path>', 'ready file of the stack (HOLDFAST_READY_FILE; default: that of npm start)')
    .option('--api <host:port>', 'gRPC address (HOLDFAST_API)')
    .option('--admin <host:port>', 'admin gRPC address (HOLDFAST_ADMIN)')
    .option('--token <token>', 'access token (HOLDFAST_TOKEN; default: signed here, development only)')
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
  const ready = await findReady(readyFile)
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
  const givenToken = options.token ?? config.HOLDFAST_TOKEN
  const token = async (): Promise<string> => givenToken ?? (await signToken(found(ready, '--token'), role, subject))
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
    client: () =>
      opened(createClient({ address: found(options.api ?? config.HOLDFAST_API ?? ready?.api, '--api'), token })),
    admin: () =>
      opened(
        createAdminClient({ address: found(options.admin ?? config.HOLDFAST_ADMIN ?? ready?.admin, '--admin'), token }),
      ),
    chainUrl: () => found(options.chain ?? ready?.chains.ethereum, '--chain'),
  }
}

async function signToken({ jwt }: Ready, role: Role, subject: string): Promise<string> {
  const secrets = loadTokenSecrets(await readFile(jwt.secretsFile, 'utf8'), 'development')
  return signDevelopmentToken({ secrets, issuer: jwt.issuer, audience: jwt.audience, roles: [role], subject })
}

function userIdOf(subject: string): bigint {
  if (/^[1-9][0-9]{0,18}$/.test(subject)) return BigInt(subject)
  throw new UsageError(`--user must be a user id, a positive number, and not ${subject}`)
}
