// The watcher of one chain, under the name of one source; a network may have several. It stores the shop's outputs with the cursor, delivers the reports, and only then vouches for
// the chain time. All state that matters is in the database: a kill -9 loses nothing.

import { countUnexplained } from '../db/chain/balance.ts'
import { readCursor, type Cursor } from '../db/chain/cursor.ts'
import { countReports } from '../db/chain/outbox.ts'
import { findOwnSource } from '../db/chain/source.ts'
import { stampStatus, type Stamp } from '../db/chain/status.ts'
import { suspendChain } from '../db/chain/suspension.ts'
import type { Header } from '../domain/chain.ts'
import { backOffMs, repeat } from '../repeat.ts'
import { createBalanceCheck } from './balance.ts'
import { BlockGoneError, ChainError, NodesDifferError } from './client.ts'
import { createDelivery, type SendReport } from './delivery.ts'
import { DeepReorgError, followChain, type FollowOptions } from './follow.ts'
import { createHistoryWatch, isWarningDue } from './history.ts'
import { createBackfillProgress } from './backfill.ts'
import { createFirstCursor, type FirstCursorOptions } from './start.ts'
import { createSweep } from './sweep.ts'

/** Together with the pauses of delivery and of the channel to the api: a recovery is noticed within ten seconds. */
export const MAX_RETRY_MS = 4_000
const MAX_CAUSE_LENGTH = 300

export type WatcherOptions = FollowOptions &
  FirstCursorOptions & {
    sendReport: SendReport
    /** The name that the reports carry. The database's sessions write its rows alone (DatabaseOptions.source). */
    source: string
    /** Called before each step of a run. */
    onTurn?: () => void
    /** Monotonic milliseconds. */
    now?: () => number
  }

/** The database lets these sessions write no row of this source. Nothing is read or sent, and a retry does not help. */
export class SourceDeniedError extends Error {
  override readonly name = 'SourceDeniedError'
}

export type Watcher = {
  /** Scans, delivers and stamps once. Returns whether there is more to scan at once. */
  step: () => Promise<boolean>
  /** Steps until aborted. Failures are logged and retried. @throws {SourceDeniedError} */
  run: (pollMs: number, signal: AbortSignal) => Promise<void>
  /** Milliseconds since the node's tip was recent and scanned; Infinity before the first time. */
  ageMs: () => number
}

type Scan = { askedAt: Date; tip: Header; cursor: Cursor; hasMore: boolean }

