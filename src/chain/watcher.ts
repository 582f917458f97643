// Watches one chain: what its blocks hold for us is stored with the cursor, reported, and only then vouched for.
// Nothing is kept in memory that a kill -9 could lose.

import { claimNetwork, countReports, readCursor, stampStatus, type Cursor } from '../db/chain/cursor.ts'
import { countUnexplained } from '../db/chain/balance.ts'
import { backOffMs, repeat } from '../repeat.ts'
import { createBalanceCheck } from './balance.ts'
import { ChainError, type Tip } from './client.ts'
import { createDelivery, type Report } from './delivery.ts'
import { DeepReorgError, follow, type FollowOptions } from './follow.ts'
import { start, type StartOptions } from './start.ts'

/** With the pauses of delivery and of the channel to the api it is part of the ten seconds that a recovery may take. */
export const MAX_RETRY_MS = 4_000
/** A node behind an address of many may lack a block, or lag, for a moment; what lasts so many looks is told of. */
const LOOKS_BEFORE_WARNING = 4
const MAX_CAUSE_LENGTH = 300

export type WatcherOptions = FollowOptions &
  StartOptions & {
    report: Report
    /** The name that the reports carry: one per network, since its outbox is one. */
    source: string
    /** Told before each step of a run. */
    onTurn?: () => void
    /** Monotonic milliseconds. */
    now?: () => number
  }

/** Another source reports what this network's outbox holds. Nothing is read: trying again would not help. */
export class SourceTakenError extends Error {
  override readonly name = 'SourceTakenError'
}

export type Watcher = {
  /** One look at the chain: scan, deliver, stamp. Returns whether there is more to scan at once. */
  step: () => Promise<boolean>
  /** Steps until aborted; failures are logged and tried again. @throws {SourceTakenError} */
  run: (pollMs: number, signal: AbortSignal) => Promise<void>
  /** Milliseconds since the node named a current tip that is scanned now; Infinity before the first. */
  ageMs: () => number
}

type Scan = { askedAt: Date; tip: Tip; cursor: Cursor; hasMore: boolean }

export function createWatcher(options: WatcherOptions): Watcher {
  const { client, database, metrics, logger, source, now = () => performance.now() } = options
  const { network } = client
  const deliver = createDelivery({ ...options, network, now })
  const checkBalances = createBalanceCheck(options)
  let freshAt = Number.NEGATIVE_INFINITY
  /** Looks in a row at which the node named a tip and did not give the next block. */
  let missed = 0
  /** Looks in a row at which the node's tip was below the last block scanned. */
  let ahead = 0
  /** Whether this look has found that the network is reported under our name. */
  let isOurs = false

  /** Before anything is told under our name, also of what was seen before: a node that is away is no reason to tell it. */
  async function claim(cursor: Cursor): Promise<Cursor> {
    if (cursor.source !== source && !(await claimNetwork(database, network, source)))
      throw new SourceTakenError(
        `${network} is reported by the source ${cursor.source ?? 'of another watcher'}, not by ${source}: set HOLDFAST_SOURCE, or see docs/operations.md`,
      )
    isOurs = true
    return cursor
  }

  async function scan(): Promise<Scan> {
    const { now: askedAt, cursor: stored } = await readCursor(database, network)
    if (stored !== undefined) await claim(stored)
    const tip = await client.getTip()
    const from = stored ?? (await claim(await start(options, tip, askedAt)))
    const cursor = await follow(options, from, tip)
    const lagBlocks = tip.height - cursor.scannedHeight
    const isStuck = lagBlocks > 0 && cursor.scannedHeight === from.scannedHeight
    missed = isStuck ? missed + 1 : 0
    ahead = lagBlocks < 0 ? ahead + 1 : 0
    const place = { network, height: cursor.scannedHeight + 1, tip: tip.height }
    if (isToldOf(missed)) logger.warn({ ...place, missed }, 'the node does not give a block')
    if (isToldOf(ahead)) logger.warn({ ...place, looks: ahead }, "the next block to read is above the node's tip")
    metrics.isHalted.set({ network }, 0)
    metrics.tipHeight.set({ network }, tip.height)
    metrics.scannedHeight.set({ network }, cursor.scannedHeight)
    metrics.lagBlocks.set({ network }, lagBlocks)
    metrics.tipAge.set({ network }, (askedAt.getTime() - tip.minedAt.getTime()) / 1_000)
    return { askedAt, tip, cursor, hasMore: lagBlocks > 0 && !isStuck }
  }

  async function step(): Promise<boolean> {
    const startedAt = now()
    isOurs = false
    const { askedAt, tip, cursor, hasMore } = await scan().catch(async (error: unknown) => {
      // What was seen stays true while the node is away; after a deep reorganisation it may not be.
      if (error instanceof DeepReorgError) metrics.isHalted.set({ network }, 1)
      else if (isOurs) await deliver()
      throw error
    })
    await deliver()
    const isScanned = cursor.scannedHash === tip.hash
    if (isScanned && askedAt.getTime() - tip.minedAt.getTime() <= options.maxBlockAgeMs) freshAt = startedAt
    const isVouched = isScanned && (await checkBalances(tip))
    const comparesBalances = client.findBalances !== undefined
    const caughtUpAt = await stampStatus(database, network, { tip, askedAt, isVouched, comparesBalances })
    metrics.caughtUpAt.set({ network }, (caughtUpAt?.getTime() ?? 0) / 1_000)
    const { waiting, refused } = await countReports(database, network)
    metrics.outboxDepth.set({ network }, waiting)
    metrics.refusedDepth.set({ network }, refused)
    metrics.unexplained.set({ network }, await countUnexplained(database, network))
    return hasMore
  }

  const turn = (): Promise<boolean> => {
    options.onTurn?.()
    return step()
  }
  return { step, run: (pollMs, signal) => runSteps(turn, options, pollMs, signal), ageMs: () => now() - freshAt }
}

const isToldOf = (looks: number): boolean => looks >= LOOKS_BEFORE_WARNING && Number.isInteger(Math.log2(looks))

async function runSteps(
  step: Watcher['step'],
  { client: { network }, metrics, logger }: FollowOptions,
  pollMs: number,
  signal: AbortSignal,
): Promise<void> {
  const backOff = { fromMs: pollMs, toMs: MAX_RETRY_MS }
  await repeat(step, {
    signal,
    everyMs: pollMs,
    waitMs: (hasMore) => (hasMore ? 0 : pollMs),
    retryMs: (failures) => Math.max(pollMs, backOffMs(failures, backOff)),
    onError: (error, failures) => {
      if (error instanceof SourceTakenError) throw error
      metrics.failures.inc({ network })
      logger.error({ network, err: error, failures, cause: causeOf(error) }, 'a look at the chain failed')
    },
  })
}

/** In the words of this room; a library's may quote a row. */
const causeOf = (error: unknown): string | undefined =>
  error instanceof ChainError || error instanceof DeepReorgError ? error.message.slice(0, MAX_CAUSE_LENGTH) : undefined
