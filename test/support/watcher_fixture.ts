// A fixture for watcher tests: a simulated chain, our addresses on it, and a watcher that can crash at any call. Checks
// that everything the watcher ever reported is true.

import { randomBytes } from 'node:crypto'
import { expect } from '@jest/globals'
import type { ChainClient } from '../../src/chain/client.ts'
import type { SendReport } from '../../src/chain/delivery.ts'
import { DeepReorgError } from '../../src/chain/follow.ts'
import { createChainMetrics } from '../../src/chain/metrics.ts'
import { createWatcher, type Watcher } from '../../src/chain/watcher.ts'
import type { ChainOutput, Observation } from '../../src/domain/chain.ts'
import type { Database } from '../../src/db/connection/pool.ts'
import { DomainError } from '../../src/domain/failure.ts'
import { reportIdOf } from '../../src/grpc/report.ts'
import { createLogger, createRegistry } from '../../src/telemetry.ts'
import { putOrder, putProduct } from './builder.ts'
import { createSimulatedChain } from './chain.ts'
import { createTestDatabase, openTestDatabase, type TestDatabase } from './database.ts'

/** Low, so that random histories are often deep. */
export const CONFIRMATIONS = 4
export const HOUR_MS = 3_600_000
/** Watched addresses per harness. */
export const ADDRESSES = 3

type Ground = { database: Database; testDatabase: TestDatabase; productId: string }

export type WatcherFixture = {
  /** Connected under the watcher's role. */
  database: Database
  /** The watcher's database url. */
  watcherUrl: string
  /** The superuser's database url, in the place of the owner's. */
  ownerUrl: string
  /** Connected under the role of the api, which receives reports. */
  api: Database
  /** Queries as the superuser. */
  query: TestDatabase['query']
  /** Creates a new chain with its own watcher. */
  createHarness: (options?: HarnessOptions) => Promise<WatcherHarness>
  close: () => Promise<void>
}

/** A database that harnesses share. Use it in `beforeAll`, and `close` in `afterAll`. */
export async function openWatcherFixture(): Promise<WatcherFixture> {
  const testDatabase = await createTestDatabase()
  const url = testDatabase.urlOf('watcher')
  const database = await openTestDatabase({ url, poolSize: 4, applicationName: 'watcher-test', source: 'watcher-1' })
  const api = await openTestDatabase({ url: testDatabase.urlOf('app_api'), poolSize: 2, applicationName: 'api-test' })
  const { productId } = await putProduct(testDatabase, { onHand: 1_000_000n })
  return {
    database,
    api,
    watcherUrl: url,
    ownerUrl: testDatabase.url,
    query: testDatabase.query,
    createHarness: (options) => createHarness({ database, testDatabase, productId }, options),
    close: async () => {
      await database.close()
      await api.close()
      await testDatabase.drop()
    },
  }
}

/** An injected crash: before a call has any effect, or after its effect but before its answer. */
export class Crash extends Error {}
type Fault = 'before' | 'after' | undefined

/** The same object, whose asynchronous calls crash as `fault` says. */
function breakable<T extends object>(target: T, fault: () => Fault): T {
  return new Proxy(target, {
    get: (object, name) => {
      const member: unknown = Reflect.get(object, name)
      if (typeof member !== 'function') return member
      return async (...args: unknown[]) => {
        const when = fault()
        if (when === 'before') throw new Crash()
        const [work] = args as [(tx: object) => unknown]
        const given = name === 'transaction' ? [(tx: object) => work(breakable(tx, fault))] : args
        const result: unknown = await Reflect.apply(member, object, given)
        if (when === 'after') throw new Crash()
        return result
      }
    },
  })
}

/** The fate of a batch of reports: three or one accepted, request or answer lost, retry after a second, refused. */
export type Fate = 'taken' | 'one' | 'lost' | 'unanswered' | 'limited' | 'refused' | 'contradicted'

type HarnessOptions = {
  startHeight?: number | undefined
  maxBlockAgeMs?: number
  minedAt?: (height: number) => Date
  /** False: the addresses belong to no order. */
  isShop?: boolean
  /** Whether the node can report balances. */
  hasBalances?: boolean
}
export type Step = { crash?: { after: number; as: Fault } | undefined; fates?: readonly Fate[]; waitMs?: number }