export function createWatcher(options: WatcherOptions): Watcher {
  const { client, database, metrics, logger, source, now = () => performance.now() } = options
  const { network } = client
  // A series that begins with its first reorganisation has no increase, so that one would raise no alarm.
  metrics.reorgDepth.zero({ network })
  const deliver = createDelivery({ ...options, network, now })
  const checkBalances = createBalanceCheck(options)
  const sweep = createSweep(options)
  const stamp = createStamp(options)
  let freshAt = Number.NEGATIVE_INFINITY
  const history = createHistoryWatch(network, metrics, logger)
  const noteProgress = createBackfillProgress({ network, metrics, logger, now })
  /** Steps in a row in which the node's tip was below the last scanned block. */
  let ahead = 0
  /** Whether the database has been found to let this source write. */
  let isOwn = false

  /** Must succeed before any report is sent under this source's name, also while the node is away. */
  async function claim(): Promise<void> {
    if (!isOwn && (await findOwnSource(database)) !== source)
      throw new SourceDeniedError(
        `the database login may not write for the source ${source}: set HOLDFAST_SOURCE, or see docs/operations.md`,
      )
    isOwn = true
  }

  async function scan(): Promise<Scan> {
    await claim()
    const { now: askedAt, cursor: stored } = await readCursor(database, network)
    const tip = await client.getTip()
    const from = stored ?? (await createFirstCursor(options, tip, askedAt))
    const cursor = await followChain(options, from, tip).catch(async (error: unknown) => {
      if (error instanceof BlockGoneError) {
        history.noteMissing({ height: error.height, tip: tip.height })
        // An operator may begin above the gap, but not above the tip.
        await stamp({ tip, askedAt, isVouched: false })
      }
      throw error
    })
    const lagBlocks = tip.height - cursor.scannedHeight
    const isStuck = lagBlocks > 0 && cursor.scannedHeight === from.scannedHeight
    ahead = lagBlocks < 0 ? ahead + 1 : 0
    const place = { height: cursor.scannedHeight + 1, tip: tip.height }
    if (isStuck) history.noteMissing(place)
    else history.noteGiven()
    if (isWarningDue(ahead))
      logger.warn({ network, ...place, looks: ahead }, "the next block to read is above the node's tip")
    noteProgress({ height: cursor.scannedHeight, tip: tip.height })
    notePlace(options, { askedAt, tip, cursor })
    return { askedAt, tip, cursor, hasMore: lagBlocks > 0 && !isStuck }
  }

  async function step(): Promise<boolean> {
    const startedAt = now()
    const { askedAt, tip, cursor, hasMore } = await scan().catch(async (error: unknown) => {
      // Waiting reports stay true while the node is away. After a deep reorganisation they may not be, nor while nodes
      // contradict each other.
      if (error instanceof DeepReorgError) {
        metrics.isHalted.set({ network }, 1)
        await suspendChain(database, network, source, 'deep_reorg')
      } else if (error instanceof NodesDifferError) await suspendChain(database, network, source, 'nodes_differ')
      else if (isOwn) await deliver()
      throw error
    })
    await deliver()
    const isScanned = cursor.scannedHash === tip.hash
    if (isScanned && askedAt.getTime() - tip.minedAt.getTime() <= options.maxBlockAgeMs) freshAt = startedAt
    const isVouched = isScanned && (await checkBalances(tip))
    const caughtUpAt = await stamp({ tip, askedAt, isVouched })
    metrics.caughtUpAt.set({ network }, (caughtUpAt?.getTime() ?? 0) / 1_000)
    await noteQueue(options)
    // Last: a node that gives no balance of an old address delays nothing else.
    if (isScanned) await sweep(tip)
    return hasMore
  }

  const takeTurn = (): Promise<boolean> => {
    options.onTurn?.()
    return step()
  }
  return { step, run: (pollMs, signal) => runSteps(takeTurn, options, pollMs, signal), ageMs: () => now() - freshAt }
}

function createStamp({ client, database, confirmations }: WatcherOptions) {
  const comparesBalances = client.findBalances !== undefined
  return (seen: Pick<Stamp, 'tip' | 'askedAt' | 'isVouched'>): Promise<Date | null> =>
    stampStatus(database, client.network, { ...seen, confirmations, comparesBalances })
}

function notePlace(
  { client: { network }, metrics }: FollowOptions,
  { askedAt, tip, cursor }: Omit<Scan, 'hasMore'>,
): void {
  const labels = { network }
  metrics.isHalted.set(labels, 0)
  metrics.tipHeight.set(labels, tip.height)
  metrics.scannedHeight.set(labels, cursor.scannedHeight)
  metrics.lagBlocks.set(labels, tip.height - cursor.scannedHeight)
  metrics.tipAge.set(labels, (askedAt.getTime() - tip.minedAt.getTime()) / 1_000)
}

async function noteQueue({ client: { network }, database, metrics }: FollowOptions): Promise<void> {
  const { waiting, refused } = await countReports(database, network)
  metrics.outboxDepth.set({ network }, waiting)
  metrics.refusedDepth.set({ network }, refused)
  metrics.unexplained.set({ network }, await countUnexplained(database, network))
}

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
      if (error instanceof SourceDeniedError) throw error
      metrics.failures.inc({ network })
      logger.error({ network, err: error, failures, cause: causeOf(error) }, 'a look at the chain failed')
    },
  })
}

/** Only messages written in this folder: a library's message may quote a row. */
const causeOf = (error: unknown): string | undefined =>
  [ChainError, DeepReorgError, NodesDifferError].some((kind) => error instanceof kind)
    ? (error as Error).message.slice(0, MAX_CAUSE_LENGTH)
    : undefined
