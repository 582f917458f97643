import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  CONFIRMATIONS,
  minePayment,
  openWatcherFixture,
  statesOf,
  type WatcherFixture,
} from '../../../test/support/watcher_fixture.ts'
import { BlockGoneError } from '../../chain/client.ts'
import { loadConfig } from '../../config.ts'
import { RefusedError, UsageError } from './exit.ts'
import { createProgram } from './program.ts'

const BY = ['--operator', 'ann', '--reason', 'the node was syncing']

let fixture: WatcherFixture
beforeAll(async () => {
  fixture = await openWatcherFixture()
})
afterAll(async () => {
  await fixture.close()
})

const holdfast = (...args: string[]): Promise<string> => holdfastAt(fixture.watcherUrl, ...args)

async function holdfastAt(url: string, ...args: string[]): Promise<string> {
  const said: string[] = []
  const write = (text: string): void => void said.push(text)
  const config = loadConfig('cli', { DATABASE_URL: url })
  const untilInterrupted = () => AbortSignal.timeout(1)
  await createProgram({ config, write, complain: write, untilInterrupted }).parseAsync(['chain', ...args], {
    from: 'user',
  })
  return said.join('')
}

const entriesOf = async (network: string) =>
  (
    await fixture.query<{ actor: string; body: string }>(
      `select actor, body from audit_entry where kind = 'chain_operation' and body like '%' || $1 || '%' order by entry_id`,
      [network],
    )
  ).map(({ actor, body }) => ({ actor, isWhole: body.includes('the node was syncing') }))

test('a start that is wrong for good is corrected by a command, and the audit says by whom', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  for (let block = 0; block < 4; block += 1) harness.chain.mine()
  await harness.step()
  minePayment(harness)
  expect(await holdfast('start', harness.network, '3', ...BY)).toBe('done\n')
  expect(await harness.status()).toMatchObject({ start: 3n, settled: 2n, caughtUpAt: null })
  await harness.step()
  expect(statesOf(harness)).toEqual(['1 seen'])
  expect((await harness.status())?.caughtUpAt).not.toBeNull()
  expect(await entriesOf(harness.network)).toEqual([{ actor: 'operator:ann', isWhole: true }])
})

test('a chain can be given its start before the first watcher comes', async () => {
  const harness = await fixture.createHarness()
  for (let block = 0; block < 4; block += 1) harness.chain.mine()
  await holdfast('start', harness.network, '2', ...BY)
  await harness.step()
  expect(await harness.status()).toMatchObject({ start: 2n })
})

test('a start above a transfer that is not final is refused, since it never would be', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  await harness.step()
  await expect(holdfast('start', harness.network, '9', ...BY)).rejects.toThrow(RefusedError)
  expect(await harness.status()).toMatchObject({ start: 0n })
  expect(await entriesOf(harness.network)).toEqual([])
})

test('a start above it drops a transfer whose blocks are gone, and its money shows as unexplained', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  await harness.step()
  harness.chain.mine()
  await harness.step()
  await holdfast('start', harness.network, '3', '--drop-unsettled', ...BY)
  harness.chain.mine()
  await harness.step()
  expect(statesOf(harness)).toEqual(['1 seen', '2 dropped'])
  expect(await harness.count('holdfast_chain_unexplained')).toBe(1)
  const [address = ''] = harness.addresses
  await holdfast('attribute', harness.network, address, '--seen-at', new Date().toISOString(), ...BY)
  await harness.step()
  expect(harness.delivered.at(-1)).toMatchObject({ state: 'seen', address })
})

test('a start behind blocks that the node has pruned is taken, though none of them was ever read', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  harness.chain.mine()
  await harness.step()
  for (let block = 0; block < 9; block += 1) harness.chain.mine()
  const { client } = harness
  const { findBlock } = client
  client.findBlock = async (height) => {
    if (height < 8) throw new BlockGoneError(height, 'pruned history unavailable')
    return findBlock(height)
  }
  await expect(harness.step()).rejects.toThrow(BlockGoneError)
  expect(await holdfast('start', harness.network, '8', ...BY)).toBe('done\n')
  await harness.step()
  expect(await harness.count('holdfast_chain_scanned_height')).toBe(10)
})

