// One turn of the payer: settles what is on the chain, prepares approved refunds, has them signed, and sends. Every step is
// stored before the next one begins, and each may be repeated: signed bytes are stored before a node sees them, so that a
// crash at any place sends the same transaction again, and the chain executes a nonce once.

import {
  endPayout,
  findEarlierPayouts,
  findOpenPayouts,
  findPayableRefunds,
  holdSender,
  noteBroadcast,
  notePayoutBlock,
  preparePayout,
  replacePayout,
  storeSignature,
  type OpenPayout,
  type PayableRefund,
  type PayoutAttempt,
} from '../db/payout.ts'
import type { Database } from '../db/connection/pool.ts'
import { systemActor } from '../domain/audit.ts'
import { bumpedPriceOf, gasPriceOf, MAX_TRANSFER_GAS, type GasPrice } from '../domain/payout.ts'
import type { FeeBearer } from '../domain/refund.ts'
import type { Logger } from '../telemetry.ts'
import type { PayoutMetrics } from './metrics.ts'
import type { PayoutNode } from './node.ts'
import type { Signer, SigningRequest } from './signer.ts'
import { readSigned, SignatureRefused } from './transaction.ts'

export const PAYER = systemActor('payer')

/** Payouts under way at a time: nodes keep few waiting transactions of one account. */
const MAX_OPEN = 50
/** Refunds looked at in a turn: those that must wait hold up no others. */
const MAX_WAITING = 200
/** Another payer takes over the account of a dead one after this. */
const LEASE_MS = 15_000

export type PayoutDeps = {
  database: Pick<Database, 'run'>
  node: PayoutNode
  signer: Signer
  network: string
  chainId: number
  /** Blocks from which on a payout is final, its own included. */
  confirmations: number
  /** A transaction that no block has after this gets a higher fee. */
  stuckAfterMs: number
  /** Above this fee per gas nothing is prepared or raised. */
  maxFee: bigint
  holder: string
  metrics: PayoutMetrics
  logger: Logger
}

type Head = { height: number; baseFee: bigint; tip: bigint; chainNonce: number }

/** @returns false while another process holds the account */
export async function payoutTurn(deps: PayoutDeps): Promise<boolean> {
  const { database, node, signer } = deps
  const at = await node.getHead()
  const chainNonce = await node.countTransactions(signer.sender)
  const head: Head = { ...at, tip: await node.getTip(), chainNonce }
  if (!(await holdSender(database, accountOf(deps, head), { holder: deps.holder, leaseMs: LEASE_MS }))) return false
  for (const payout of await findOpen(deps)) await alone(deps, payout, () => settle(deps, head, payout))
  await prepareAll(deps, head)
  const open = await findOpen(deps)
  for (const payout of open) await alone(deps, payout, () => advance(deps, head, payout))
  await measure(deps, open)
  return true
}

const accountOf = ({ network, chainId, signer }: PayoutDeps, { chainNonce }: Head) => ({
  ...{ network, chainId, sender: signer.sender, chainNonce },
})
const findOpen = ({ database, network, signer }: PayoutDeps): Promise<OpenPayout[]> =>
  findOpenPayouts(database, { network, sender: signer.sender }, MAX_OPEN)

/** A payout that cannot go on stops no other one. A node or a database that is away stops the turn. */
async function alone(deps: PayoutDeps, { payoutId, refundId }: OpenPayout, act: () => Promise<void>): Promise<void> {
  try {
    await act()
  } catch (error) {
    if (!(error instanceof SignatureRefused)) throw error
    deps.metrics.failed.inc({ step: 'sign' })
    // Its text names fields, and no value of the refused transaction.
    deps.logger.error({ payoutId, refundId, refused: error.message }, 'a signed payout is refused')
  }
}

