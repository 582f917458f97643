// holdfast token: a token of the development stack. holdfast token sign: a token for a deployment, signed offline with
// its secret.

import { Option, type Command } from 'commander'
import { ROLES, type Role } from '../../domain/access.ts'
import { SecretError } from '../../keyvault/secret.ts'
import { loadTokenSecrets, MAX_TOKEN_AGE_S, signToken } from '../../keyvault/token.ts'
import { UsageError } from './exit.ts'
import { countArgument } from './option.ts'
import { print } from './print.ts'
import { readPrivateFile } from './private_file.ts'
import { callerOptions, withSession, type Shell } from './session.ts'

/** What the api takes unless it is configured otherwise. */
const DEFAULT_NAME = 'holdfast'

type SignOptions = {
  secretsFile: string
  kid?: string
  roles: Role[]
  subject: string
  issuer: string
  audience: string
  lifetime?: number
  amr?: string[]
}

export function addTokenCommand(program: Command, shell: Shell): void {
  const token = program
    .command('token')
    .description('print an access token of the development stack, valid for minutes')
  callerOptions(token, 'customer').action(async (_options: object, command: Command) =>
    withSession(shell, command, async ({ output, role, subject, token: sign }) => {
      const signed = await sign()
      print(output, { role, subject, token: signed }, () => signed)
    }),
  )
  addSignCommand(token, shell)
}

function addSignCommand(token: Command, shell: Shell): void {
  token
    .command('sign')
    .description(
      'print an access token for a deployment, signed here with its secret: no server is asked, none records it',
    )
    .requiredOption('--secrets-file <path>', 'HOLDFAST_JWT_SECRETS_FILE of the api; closed to other users')
    // Options of other names than those of `token`, which would take them.
    .addOption(new Option('--roles <role...>', 'roles in the token').choices(ROLES).makeOptionMandatory())
    .requiredOption('--subject <id>', 'user id in the token; a name for watcher and service')
    .option('--kid <kid>', 'kid of the secret that signs (default: the first of the file)')
    .option('--issuer <name>', 'HOLDFAST_JWT_ISSUER of the api', DEFAULT_NAME)
    .option('--audience <name>', 'HOLDFAST_JWT_AUDIENCE of the api', DEFAULT_NAME)
    .option(
      '--lifetime <seconds>',
      'how long it is valid (default: as long as its roles allow, 300 s for an admin, else 900 s)',
      countArgument(1, MAX_TOKEN_AGE_S),
    )
    .option('--amr <method...>', 'how you have checked, now, who the person is (RFC 8176): pwd otp; none by default')
    .addHelpText(
      'after',
      '\nThe secret can sign a token of any user: keep its file closed. The api audits each call of the token, with\nits jti. Nothing audits that it was signed.',
    )
    .action(async (_options: object, command: Command) => {
      if (['role', 'user'].some((name) => token.getOptionValueSource(name) === 'cli'))
        throw new UsageError('token sign has --roles and --subject in place of --role and --user')
      const options = command.opts<SignOptions>()
      const { secretsFile, roles, subject, lifetime: lifetimeS, ...others } = options
      const json = await readPrivateFile('--secrets-file', secretsFile)
      const output = { json: command.optsWithGlobals<{ json?: boolean }>().json === true, write: shell.write }
      try {
        const secrets = loadTokenSecrets(json, shell.config.HOLDFAST_MODE)
        const { kid, issuer, audience, amr } = others
        const signed = await signToken({
          ...{ secrets, roles, subject, issuer, audience },
          ...(kid !== undefined && { kid }),
          ...(lifetimeS !== undefined && { lifetimeS }),
          ...(amr !== undefined && { amr }),
        })
        print(output, { token: signed }, () => signed)
      } catch (error) {
        throw error instanceof SecretError ? new UsageError(error.message, { cause: error }) : error
      }
    })
}