test('a chain that is read again from below tells what it meets again', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  for (let block = 1; block < CONFIRMATIONS; block += 1) harness.chain.mine()
  await harness.step()
  await holdfast('start', harness.network, '0', ...BY)
  await harness.step()
  expect(statesOf(harness)).toEqual(['1 seen', '2 final', '3 reorged', '4 seen', '5 final'])
})

test('a deep reorganisation is let pass by a command', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  for (let block = 0; block < CONFIRMATIONS + 2; block += 1) harness.chain.mine()
  await harness.step()
  harness.chain.drop(CONFIRMATIONS + 1)
  for (let block = 0; block < CONFIRMATIONS + 2; block += 1) harness.chain.mine()
  expect(await harness.step()).toBeDefined()
  await holdfast('rewind', harness.network, '0', ...BY)
  expect(await harness.step()).toBeUndefined()
  expect(await entriesOf(harness.network)).toHaveLength(1)
  await holdfast('resume', harness.network, ...BY)
  await expect(holdfast('resume', harness.network, ...BY)).rejects.toThrow(RefusedError)
})

test('money that nothing explains is attributed to its order, told like any transfer, and then explained', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  const [address = ''] = harness.addresses
  harness.chain.mine()
  harness.chain.sendInside(address, 7n)
  await harness.step()
  expect(await holdfast('list')).toContain(address)
  await holdfast('attribute', harness.network, address, ...BY)
  // Its report waits: until it was taken, the money stays unexplained and holds expiry up.
  await harness.step({ fates: ['lost'] })
  expect(await harness.count('holdfast_chain_unexplained')).toBe(1)
  harness.chain.mine()
  await harness.step()
  expect(harness.delivered).toMatchObject([{ state: 'seen', address, amount: 7n }])
  expect(await harness.count('holdfast_chain_unexplained')).toBe(0)
  for (let block = 0; block < CONFIRMATIONS; block += 1) harness.chain.mine()
  await harness.step()
  expect(statesOf(harness)).toEqual(['1 seen', '2 final'])
  await expect(holdfast('attribute', harness.network, address, ...BY)).rejects.toThrow(RefusedError)
  expect(await entriesOf(harness.network)).toEqual([{ actor: 'operator:ann', isWhole: true }])
})

test('who attributes money may say when it came, but not later than it was found', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  const [address = '', other = ''] = harness.addresses
  harness.chain.mine()
  for (const to of [address, other]) harness.chain.sendInside(to, 7n)
  await harness.step()
  const cameAt = new Date(Date.now() - 60_000)
  await holdfast('attribute', harness.network, address, '--seen-at', cameAt.toISOString(), ...BY)
  await holdfast('attribute', harness.network, other, '--seen-at', '2999-01-01', ...BY)
  await harness.step()
  const seenAt = new Map(harness.delivered.map((each) => [each.address, each.firstSeenAt]))
  expect(seenAt.get(address)).toEqual(cameAt)
  expect(seenAt.get(other)?.getTime()).toBeLessThanOrEqual(Date.now())
})

test('money that is attributed to its own block came at its time, is final by its depth and outlives later blocks', async () => {
  const from = Date.now() - 3_600_000
  const harness = await fixture.createHarness({ startHeight: 0, minedAt: (height) => new Date(from + height * 12_000) })
  const [address = ''] = harness.addresses
  harness.chain.mine()
  harness.chain.sendInside(address, 7n)
  for (let block = 0; block < CONFIRMATIONS + 2; block += 1) harness.chain.mine()
  await harness.step()
  await expect(holdfast('attribute', harness.network, address, '--height', '99', ...BY)).rejects.toThrow(/--seen-at/)
  await holdfast('attribute', harness.network, address, '--height', '1', ...BY)
  harness.chain.drop(1)
  harness.chain.mine()
  harness.chain.mine()
  await harness.step()
  expect(statesOf(harness)).toEqual(['1 seen', '2 final'])
  expect(harness.delivered[0]).toMatchObject({ block: { height: 1 }, firstSeenAt: new Date(from + 12_000), amount: 7n })
  expect(await harness.count('holdfast_chain_unexplained')).toBe(0)
})

