import { randomBytes } from 'node:crypto'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { CommanderError } from 'commander'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { loadConfig } from '../../config.ts'
import { createTokenVerifier, loadTokenSecrets } from '../../keyvault/token.ts'
import { UsageError } from './exit.ts'
import { createProgram } from './program.ts'

const secret = (): string => randomBytes(32).toString('base64')
const FILE = JSON.stringify({ keys: ['new', 'old'].map((kid) => ({ kid, secret: secret() })) })

let folder: string
let secretsFile: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-token-'))
  await chmod(folder, 0o755)
  secretsFile = await fileWith(FILE, 0o600)
})
afterAll(() => rm(folder, { recursive: true }))

async function fileWith(text: string, mode: number, below = folder): Promise<string> {
  const path = join(below, `${randomBytes(8).toString('hex')}.json`)
  await writeFile(path, text)
  await chmod(path, mode)
  return path
}

async function sign(...args: string[]): Promise<{ error: unknown; said: string }> {
  const said: string[] = []
  const say = (text: string): void => void said.push(text)
  const untilInterrupted = () => AbortSignal.timeout(1)
  const program = createProgram({ config: loadConfig('cli', {}), write: say, complain: say, untilInterrupted })
  const error = await program
    .parseAsync(['token', 'sign', ...args], { from: 'user' })
    .catch((thrown: unknown) => thrown)
  return { error, said: said.join('') }
}
const customer = (path = secretsFile): string[] => ['--secrets-file', path, '--roles', 'customer', '--subject', '7']

const verify = createTokenVerifier({
  secrets: loadTokenSecrets(FILE, 'production'),
  issuer: 'holdfast',
  audience: 'holdfast',
})

describe('a signed token', () => {
  test('is all that is printed, and a production api accepts it', async () => {
    const { said } = await sign(...customer())
    expect(said).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    const token = said.trim()
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'HS256', typ: 'at+jwt', kid: 'new' })
    await expect(verify(token)).resolves.toMatchObject({ userId: 7n, roles: ['customer'] })
    const { iat = 0, exp = 0, ...claims } = decodeJwt(token)
    expect(exp - iat).toBe(900)
    // Nobody has checked a second factor.
    expect(Object.keys(claims).toSorted()).toEqual(['aud', 'iss', 'jti', 'roles', 'sub'])
  })

  test.each<[string, string[], object, number]>([
    ['of an admin', ['--roles', 'admin', '--subject', '1'], { userId: 1n, roles: ['admin'] }, 300],
    ['of two roles', ['--roles', 'admin', 'auditor', '--subject', '1'], { roles: ['admin', 'auditor'] }, 300],
    [
      'of a machine',
      ['--roles', 'watcher', '--subject', 'watcher-1'],
      { subject: 'watcher-1', userId: undefined },
      900,
    ],
    ['with a shorter life', ['--roles', 'customer', '--subject', '7', '--lifetime', '60'], { userId: 7n }, 60],
    ['under an older secret', ['--roles', 'customer', '--subject', '7', '--kid', 'old'], { userId: 7n }, 900],
    [
      'of a person who has shown two factors',
      ['--roles', 'customer', '--subject', '7', '--amr', 'pwd', 'otp'],
      { amr: ['pwd', 'otp'], authTimeS: expect.any(Number) },
      900,
    ],
  ])('may be one %s', async (_what, args, principal, lifetimeS) => {
    const { said } = await sign('--secrets-file', secretsFile, ...args)
    await expect(verify(said.trim())).resolves.toMatchObject(principal)
    const { iat = 0, exp = 0 } = decodeJwt(said.trim())
    expect(exp - iat).toBe(lifetimeS)
  })

  test('is for the issuer and the audience that are named', async () => {
    const { said } = await sign(...customer(), '--issuer', 'https://id.shop', '--audience', 'orders', '--json')
    const { token } = JSON.parse(said) as { token: string }
    expect(decodeJwt(token)).toMatchObject({ iss: 'https://id.shop', aud: 'orders' })
  })
})

describe('nothing is signed', () => {
  test.each<[string, string[]]>([
    ['for an admin for longer than 300 s', ['--roles', 'admin', '--subject', '1', '--lifetime', '301']],
    ['for a customer by name', ['--roles', 'customer', '--subject', 'eve']],
    ['for user 0', ['--roles', 'customer', '--subject', '0']],
    ['for a person and a machine at once', ['--roles', 'admin', 'service', '--subject', '1']],
    ['for one role twice', ['--roles', 'customer', 'customer', '--subject', '7']],
    ['under an unknown kid', ['--roles', 'customer', '--subject', '7', '--kid', 'newer']],
  ])('%s', async (_what, args) => {
    const { error, said } = await sign('--secrets-file', secretsFile, ...args)
    expect(error).toBeInstanceOf(UsageError)
    expect(said).toBe('')
  })

  test.each<[string, string[]]>([
    ['for longer than 900 s', ['--roles', 'customer', '--subject', '7', '--lifetime', '901']],
    ['for an unknown role', ['--roles', 'root', '--subject', '7']],
    ['without a role', ['--subject', '7']],
    ['without a subject', ['--roles', 'customer']],
  ])('%s', async (_what, args) => {
    const { error, said } = await sign('--secrets-file', secretsFile, ...args)
    expect(error).toBeInstanceOf(CommanderError)
    expect(said).not.toMatch(/eyJ/)
  })

  test.each([0o640, 0o604, 0o644, 0o620, 0o602])('with a file of mode %o in a folder open to others', async (mode) => {
    const { error, said } = await sign(...customer(await fileWith(FILE, mode)))
    expect(error).toBeInstanceOf(UsageError)
    expect(String(error)).toMatch(/--secrets-file: .* is open to other users: chmod 600/)
    expect(said).toBe('')
  })

  test('with a folder in place of a file, or no file at all', async () => {
    for (const path of [folder, join(folder, 'nowhere')])
      expect((await sign(...customer(path))).error).toBeInstanceOf(UsageError)
  })

  test('with a secret of development, or a short one; neither is repeated', async () => {
    const development = Buffer.from('development-'.padEnd(40, 'x')).toString('base64')
    for (const bad of [development, Buffer.alloc(31, 1).toString('base64')]) {
      const { error, said } = await sign(...customer(await fileWith(`{"keys":[{"kid":"a","secret":"${bad}"}]}`, 0o600)))
      expect(error).toBeInstanceOf(UsageError)
      expect(`${String(error)}${said}`).not.toContain(bad)
    }
  })

  test('with a secret on the command line', async () => {
    const { error, said } = await sign(...customer(), '--secret', 'a-secret')
    expect(error).toBeInstanceOf(CommanderError)
    expect(said).not.toMatch(/eyJ/)
  })
})

test('files that others could read are private in a folder of their owner alone, as make-secrets.mjs creates them', async () => {
  const closed = join(folder, 'closed')
  await mkdir(closed, { mode: 0o700 })
  expect((await sign(...customer(await fileWith(FILE, 0o444, closed)))).said).toMatch(/^eyJ/)
  expect((await sign(...customer(await fileWith(FILE, 0o666, closed)))).error).toBeInstanceOf(UsageError)
})

test('the options of a development token are no options of a signed one', async () => {
  const { error, said } = await sign(...customer(), '--role', 'admin')
  expect(error).toBeInstanceOf(UsageError)
  expect(said).toBe('')
})

test('the help says that nobody audits a signature', async () => {
  expect((await sign('--help')).said).toMatch(/Nothing audits that it was signed/)
})
