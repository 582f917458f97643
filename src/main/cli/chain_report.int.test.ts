// holdfast chain report-again and discard: operators settle reports that the shop refused.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import {
  minePayment,
  openWatcherFixture,
  statesOf,
  type WatcherFixture,
  type WatcherHarness,
} from '../../../test/support/watcher_fixture.ts'
import { loadConfig } from '../../config.ts'
import { RefusedError } from './exit.ts'
import { createProgram } from './program.ts'

const REASON = 'the node lied'
const BY = ['--operator', 'ann', '--reason', REASON]

let fixture: WatcherFixture
let harness: WatcherHarness
beforeAll(async () => {
  fixture = await openWatcherFixture()
})
afterAll(async () => {
  await fixture.close()
})
beforeEach(async () => {
  harness = await fixture.createHarness({ startHeight: 0 })
})

async function holdfast(...args: string[]): Promise<string> {
  const said: string[] = []
  const write = (text: string): void => void said.push(text)
  const config = loadConfig('cli', { DATABASE_URL: fixture.watcherUrl })
  const untilInterrupted = () => AbortSignal.timeout(1)
  const program = createProgram({ config, write, complain: write, untilInterrupted })
  await program.parseAsync(['chain', ...args], { from: 'user' })
  return said.join('')
}

/** The output as `chain list` shows it. */
const shownOutput = async (): Promise<string> => /[\dA-Za-z]{64,88}:\d+/.exec(await holdfast('list'))?.[0] ?? ''

/** Stores facts of the output in the shop's inbox, as this network's source had reported them. */
const store = (...facts: { seq: number; amount: string; state: string }[]) =>
  fixture.query(
    `insert into payment_report (source, report_id, network, asset, tx_id, output_index, seq, state, address, amount,
       block_height, block_hash, first_seen_at)
     select c.source, encode(sha256((o.tx_id || f.seq)::bytea), 'hex'), o.network, o.asset, o.tx_id, o.output_index,
       f.seq, f.state, o.address, f.amount, o.block_height, o.block_hash, o.first_seen_at
     from chain_output o join chain_status c using (network)
     cross join jsonb_to_recordset($2) f (seq int, amount numeric, state text)
     where o.network = $1`,
    [harness.network, JSON.stringify(facts)],
  )

const waitingOf = () =>
  fixture.query(`select seq, state, refusals from chain_report where network = $1 order by seq`, [harness.network])
const outputOf = async () =>
  (await fixture.query(`select seq, state from chain_output where network = $1`, [harness.network]))[0]
const notesOf = () =>
  fixture.query<{ actor: string; body: string }>(
    `select actor, body from audit_entry where kind = 'chain_operation' and body like '%' || $1 || '%'`,
    [harness.network],
  )

/** An output whose first report was refused, since another fact is stored. */
async function refuse(...stored: { seq: number; amount: string; state: string }[]): Promise<void> {
  minePayment(harness)
  await harness.step({ fates: ['contradicted'] })
  await store(...stored)
}

describe('a report that contradicts a stored one', () => {
  test('is reported again under the next sequence number that is free, and the outbox is empty', async () => {
    await refuse({ seq: 1, amount: '1', state: 'seen' }, { seq: 2, amount: '1', state: 'final' })
    const output = await shownOutput()
    expect(await holdfast('report-again', harness.network, output, ...BY)).toBe('done\n')
    expect(await waitingOf()).toEqual([{ seq: 3, state: 'seen', refusals: 0 }])
    await harness.step()
    expect(statesOf(harness)).toEqual(['3 seen'])
    expect(await waitingOf()).toEqual([])
    expect(await holdfast('list')).not.toContain('Refused reports:')
  })

  test('is reported again as it is now, not as it was when it was refused', async () => {
    await refuse({ seq: 1, amount: '1', state: 'seen' })
    const output = await shownOutput()
    harness.chain.drop(1)
    harness.chain.mine()
    await harness.step({ fates: ['contradicted'] })
    const present = await outputOf()
    await holdfast('report-again', harness.network, output, ...BY)
    expect(await waitingOf()).toMatchObject([{ state: present?.['state'], refusals: 0 }])
  })

  test('is discarded with what was read, and what is read again is reported under a free number', async () => {
    await refuse({ seq: 1, amount: '1', state: 'seen' }, { seq: 2, amount: '1', state: 'final' })
    await holdfast('discard', harness.network, await shownOutput(), ...BY)
    expect(await waitingOf()).toEqual([])
    expect(await outputOf()).toEqual({ seq: 2, state: 'dropped' })
    await holdfast('start', harness.network, '0', ...BY)
    await harness.step()
    expect(statesOf(harness)).toEqual(['3 seen'])
  })

  test('is settled in the name of an operator, and the audit names the output and the reason', async () => {
    await refuse({ seq: 1, amount: '1', state: 'seen' })
    const output = await shownOutput()
    await holdfast('discard', harness.network, output, ...BY)
    const [note] = await notesOf()
    expect(note).toMatchObject({ actor: 'operator:ann' })
    expect(note?.body).toContain(output.split(':')[0])
    expect(note?.body).toContain(REASON)
  })
})

test('an output without a refused report is not discarded, and nothing is noted', async () => {
  minePayment(harness)
  await harness.step({ fates: ['lost'] })
  const [row] = await fixture.query<{ output: string }>(
    `select tx_id || ':' || output_index as output from chain_output where network = $1`,
    [harness.network],
  )
  await expect(holdfast('discard', harness.network, row?.output ?? '', ...BY)).rejects.toThrow(RefusedError)
  await expect(holdfast('report-again', harness.network, `0x${'a'.repeat(64)}:0`, ...BY)).rejects.toThrow(RefusedError)
  expect(await waitingOf()).toEqual([{ seq: 1, state: 'seen', refusals: 0 }])
  expect(await notesOf()).toEqual([])
})

test('the watcher by itself renumbers and discards nothing', async () => {
  await refuse({ seq: 1, amount: '1', state: 'seen' })
  const settle = fixture.query(
    `set role watcher; set holdfast.source = 'watcher-1'; select settle_report(network, tx_id, output_index, 'discard') from chain_output where network = '${harness.network}'`,
  )
  await expect(settle).rejects.toMatchObject({ code: 'HF022' })
  await fixture.query('reset role')
})
