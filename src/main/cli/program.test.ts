import { expect, test } from '@jest/globals'
import { CommanderError, type Command } from 'commander'
import { loadConfig } from '../../config.ts'
import { UnavailableError } from './exit.ts'
import { parseLine } from './order.ts'
import { createProgram } from './program.ts'

const NOWHERE = ['--ready-file', '/nowhere/ready.json']
const ORDER = '6f1c4a52-7f0e-8c1a-9d2b-0123456789ab'

/** Runs a command line that no server will answer; gives what it threw and said. */
async function attempt(...args: string[]): Promise<{ error: unknown; said: string }> {
  const said: string[] = []
  const say = (text: string): void => void said.push(text)
  const untilInterrupted = () => AbortSignal.timeout(1)
  const program = createProgram({ config: loadConfig('cli', {}), write: say, complain: say, untilInterrupted })
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
  ['a proof of no order', ['audit', 'proof', 'lamp']],
  ['a chain without a reason', ['chain', 'start', 'ethereum', '1', '--operator', 'ann']],
  ['a network that no report could name', ['chain', 'rewind', 'Ethereum!', '1', '--operator', 'ann', '--reason', 'x']],
  ['a product without a price', ['product', 'put', 'lamp', '--name', 'Lamp']],
])('%s is refused as wrong usage, with a word on what is right', async (_what, args) => {
  const { error, said } = await attempt(...args)
  expect(error).toBeInstanceOf(CommanderError)
  expect((error as CommanderError).exitCode).toBe(1)
  expect(said).not.toBe('')
})

test('without a running stack, a command says how to get one', async () => {
  const { error } = await attempt('order', 'list', ...NOWHERE)
  expect(error).toBeInstanceOf(UnavailableError)
  expect(String(error)).toMatch(/\/nowhere\/ready\.json.*npm start.*--api/)
})

test('a server of one’s own needs a token of its own', async () => {
  const { error } = await attempt('order', 'list', ...NOWHERE, '--api', '127.0.0.1:1')
  expect(error).toBeInstanceOf(UnavailableError)
  expect(String(error)).toMatch(/--token/)
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
      ...['pay', 'put', 'ship', 'token', 'watch'],
      ...['dead', 'replay'],
      ...['rehydrate', 'restart'],
      ...['check', 'proof', 'verify'],
      'verify',
      ...['list', 'start', 'rewind', 'attribute', 'set-aside'],
    ].toSorted(),
  )
  for (const command of leaves(program)) {
    expect(command.description()).not.toBe('')
    expect(command.helpInformation()).toMatch(/Global Options:[\s\S]*--json/)
    // These ask no server.
    if (['check', 'verify'].includes(command.name()) || command.parent?.name() === 'chain') continue
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
