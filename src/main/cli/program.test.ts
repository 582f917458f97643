import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from '@jest/globals'
import { CommanderError, type Command } from 'commander'
import { loadConfig } from '../../config.ts'
import { UnavailableError, UsageError } from './exit.ts'
import { parseLine } from './order.ts'
import { createProgram } from './program.ts'

const NOWHERE = ['--ready-file', '/nowhere/ready.json']
const ORDER = '6f1c4a52-7f0e-8c1a-9d2b-0123456789ab'

const folders: string[] = []
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))))

/** Runs a command line that no server will answer; gives what it threw and said. */
const attempt = (...args: string[]) => attemptWith({}, ...args)

async function attemptWith(env: NodeJS.ProcessEnv, ...args: string[]): Promise<{ error: unknown; said: string }> {
  const said: string[] = []
  const say = (text: string): void => void said.push(text)
  const untilInterrupted = () => AbortSignal.timeout(1)
  const program = createProgram({ config: loadConfig('cli', env), write: say, complain: say, untilInterrupted })
  const error = await program.parseAsync(args, { from: 'user' }).catch((thrown: unknown) => thrown)
  return { error, said: said.join('') }
}

test.each([
  ['no command', []],
  ['an unknown command', ['order', 'eat']],
  ['an order without lines', ['order', 'create']],
  ['a line without a product', ['order', 'create', ':2']],
  ['a line of no units', ['order', 'create', 'lamp:0']],
  ['an unknown asset', ['order', 'create', 'lamp', '--asset', 'DOGE']],
  ['a key that is no UUID', ['order', 'cancel', ORDER, '--key', 'again']],
  ['a page of nothing', ['order', 'list', '--limit', '0']],
  ['an unknown status', ['order', 'list', '--status', 'lost']],
  ['an unknown role', ['token', '--role', 'root']],
  ['a fraction of a unit', ['stock', 'adjust', 'lamp', '--delta', '1.5']],
  ['a notification whose id is no number', ['notification', 'replay', 'all']],
  ['a refund of no order', ['refund', 'request', 'lamp', '--all', '--reason', 'x']],
  ['a refund without a reason', ['refund', 'request', ORDER, '--all']],
  ['an approval of no version', ['refund', 'approve', ORDER, ORDER]],
  ['a proof of no order', ['audit', 'proof', 'lamp']],
  ['a chain without a reason', ['chain', 'start', 'ethereum', '1', '--operator', 'ann']],
  ['a network that no report could name', ['chain', 'rewind', 'Ethereum!', '1', '--operator', 'ann', '--reason', 'x']],
  ['a token in the command line', ['order', 'list', '--token', 'eyJ']],
  ['a customer who is no number', ['order', 'list', '--customer', 'ann']],
  ['a payment to nothing', ['pay', 'lamp', '--api', '127.0.0.1:1', ...NOWHERE]],
  ['an address without a port', ['order', 'list', '--api', 'localhost']],
  ['a version below one', ['order', 'cancel', ORDER, '--expected-version', '0']],
  ['a number beyond 64 bits', ['stock', 'adjust', 'lamp', '--delta', '9223372036854775808']],
  ['a product without a price', ['product', 'put', 'lamp', '--name', 'Lamp']],
])('%s is refused as wrong usage, with a word on what is right', async (_what, args) => {
  const { error, said } = await attempt(...args)
  expect(error).toBeInstanceOf(CommanderError)
  expect((error as CommanderError).exitCode).toBe(1)
  expect(`${said}${String(error)}`).not.toMatch(/secret|eyJ/)
  expect(`${said}${String(error)}`).not.toBe('')
})

test.each([
  ['that is no URL', ['verify', '--database', 'local:secret']],
  ['with a password', ['verify', '--database', 'postgres://a:secret@db/x']],
  ['with a password in its query', ['audit', 'verify', '--database', 'postgres://a@db/x?password=secret']],
  ['of a chain, with a password', ['chain', 'list', '--database', 'postgres://a:secret@db/x']],
])('a database %s is refused as wrong usage, and not repeated', async (_what, args) => {
  const { error, said } = await attempt(...args)
  expect(error).toBeInstanceOf(UsageError)
  expect(`${said}${String(error)}`).toMatch(/--database/)
  expect(`${said}${String(error)}`).not.toContain('secret')
})

test.each([
  ['HOLDFAST_API_CERT_FILE', { HOLDFAST_API_CERT_FILE: '/nowhere/cert', HOLDFAST_API_KEY_FILE: '/nowhere/key' }],
  ['HOLDFAST_API_CA_FILE', { HOLDFAST_API_CA_FILE: '/nowhere/ca' }],
  ['HOLDFAST_TOKEN_FILE', { HOLDFAST_TOKEN_FILE: '/nowhere/token' }],
])('%s is read, and named where it cannot be', async (name, env) => {
  const { error } = await attemptWith(env, 'order', 'list', '--api', '127.0.0.1:1', ...NOWHERE)
  expect(error).toBeInstanceOf(UsageError)
  expect(String(error)).toMatch(new RegExp(`${name}.*: /nowhere/\\w+ cannot be read`))
})

test('without a running stack, a command says how to get one', async () => {
  const { error } = await attempt('order', 'list', ...NOWHERE)
  expect(error).toBeInstanceOf(UnavailableError)
  expect(String(error)).toMatch(/\/nowhere\/ready\.json.*npm start.*--api/)
})