/** Looks for the payout's transactions on the chain; at the depth it is over. */
async function settle(deps: PayoutDeps, head: Head, payout: OpenPayout): Promise<void> {
  const { database, node, confirmations, logger } = deps
  const { payoutId, refundId } = payout
  const settled = head.height - confirmations + 1
  // Before the receipts: once another transaction has the nonce, none of them comes any more. And deeper than what is
  // final: behind one URL, the node that answers for receipts may be that far behind the one that counts.
  const isNonceUsed = await isUsedAt(deps, head, payout, settled - confirmations)
  for (const { signed } of payout.attempts.toReversed()) {
    const found = signed && (await node.findInclusion(signed.txId))
    if (signed === undefined || found === undefined) continue
    if (found.hash !== payout.blockHash) await notePayoutBlock(database, payoutId, found)
    if (found.height > settled) return
    return end(deps, payout, { txId: signed.txId, isReverted: found.isReverted, networkFee: found.networkFee })
  }
  if (isNonceUsed) return end(deps, payout, { txId: null, isReverted: false, networkFee: 0n })
  if (payout.blockHash === null) return
  await notePayoutBlock(database, payoutId, undefined)
  logger.warn({ payoutId, refundId }, 'a payout lost its block to a reorganisation, and is sent again')
}

const isUsedAt = async ({ node, signer }: PayoutDeps, { chainNonce }: Head, { nonce }: OpenPayout, height: number) =>
  chainNonce > nonce && height >= 0 && (await node.countTransactions(signer.sender, height)) > nonce

async function end(deps: PayoutDeps, payout: OpenPayout, final: Parameters<typeof endPayout>[2]): Promise<void> {
  const { payoutId, refundId } = payout
  const outcome = await endPayout(deps.database, payoutId, final, PAYER)
  if (outcome === 'confirmed') {
    deps.metrics.confirmed.inc()
    deps.logger.info({ payoutId, refundId }, 'payout confirmed')
  } else if (outcome !== 'repeated') {
    deps.metrics.failed.inc({ step: 'end' })
    deps.logger.error(
      { payoutId, refundId, outcome, isReverted: final.isReverted },
      'payout failed: an operator decides',
    )
  }
}

/** Gives approved refunds their nonce and transaction, while the account has the money for all that is under way. */
async function prepareAll(deps: PayoutDeps, head: Head): Promise<void> {
  const { database, network, node, signer } = deps
  const open = await findOpen(deps)
  const waiting = await findPayableRefunds(database, network, MAX_WAITING)
  deps.metrics.waiting.reset()
  if (waiting.length === 0) return
  let room = MAX_OPEN - open.length
  let free = (await node.getBalance(signer.sender)) - open.reduce((sum, { attempts }) => sum + costOf(attempts), 0n)
  for (const refund of waiting) {
    if (room === 0) return
    const result = await prepare(deps, head, refund, free)
    if (typeof result === 'bigint') {
      free -= result
      room -= 1
    } else {
      deps.metrics.waiting.inc({ reason: result })
      deps.logger.warn({ refundId: refund.refundId, reason: result }, 'a refund waits for its payout')
    }
  }
}

/** The most that the newest transaction can take from the account. */
const costOf = (attempts: readonly PayoutAttempt[]): bigint => {
  const last = attempts.at(-1)?.transaction
  return last === undefined ? 0n : last.value + last.gasLimit * last.maxFee
}

/** @returns what it takes from the account at most, or why it waits */
async function prepare(deps: PayoutDeps, head: Head, refund: PayableRefund, free: bigint): Promise<bigint | string> {
  const { database, node, signer } = deps
  const price = priceOf(head, refund.feeBearer)
  if (price.maxFee > deps.maxFee) return 'fee_too_high'
  const earlier = refund.isAgain ? await earlierOutcome(deps, head, refund.refundId) : 'nothing'
  if (earlier !== 'nothing') return earlier
  // Before the estimate, which a node refuses for an account without the money.
  if (free < refund.amount + MAX_TRANSFER_GAS * price.maxFee) return 'insufficient_funds'
  const gasLimit = await node.estimateGas({ from: signer.sender, to: refund.destination, value: refund.amount })
  if (gasLimit === undefined || gasLimit > MAX_TRANSFER_GAS) return 'destination_refuses'
  const terms = { ...price, gasLimit, actor: PAYER }
  const outcome = await preparePayout(database, refund.refundId, accountOf(deps, head), terms)
  if (outcome === 'prepared') deps.metrics.prepared.inc()
  return outcome === 'prepared' || outcome === 'repeated' ? refund.amount + gasLimit * price.maxFee : outcome
}

/**
 * What the failed payouts of a refund may still do or have done, by the chain: a row says that they failed, and an
 * operator released them, but neither is a proof.
 */