/** A chain, our addresses on it, a watcher that can crash, and everything that the receiver accepted. */
async function createHarness(
  { database, testDatabase, productId }: Ground,
  {
    startHeight,
    maxBlockAgeMs = Infinity,
    minedAt = () => new Date(),
    isShop = true,
    hasBalances = true,
  }: HarnessOptions = {},
) {
  const network = `sim-${randomBytes(8).toString('hex')}`
  const addresses: string[] = []
  for (let order = 0; order < ADDRESSES; order += 1) {
    const lines = [{ productId, quantity: 1, unitPriceMinor: 1_250n }]
    const overrides = { network, lines }
    addresses.push(isShop ? (await putOrder(testDatabase, overrides)).address : `0x${randomBytes(20).toString('hex')}`)
  }
  const chain = createSimulatedChain({ network, seed: network, minedAt })
  /** The watcher's node; a test may replace its answers. */
  const client: Omit<ChainClient, 'findBalances'> & Required<Pick<ChainClient, 'findBalances'>> = {
    findBalances: async (of) => new Map(of.map((address) => [address, chain.balanceOf(address)])),
    ...chain.client,
  }
  const asked: ChainClient = {
    network,
    getTip: () => client.getTip(),
    findHeader: (height) => client.findHeader(height),
    findBlock: (height) => client.findBlock(height),
    ...(hasBalances && { findBalances: (of, hash) => client.findBalances(of, hash) }),
  }
  const delivered: Observation[] = []
  let callsToCrash = Infinity
  let crashAs: Fault
  let fates: Fate[] = []
  let nowMs = 0
  let isReorgAccepted = false
  const fault = (): Fault => (callsToCrash-- === 0 ? crashAs : undefined)
  const sendReport: SendReport = async (observations) => {
    const fate = fates.shift() ?? 'taken'
    if (fate === 'lost') throw new DomainError('DATABASE_UNAVAILABLE', 'down')
    if (fate === 'refused') throw new DomainError('FIELD_INVALID', 'no')
    if (fate === 'contradicted') throw new DomainError('REPORT_CONFLICT', 'other')
    if (fate === 'limited') throw new DomainError('DATABASE_UNAVAILABLE', 'slower', { retryAfterMs: 1_000 })
    const taken = fate === 'one' ? 1 : Math.min(3, observations.length)
    delivered.push(...observations.slice(0, taken))
    if (fate === 'unanswered') throw new DomainError('DATABASE_UNAVAILABLE', 'no answer')
    return taken
  }
  const log: Record<string, unknown>[] = []
  const logger = createLogger({
    process: 'test',
    level: 'warn',
    destination: { write: (line: string) => void log.push(JSON.parse(line) as Record<string, unknown>) },
  })
  const registry = createRegistry('test')
  const metrics = createChainMetrics(registry)
  const start = (source = 'watcher-1'): Watcher =>
    createWatcher({
      source,
      client: { ...breakable<ChainClient>(asked, fault), network },
      database: { ...database, sql: breakable(database.sql, fault) },
      confirmations: CONFIRMATIONS,
      startHeight,
      maxBlockAgeMs,
      sendReport,
      metrics,
      logger,
      now: () => nowMs,
    })
  let watcher = start()
  return {
    network,
    addresses,
    chain,
    client,
    delivered,
    log,
    /** The value of a metric. */
    count: async (name: string): Promise<number> =>
      (await registry.getSingleMetric(name)?.get())?.values.reduce((sum, { value }) => sum + value, 0) ?? 0,
    watcher: () => watcher,
    start,
    /** One watcher step, by default long after the previous one. After a crash, a new watcher takes over. */
    step: async ({ crash, fates: nextFates = [], waitMs = HOUR_MS }: Step = {}) => {
      nowMs += waitMs
      callsToCrash = crash?.after ?? Infinity
      crashAs = crash?.as
      fates = [...nextFates]
      try {
        await watcher.step()
        return undefined
      } catch (error) {
        if (error instanceof Crash) watcher = start()
        else if (!(error instanceof DeepReorgError)) throw error
        return error
      }
    },
    status: async () => {
      const [row] = await testDatabase.query<{ settled: bigint; start: bigint; caughtUpAt: Date | null }>(
        `select settled_height as settled, start_height as start, caught_up_at as "caughtUpAt"
         from chain_status where network = $1`,
        [network],
      )
      return row
    },
    /** An operator's acceptance of a deep reorganisation. */
    acceptReorg: async () => {
      isReorgAccepted = true
      await testDatabase.query(
        'update chain_status set rewind_to = start_height - 1, rewind_given_at = scanned_height where network = $1',
        [network],
      )
    },
    wasReorgAccepted: () => isReorgAccepted,
  }
}
export type WatcherHarness = Awaited<ReturnType<typeof createHarness>>

