// The watcher on a simulated chain, under random histories: whatever the chain does, whichever call dies and however
// often a report is lost, what the receiver ends up knowing is what the chain says.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { reorganise } from '../../test/support/chain.ts'
import {
  ADDRESSES,
  CONFIRMATIONS,
  HOUR_MS,
  expectOrder,
  expectTruth,
  minePayment,
  openWatcherFixture,
  statesOf,
  stepAndCheck,
  type Fate,
  type WatcherFixture,
} from '../../test/support/watcher_fixture.ts'
import { count, seed } from '../../test/support/scale.ts'
import { until } from '../../test/support/until.ts'
import type { ChainOutput } from '../domain/chain.ts'
import { ChainError } from './client.ts'
import { DeepReorgError } from './follow.ts'
import { SourceDeniedError } from './watcher.ts'

let fixture: WatcherFixture
beforeAll(async () => {
  fixture = await openWatcherFixture()
})
afterAll(async () => {
  await fixture.close()
})

const payments = fc.array(fc.record({ to: fc.nat(ADDRESSES), amount: fc.bigInt({ min: 1n, max: 10n ** 30n }) }), {
  maxLength: 3,
})
const operation = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('mine' as const), blocks: fc.array(payments, { maxLength: 5 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('reorg' as const),
      depth: fc.oneof(
        { weight: 4, arbitrary: fc.integer({ min: 1, max: CONFIRMATIONS - 1 }) },
        { weight: 1, arbitrary: fc.integer({ min: CONFIRMATIONS, max: CONFIRMATIONS + 2 }) },
      ),
      /** Which of the lost outputs come again, and how many blocks the new branch has first. */
      keeps: fc.array(fc.boolean(), { maxLength: 8 }),
      blocks: fc.nat(CONFIRMATIONS + 3),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('step' as const),
      crash: fc.option(fc.record({ after: fc.nat(40), as: fc.constantFrom('before' as const, 'after' as const) }), {
        nil: undefined,
      }),
      fates: fc.array(fc.constantFrom<Fate>('taken', 'one', 'lost', 'unanswered', 'limited'), { maxLength: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('accept' as const) }) },
)

test(
  'whatever happens, the receiver learns in order what the chain says, and is told to rely on nothing else',
  async () => {
    const property = fc.asyncProperty(
      fc.option(fc.nat(2), { nil: undefined }),
      fc.array(operation, { minLength: 5, maxLength: 30 }),
      async (startHeight, operations) => {
        const harness = await fixture.createHarness({ startHeight })
        const { chain, addresses } = harness
        const toTransfer = ({ to, amount }: { to: number; amount: bigint }): ChainOutput =>
          chain.transferTo(addresses[to] ?? `0x${'0'.repeat(40)}`, amount)
        let longest = 0
        for (const each of operations) {
          longest = Math.max(longest, chain.blocks().length)
          if (each.kind === 'mine') for (const block of each.blocks) chain.mine(block.map(toTransfer))
          if (each.kind === 'reorg') reorganise(chain, each.depth, each.keeps, each.blocks)
          if (each.kind === 'accept') await harness.acceptReorg()
          if (each.kind === 'step') await stepAndCheck(harness, each)
        }
        // Longer at the end than it ever was: a node that is behind would rightly be waited for.
        while (chain.blocks().length <= longest) chain.mine()
        for (let quiet = 0; quiet < 10; quiet += 1) {
          if ((await stepAndCheck(harness)) instanceof DeepReorgError) await harness.acceptReorg()
        }
        await expectTruth(harness)
        expectOrder(harness)
      },
    )
    await fc.assert(property, { numRuns: count(25, 500), seed })
  },
  count(90_000, 1_800_000),
)

test('a tip that is old by its own time is scanned and vouches for its own time, but the watcher is not ready', async () => {
  const minedAt = new Date(Date.now() - HOUR_MS)
  const harness = await fixture.createHarness({ startHeight: 0, maxBlockAgeMs: 60_000, minedAt: () => minedAt })
  minePayment(harness)
  await harness.step()
  expect(statesOf(harness)).toEqual(['1 seen'])
  expect((await harness.status())?.caughtUpAt).toEqual(minedAt)
  expect(harness.watcher().ageMs()).toBe(Infinity)
})

test('a chain whose clock is ahead vouches for no time that has not come', async () => {
  const harness = await fixture.createHarness({ startHeight: 0, minedAt: () => new Date(Date.now() + HOUR_MS) })
  await harness.step()
  expect((await harness.status())?.caughtUpAt?.getTime()).toBeLessThanOrEqual(Date.now())
})

test('what was seen is delivered while the node is away', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  await harness.step({ fates: ['lost'] })
  const databaseCallsBeforeTheTip = 2
  await harness.step({ crash: { after: databaseCallsBeforeTheTip, as: 'before' } })
  expect(statesOf(harness)).toEqual(['1 seen'])
})

test('what a look failed on is in the log, in words of this room alone', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  await harness.step()
  harness.chain.mine()
  let failure: Error = new ChainError('block 1: eth_getBlockReceipts: the node refused (-32000 pruned)')
  harness.client.findBlock = async () => {
    throw failure
  }
  const stop = new AbortController()
  const running = harness.watcher().run(1, stop.signal)
  const causes = () => harness.log.map(({ cause }) => cause)
  await until(() => causes().includes('block 1: eth_getBlockReceipts: the node refused (-32000 pruned)'))
  failure = new Error('a library quotes a row')
  const heard = harness.log.length
  await until(() => harness.log.length > heard).finally(() => stop.abort())
  await running
  expect(JSON.stringify(harness.log)).not.toContain('quotes a row')
})

test('a node whose tip stays below what was scanned shows in the lag and in the log', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  for (let block = 0; block < 3; block += 1) harness.chain.mine()
  await harness.step()
  const behind = await harness.client.findHeader(1)
  harness.client.getTip = async () => behind ?? { height: 0, hash: '', minedAt: new Date(), chainTime: new Date() }
  for (let look = 0; look < 4; look += 1) await harness.step()
  expect(await harness.count('holdfast_chain_lag_blocks')).toBe(-2)
  expect(harness.log).toMatchObject([{ msg: "the next block to read is above the node's tip", height: 4, tip: 1 }])
})

test('a watcher whose database login writes for another source ends, and takes no report from its outbox', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  await harness.step({ fates: ['lost'] })
  await expect(harness.start('watcher-2').run(1, new AbortController().signal)).rejects.toThrow(SourceDeniedError)
  expect(statesOf(harness)).toEqual([])
  await harness.step()
  expect(statesOf(harness)).toEqual(['1 seen'])
})

test('a watcher under another name takes no report while its node is away', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  await harness.step({ fates: ['lost'] })
  const other = harness.start('watcher-2')
  harness.client.getTip = async () => {
    throw new ChainError('the node did not answer')
  }
  await expect(other.step()).rejects.toBeInstanceOf(SourceDeniedError)
  expect(statesOf(harness)).toEqual([])
})

test('a watcher runs until it is told to stop, whatever fails', async () => {
  const harness = await fixture.createHarness({ startHeight: 0 })
  minePayment(harness)
  const stop = new AbortController()
  const running = harness.watcher().run(1, stop.signal)
  await until(() => harness.watcher().ageMs() === 0).finally(() => stop.abort())
  await running
  expect(statesOf(harness)).toEqual(['1 seen'])
})