async function earlierOutcome(deps: PayoutDeps, head: Head, refundId: string) {
  for (const { sender, nonce, txIds } of await findEarlierPayouts(deps.database, refundId)) {
    const settled = head.height - deps.confirmations + 1
    if (settled < 0 || (await deps.node.countTransactions(sender, settled)) <= nonce) return 'may_be_paid'
    for (const txId of txIds) if ((await deps.node.findInclusion(txId))?.isReverted === false) return 'paid_before'
  }
  return 'nothing'
}

const priceOf = ({ baseFee, tip }: Head, bearer: FeeBearer): GasPrice => gasPriceOf(baseFee, tip, bearer)

/** Signs, sends, sends again, or raises the fee: the next step of a payout that is in no block. */
async function advance(deps: PayoutDeps, head: Head, payout: OpenPayout): Promise<void> {
  const newest = payout.attempts.at(-1)
  if (newest === undefined || payout.blockHash !== null) return
  const signed = newest.signed ?? (await sign(deps, payout, newest))
  // While a replacement waits for its signature, the transaction before it stays sent.
  const sent = signed ?? payout.attempts.findLast((each) => each.signed !== undefined)?.signed
  if (sent !== undefined) await send(deps, payout, sent)
  const isNext = payout.nonce === head.chainNonce
  if (newest.signed !== undefined && isNext && newest.ageMs > deps.stuckAfterMs)
    await raiseFee(deps, head, payout, newest)
}

/**
 * A row may be written by others: no fee may empty the account. One raise above the limit is allowed, because an
 * operator may cancel a payout that is at it.
 */
function assertPrice({ maxFee }: PayoutDeps, transaction: PayoutAttempt['transaction']): void {
  const most = bumpedPriceOf({ maxFee, priorityFee: maxFee }, { maxFee, priorityFee: maxFee })
  if (transaction.gasLimit > MAX_TRANSFER_GAS || transaction.maxFee > most.maxFee)
    throw new SignatureRefused('it is not given to the signer: its fee is above the limit')
}

async function sign(deps: PayoutDeps, payout: OpenPayout, { attempt, transaction }: PayoutAttempt) {
  const { payoutId, refundId, network } = payout
  assertPrice(deps, transaction)
  const request: SigningRequest = { payoutId, attempt, refundId, network, transaction }
  const answer = await deps.signer.sign(request)
  if (answer === undefined) return undefined
  const signed = await readSigned(answer, transaction)
  await storeSignature(deps.database, payoutId, attempt, signed)
  await deps.signer.forget(request)
  // Read again, because another process may have stored a signature before this one: only stored bytes are sent.
  const stored = (await findOpen(deps)).find((each) => each.payoutId === payoutId)
  return stored?.attempts.find((each) => each.attempt === attempt)?.signed
}

async function send(deps: PayoutDeps, payout: OpenPayout, { raw, txId }: { raw: string; txId: string }): Promise<void> {
  const { database, node, metrics, logger } = deps
  const { payoutId, refundId } = payout
  if (payout.status === 'broadcast' && (await node.hasTransaction(txId))) return
  const sending = await node.send(raw)
  if (sending === 'taken') return noteBroadcast(database, txId)
  // Its nonce is used: by itself or by a replacement, which the next turn settles.
  if (sending === 'nonce_used') return
  metrics.failed.inc({ step: 'send' })
  logger.warn({ payoutId, refundId }, 'the node refuses a payout for now')
}

async function raiseFee(deps: PayoutDeps, head: Head, payout: OpenPayout, last: PayoutAttempt): Promise<void> {
  const { payoutId, refundId } = payout
  const price = bumpedPriceOf(last.transaction, priceOf(head, payout.feeBearer))
  const outcome =
    price.maxFee > deps.maxFee
      ? 'fee_too_high'
      : await replacePayout(deps.database, payoutId, { attempt: last.attempt, kind: last.kind }, price)
  deps.logger.warn({ payoutId, refundId, outcome }, 'a payout is stuck: no block takes it at its fee')
}

async function measure({ metrics }: PayoutDeps, open: readonly OpenPayout[]): Promise<void> {
  metrics.open.reset()
  for (const { status } of open) metrics.open.inc({ status })
}