test('money that is no payment is set aside, and more of it is found again', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  const [address = ''] = harness.addresses
  harness.chain.mine()
  harness.chain.sendInside(address, 7n)
  await harness.step()
  await holdfast('set-aside', harness.network, address, ...BY)
  harness.chain.mine()
  await harness.step()
  expect(await harness.count('holdfast_chain_unexplained')).toBe(0)
  harness.chain.mine()
  harness.chain.sendInside(address, 2n)
  await harness.step()
  expect(await harness.count('holdfast_chain_unexplained')).toBe(1)
  const rows = await fixture.query(
    `select unexplained::text, attributed_at is null as "isOpen" from chain_balance where network = $1 and address = $2`,
    [harness.network, address],
  )
  expect(rows).toEqual([{ unexplained: '2', isOpen: true }])
})

test('money that is not there cannot be decided on, and the command says where to look', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  await harness.step()
  const [address = ''] = harness.addresses
  await expect(holdfast('set-aside', harness.network, address, ...BY)).rejects.toThrow(/holdfast chain list/)
  await expect(holdfast('rewind', 'nowhere', '0', ...BY)).rejects.toThrow(RefusedError)
})

test('without a database to speak to, a command asks for one', async () => {
  const untilInterrupted = () => AbortSignal.timeout(1)
  const program = createProgram({
    ...{ config: loadConfig('cli', {}), write: () => undefined, complain: () => undefined, untilInterrupted },
  })
  await expect(program.parseAsync(['chain', 'list'], { from: 'user' })).rejects.toThrow(UsageError)
})

test('a report that was refused for good is shown with its reason', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  expect(await holdfast('list')).not.toContain('REPORT_CONFLICT')
  await harness.step({ fates: ['contradicted'] })
  const said = await holdfast('list')
  expect(said).toContain('Refused reports:')
  expect(said).toMatch(new RegExp(`${harness.network} .* 1 +seen +5 +REPORT_CONFLICT`))
})

test('a network with two sources needs the name of one, and nothing changes the rows of the other', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  await harness.step()
  const columns = 'network, source, start_height, scanned_height, settled_height, tip_height'
  await fixture.query(`insert into chain_status (${columns}) values ($1, 'watcher-2', 0, 5, 5, 5)`, [harness.network])
  await expect(holdfast('start', harness.network, '1', ...BY)).rejects.toThrow(UsageError)
  await expect(holdfast('start', harness.network, '1', ...BY)).rejects.toThrow('--source, watcher-1 or watcher-2')
  expect(await holdfast('start', harness.network, '3', '--source', 'watcher-2', ...BY)).toBe('done\n')
  const starts = await fixture.query(
    'select source, start_height as start from chain_status where network = $1 order by source',
    [harness.network],
  )
  expect(starts).toEqual([
    { source: 'watcher-1', start: 0n },
    { source: 'watcher-2', start: 3n },
  ])
  const notes = await fixture.query('select source from chain_operation where network = $1', [harness.network])
  expect(notes).toEqual([{ source: 'watcher-2' }])
  const listed = (await holdfast('list')).split('\n').filter((line) => line.includes(harness.network))
  expect(listed).toHaveLength(2)
})

describe('a source is retired', () => {
  const retire = (url: string) => holdfastAt(url, 'retire', 'abandoned', ...BY)

  test('by the owner of the tables, once, and the audit says by whom', async () => {
    expect(await retire(fixture.ownerUrl)).toBe('done\n')
    await expect(retire(fixture.ownerUrl)).rejects.toThrow('retired already')
    const [entry] = await fixture.query<{ actor: string; body: string }>(
      `select actor, body from audit_entry where body like '%retired_source%'`,
    )
    expect(entry).toMatchObject({ actor: 'operator:ann' })
    expect(entry?.body).toContain('the node was syncing')
  })

  test('by no watcher: one that is taken over could silence the others', async () => {
    await expect(retire(fixture.watcherUrl)).rejects.toThrow("use that of the tables' owner")
  })
})