test('a server of one’s own needs a token of its own', async () => {
  const { error } = await attempt('order', 'list', ...NOWHERE, '--api', '127.0.0.1:1')
  expect(error).toBeInstanceOf(UnavailableError)
  expect(String(error)).toMatch(/--token-file/)
})

test('every command explains itself, its caller and its exit codes', async () => {
  const program = createProgram({
    config: loadConfig('cli', {}),
    write: () => undefined,
    complain: () => undefined,
    untilInterrupted: () => AbortSignal.timeout(1),
  })
  const leaves = (command: Command): Command[] =>
    command.commands.length === 0 ? [command] : command.commands.flatMap(leaves)
  const names = leaves(program).map((command) => command.name())
  expect(names.toSorted()).toEqual(
    [
      ...['adjust', 'cancel', 'create', 'deliver', 'get', 'get', 'get', 'list', 'list'],
      ...['pay', 'put', 'ship', 'sign', 'watch'],
      ...['dead', 'replay'],
      ...['list', 'show'],
      ...['list', 'request', 'approve', 'reject', 'address'],
      ...['rehydrate', 'restart'],
      ...['check', 'proof', 'verify'],
      'verify',
      ...['list', 'export', 'import', 'cancel', 'release', 'settle'],
      ...['list', 'start', 'rewind', 'resume', 'retire', 'attribute', 'set-aside', 'report-again', 'discard'],
      'preflight',
      'settled',
    ].toSorted(),
  )
  for (const command of leaves(program)) {
    expect(command.description()).not.toBe('')
    expect(command.helpInformation()).toMatch(/Global Options:[\s\S]*--json/)
    // These ask no server.
    if (
      ['check', 'verify', 'settled'].includes(command.name()) ||
      ['chain', 'payout'].includes(command.parent?.name() ?? '') ||
      command.name() === 'preflight'
    )
      continue
    expect(command.helpInformation()).toMatch(/--role <role>[\s\S]*--user <id>/)
  }
  const { said } = await attempt('order', 'ship', '--help')
  expect(said).toMatch(/Exit codes:\n {2}0 {2}done/)
})

test('a line is a product, its quantity, and the price it was seen at', () => {
  const lines = ['lamp', 'mug:3', 'a.b-c_d:1:12.50'].reduce<ReturnType<typeof parseLine>>(
    (before, text) => parseLine(text, before),
    [],
  )
  expect(lines).toEqual([
    { productId: 'lamp', quantity: 1, price: undefined },
    { productId: 'mug', quantity: 3, price: undefined },
    { productId: 'a.b-c_d', quantity: 1, price: '12.50' },
  ])
})

/** The ready file of a stack whose token secret is this. */
async function readyFileWith(secret: Buffer): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-cli-'))
  folders.push(folder)
  const secretsFile = join(folder, 'jwt.json')
  await writeFile(secretsFile, JSON.stringify({ keys: [{ kid: 'a', secret: secret.toString('base64') }] }))
  const readyFile = join(folder, 'ready.json')
  await writeFile(
    readyFile,
    JSON.stringify({
      ...{ pid: 1, dataDir: folder, api: '127.0.0.1:1', admin: '127.0.0.1:1', database: 'postgres://a@db/x' },
      temporal: { address: '127.0.0.1:1', namespace: 'none' },
      audit: { database: 'postgres://a@db/x', file: 'none', publicKeys: 'none' },
      ...{ chains: {}, metrics: {}, tokens: {}, tokensEndAt: new Date().toISOString() },
      jwt: { secretsFile, issuer: 'holdfast', audience: 'holdfast' },
    }),
  )
  return readyFile
}

test('a token is signed with a development secret, and never with one of production that a ready file names', async () => {
  const marked = Buffer.concat([Buffer.from('development-'), randomBytes(32)])
  const { said } = await attempt('token', '--ready-file', await readyFileWith(marked))
  expect(said).toMatch(/^eyJ[\w.-]+\n$/)
  const refused = await attempt('token', '--ready-file', await readyFileWith(randomBytes(44)))
  expect(refused.error).toBeInstanceOf(UsageError)
  expect(String(refused.error)).toContain('development secrets only')
  expect(refused.said).toBe('')
})

test('a file that is no ready file, and a token file that is not there, are wrong usage', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-cli-'))
  folders.push(folder)
  const path = join(folder, 'ready.json')
  await writeFile(path, 'hello')
  expect((await attempt('token', '--ready-file', path)).error).toBeInstanceOf(UsageError)
  const { error } = await attempt('token', ...NOWHERE, '--token-file', '/nowhere/token')
  expect(error).toBeInstanceOf(UsageError)
})

test('a token comes from its file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-cli-'))
  folders.push(folder)
  await writeFile(join(folder, 'token'), 'from-the-file\n')
  expect((await attempt('token', ...NOWHERE, '--token-file', join(folder, 'token'))).said).toBe('from-the-file\n')
})

test('what a command prints cannot steer the terminal, wherever it comes from', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-cli-'))
  folders.push(folder)
  await writeFile(join(folder, 'token'), 'a\u001b[31mb\u001b]0;owned\u0007c\u202ed')
  const command = ['token', ...NOWHERE, '--token-file', join(folder, 'token')]
  expect((await attempt(...command)).said).toBe('abc d\n')
  const { said } = await attempt(...command, '--json')
  expect(said).toMatch(/^[\n -~]+$/)
})
