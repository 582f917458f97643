// A chain, our addresses on it and a watcher that can be killed at any call; and what must be true of all it ever told.

import { randomBytes } from 'node:crypto'
import { expect } from '@jest/globals'
import type { ChainClient } from '../../src/chain/client.ts'
import type { SendReport } from '../../src/chain/delivery.ts'
import { DeepReorgError } from '../../src/chain/follow.ts'
import { createChainMetrics } from '../../src/chain/metrics.ts'
import { createWatcher, type Watcher } from '../../src/chain/watcher.ts'
import type { ChainOutput, Observation } from '../../src/domain/chain.ts'
import { openDatabase, type Database } from '../../src/db/connection/pool.ts'
import { DomainError } from '../../src/domain/failure.ts'
import { reportIdOf } from '../../src/grpc/report.ts'
import { createLogger, createRegistry } from '../../src/telemetry.ts'
import { putOrder, putProduct } from './builder.ts'
import { createSimulatedChain } from './chain.ts'
import { createTestDatabase, type TestDatabase } from './database.ts'

/** Low, so that random histories are often deep. */
export const CONFIRMATIONS = 4
export const HOUR_MS = 3_600_000
/** How many addresses of each scene are ours. */
export const ADDRESSES = 3

type Ground = { database: Database; testDatabase: TestDatabase; productId: string }

export type Stage = {
  /** As the watcher sees it. */
  database: Database
  /** How the watcher finds its database. */
  watcherUrl: string
  /** As the api that takes reports sees it. */
  api: Database
  /** As the superuser sees it. */
  query: TestDatabase['query']
  /** A chain and a watcher of their own. */
  openScene: (options?: SceneOptions) => Promise<Scene>
  close: () => Promise<void>
}

/** A database for scenes. Use it in `beforeAll`, and `close` in `afterAll`. */
export async function openStage(): Promise<Stage> {
  const testDatabase = await createTestDatabase()
  const url = testDatabase.urlOf('watcher')
  const database = await openDatabase({ url, poolSize: 4, applicationName: 'watcher-test' })
  const api = await openDatabase({ url: testDatabase.urlOf('app_api'), poolSize: 2, applicationName: 'api-test' })
  const { productId } = await putProduct(testDatabase, { onHand: 1_000_000n })
  return {
    database,
    api,
    watcherUrl: url,
    query: testDatabase.query,
    openScene: (options) => openScene({ database, testDatabase, productId }, options),
    close: async () => {
      await database.close()
      await api.close()
      await testDatabase.drop()
    },
  }
}

/** A call that dies: before it did anything, or after its effect but before the answer. */
export class Crash extends Error {}
type Fault = 'before' | 'after' | undefined

/** The same object, whose asynchronous calls die as `fault` says. */
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

/** What becomes of a message: three or one of it taken, lost on the way there or back, sent away for a second, refused. */
export type Fate = 'taken' | 'one' | 'lost' | 'unanswered' | 'limited' | 'refused'

type SceneOptions = {
  startHeight?: number | undefined
  maxBlockAgeMs?: number
  minedAt?: (height: number) => Date
  /** False: the addresses are nobody's. */
  isShop?: boolean
  /** Whether the node is asked for balances. */
  hasBalances?: boolean
}
export type Step = { crash?: { after: number; as: Fault } | undefined; fates?: readonly Fate[]; waitMs?: number }

/** A chain, our addresses on it, a watcher that can be killed, and everything the receiver was ever told. */
async function openScene(
  { database, testDatabase, productId }: Ground,
  {
    startHeight,
    maxBlockAgeMs = Infinity,
    minedAt = () => new Date(),
    isShop = true,
    hasBalances = true,
  }: SceneOptions = {},
) {
  const network = `sim-${randomBytes(8).toString('hex')}`
  const addresses: string[] = []
  for (let order = 0; order < ADDRESSES; order += 1) {
    const lines = [{ productId, quantity: 1, unitPriceMinor: 1_250n }]
    const overrides = { network, lines }
    addresses.push(isShop ? (await putOrder(testDatabase, overrides)).address : `0x${randomBytes(20).toString('hex')}`)
  }
  const chain = createSimulatedChain({ network, seed: network, minedAt })
  /** The node the watcher asks; a test may exchange its answers. */
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
    /** A counter of this network. */
    count: async (name: string): Promise<number> =>
      (await registry.getSingleMetric(name)?.get())?.values.reduce((sum, { value }) => sum + value, 0) ?? 0,
    watcher: () => watcher,
    start,
    /** One step, as a rule a long time after the one before; a crash leaves a new watcher behind. */
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
    /** What an operator does who has looked into it. */
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
export type Scene = Awaited<ReturnType<typeof openScene>>

export const keyOf = ({ txId, outputIndex }: { txId: string; outputIndex: number }): string => `${txId}/${outputIndex}`

/** The receiver's rule: per output, the highest seq is the present view. */
function viewOf(delivered: readonly Observation[]): Map<string, Observation> {
  const view = new Map<string, Observation>()
  for (const observation of delivered) {
    if (observation.seq > (view.get(keyOf(observation))?.seq ?? 0)) view.set(keyOf(observation), observation)
  }
  return view
}

/** What was told is what the chain says: nothing missing, nothing too much, every depth right. */
export async function expectTruth({ chain, addresses, delivered, status, wasReorgAccepted }: Scene): Promise<void> {
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
    // What was given up stays so when an operator lets the chain go back below its block.
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

/** Each output's facts come in the order of seq, none is left out, and a repetition says the same again. */
export function expectOrder({ delivered }: Scene): void {
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

/** A step; where it vouches for the chain, everything the chain holds must have been told. */
export async function stepAndCheck(scene: Scene, options?: Step): Promise<unknown> {
  const before = (await scene.status())?.caughtUpAt?.getTime() ?? 0
  const failure = await scene.step(options)
  const after = (await scene.status())?.caughtUpAt?.getTime() ?? 0
  if (after > before) await expectTruth(scene)
  return failure
}

/** Mines a payment to the first of our addresses. */
export function minePayment({ chain, addresses }: Scene, amount = 5n): ChainOutput {
  const transfer = chain.transferTo(addresses[0] ?? '', amount)
  chain.mine([transfer])
  return transfer
}
/** What was told, in the order it was told. */
export const statesOf = ({ delivered }: Scene): string[] => delivered.map(({ state, seq }) => `${seq} ${state}`)