export const keyOf = ({ txId, outputIndex }: { txId: string; outputIndex: number }): string => `${txId}/${outputIndex}`

/** The receiver's rule: per output, the report with the highest seq is current. */
function viewOf(delivered: readonly Observation[]): Map<string, Observation> {
  const view = new Map<string, Observation>()
  for (const observation of delivered) {
    if (observation.seq > (view.get(keyOf(observation))?.seq ?? 0)) view.set(keyOf(observation), observation)
  }
  return view
}

/** The reports equal the chain: none missing, none in excess, every state right for its depth. */
export async function expectTruth({
  chain,
  addresses,
  delivered,
  status,
  wasReorgAccepted,
}: WatcherHarness): Promise<void> {
  const { settled = 0n, start = 0n } = (await status()) ?? {}
  const view = viewOf(delivered)
  for (const block of chain.blocks().slice(Number(start))) {
    for (const output of block.outputs.filter(({ address }) => addresses.includes(address))) {
      const { address, amount, asset } = output
      const state = block.height <= settled ? 'final' : 'seen'
      const at = { height: block.height, hash: block.hash }
      expect(view.get(keyOf(output))).toMatchObject({ state, address, amount, asset, block: at })
      view.delete(keyOf(output))
    }
  }
  expect(settled).toBeGreaterThanOrEqual(chain.blocks().length - CONFIRMATIONS)
  for (const { state, block } of view.values()) {
    // A dropped output stays dropped when an operator rewinds the chain below its block.
    const isGivenUp = (block?.height ?? 0) <= settled || (state === 'dropped' && wasReorgAccepted())
    expect(state).toBe(isGivenUp ? 'dropped' : 'reorged')
  }
}

const NEXT_STATES: Readonly<Record<Observation['state'] | 'none', readonly Observation['state'][]>> = {
  none: ['seen'],
  seen: ['final', 'reorged'],
  replaced: [],
  final: ['reorged'],
  reorged: ['seen', 'dropped'],
  dropped: ['seen'],
}

/** Reports of each output arrive in order of seq without gaps, and a repetition is identical. */
export function expectOrder({ delivered }: WatcherHarness): void {
  const facts = new Map<string, Observation[]>()
  for (const observation of delivered) {
    const known = facts.get(keyOf(observation)) ?? []
    facts.set(keyOf(observation), known)
    const before = known[observation.seq - 1]
    if (before !== undefined) {
      expect(observation).toEqual(before)
      continue
    }
    expect(observation.seq).toBe(known.length + 1)
    expect(NEXT_STATES[known.at(-1)?.state ?? 'none']).toContain(observation.state)
    if (known[0] !== undefined) expect(observation.firstSeenAt).toEqual(known[0].firstSeenAt)
    known.push(observation)
  }
  const ids = [...facts.values()].flat().map(reportIdOf)
  expect(new Set(ids).size).toBe(ids.length)
}

/** A step; if it marks the chain as read to the tip, everything on the chain must have been reported. */
export async function stepAndCheck(harness: WatcherHarness, options?: Step): Promise<unknown> {
  const before = (await harness.status())?.caughtUpAt?.getTime() ?? 0
  const failure = await harness.step(options)
  const after = (await harness.status())?.caughtUpAt?.getTime() ?? 0
  if (after > before) await expectTruth(harness)
  return failure
}

/** Mines a payment to the first of our addresses. */
export function minePayment({ chain, addresses }: WatcherHarness, amount = 5n): ChainOutput {
  const transfer = chain.transferTo(addresses[0] ?? '', amount)
  chain.mine([transfer])
  return transfer
}
/** Reported states, in order of delivery. */
export const statesOf = ({ delivered }: WatcherHarness): string[] =>
  delivered.map(({ state, seq }) => `${seq} ${state}`)
