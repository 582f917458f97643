// One turn of the payer: settles what is on the chain, prepares approved refunds, has them signed, and sends. Every step is
// stored before the next one begins, and each may be repeated: signed bytes are stored before a node sees them, so that a
// crash at any place sends the same transaction again, and the chain executes a nonce once.

import { RpcRefusal } from '../chain/rpc.ts'
import {
  endPayout,
  holdSender,
  noteBroadcast,
  notePayoutBlock,
  replacePayout,
  storeSignature,
  type OpenPayout,
  type PayoutAttempt,
} from '../db/payout.ts'
import { bumpedPriceOf, gasPriceOf, MAX_TRANSFER_GAS } from '../domain/payout.ts'
import { findPayoutRefusal } from './check.ts'
import { findOpen, PAYER, settledHeightOf, type ChainHead, type PayoutDeps } from './deps.ts'
import { accountOf, prepareAll } from './prepare.ts'
import type { SigningRequest } from './signer.ts'
import { readSigned, SignatureRefused } from './transaction.ts'

/** Another payer takes over the account of a dead one after this. */
const LEASE_MS = 15_000

/** @returns false while another process holds the account */
export async function payoutTurn(deps: PayoutDeps): Promise<boolean> {
  const { database, node, signer } = deps
  const at = await node.getHead()
  const chainNonce = await node.countTransactions(signer.sender)
  const head: ChainHead = { ...at, tip: await node.getTip(), chainNonce }
  if (!(await holdSender(database, accountOf(deps, head), { holder: deps.holder, leaseMs: LEASE_MS }))) return false
  for (const payout of await findOpen(deps)) await alone(deps, payout, () => settle(deps, head, payout))
  await prepareAll(deps, head)
  const open = await findOpen(deps)
  for (const payout of open) await alone(deps, payout, () => advance(deps, head, payout))
  await measure(deps, open)
  return true
}

/** A payout that cannot go on stops no other one. A node or a database that is away stops the turn. */
async function alone(deps: PayoutDeps, { payoutId, refundId }: OpenPayout, act: () => Promise<void>): Promise<void> {
  try {
    await act()
  } catch (error) {
    if (error instanceof RpcRefusal) return noteRefusal(deps, { payoutId, refundId }, error)
    if (!(error instanceof SignatureRefused)) throw error
    deps.metrics.failed.inc({ step: 'sign' })
    // Its text names fields, and no value of the refused transaction.
    deps.logger.error({ payoutId, refundId, refused: error.message }, 'a signed payout is refused')
  }
}

function noteRefusal(
  { metrics, logger }: Pick<PayoutDeps, 'metrics' | 'logger'>,
  ids: Pick<OpenPayout, 'payoutId' | 'refundId'>,
  { message }: RpcRefusal,
): void {
  metrics.failed.inc({ step: 'node' })
  logger.warn({ ...ids, cause: message }, 'the node refuses a question about a payout, which waits')
}

/** Looks for the payout's transactions on the chain; at the depth it is over. */
async function settle(deps: PayoutDeps, head: ChainHead, payout: OpenPayout): Promise<void> {
  const { database, node, logger } = deps
  const { payoutId, refundId } = payout
  const settled = settledHeightOf(deps, head)
  // Before the receipts: once another transaction has the nonce, none of them comes any more. And deeper than what is
  // final: behind one URL, the node that answers for receipts may be that far behind the one that counts.
  const isNonceUsed = await isUsedAt(deps, head, payout, settled - deps.confirmations)
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

/**
 * Whether the account's transaction with the payout's nonce is executed at a height. Nodes that keep no archive lack the
 * account's state there, also after a restart from a saved state: that proves nothing, and the payout waits.
 */
async function isUsedAt(deps: PayoutDeps, head: ChainHead, payout: OpenPayout, height: number): Promise<boolean> {
  const { nonce, payoutId, refundId } = payout
  if (head.chainNonce <= nonce || height < 0) return false
  try {
    return (await deps.node.countTransactions(deps.signer.sender, height)) > nonce
  } catch (error) {
    if (!(error instanceof RpcRefusal)) throw error
    noteRefusal(deps, { payoutId, refundId }, error)
    return false
  }
}

async function end(deps: PayoutDeps, payout: OpenPayout, final: Parameters<typeof endPayout>[2]): Promise<void> {
  const { payoutId, refundId } = payout
  deps.checked.delete(payoutId)
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

/** Signs, sends, sends again, or raises the fee: the next step of a payout that is in no block. */
async function advance(deps: PayoutDeps, head: ChainHead, payout: OpenPayout): Promise<void> {
  const newest = payout.attempts.at(-1)
  if (newest === undefined || payout.blockHash !== null) return
  // What no node has yet can still be stopped. A filler sends nothing, and what was sent is anyone's to send again.
  if (payout.isSuspended && newest.kind === 'pay' && payout.status !== 'broadcast') return
  const signed = newest.signed ?? (await sign(deps, head, payout, newest))
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
    throw notGiven('its fee is above the limit')
}

/**
 * A row may be written by others, also past the database's guards: what the payer's preparation checks is checked again
 * before the first signature, and once more when the terms are not those that were checked, or at another height:
 * `atHead`. A filler sends nothing.
 */
async function assertPayable(
  deps: PayoutDeps,
  head: ChainHead,
  payout: OpenPayout,
  { kind, transaction }: PayoutAttempt,
  { atHead }: { atHead: boolean },
) {
  const { payoutId, refundId, amount } = payout
  const { chainId, to, value } = transaction
  // On another chain the account may have money too, and nothing here looks at what is sent there.
  if (chainId !== deps.chainId) throw notGiven('it is for another chain')
  if (kind === 'fill') return
  if (value > amount) throw notGiven('it sends more than its refund')
  const terms = `${refundId} ${amount} ${to}`
  const before = deps.checked.get(payoutId)
  if (before?.terms === terms && (!atHead || before.height === head.height)) return
  const refusal = await findPayoutRefusal(deps, head, { refundId, amount, destination: to }, true)
  if (refusal !== undefined) throw notGiven(refusal)
  deps.checked.set(payoutId, { terms, height: head.height })
}

const notGiven = (why: string): SignatureRefused => new SignatureRefused(`it is not given to the signer: ${why}`)

async function sign(deps: PayoutDeps, head: ChainHead, payout: OpenPayout, newest: PayoutAttempt) {
  const { payoutId, refundId, network } = payout
  const { attempt, transaction } = newest
  assertPrice(deps, transaction)
  await assertPayable(deps, head, payout, newest, { atHead: false })
  const request: SigningRequest = { payoutId, attempt, refundId, network, transaction }
  const answer = await deps.signer.sign(request)
  if (answer === undefined) return undefined
  // A signature by files comes hours later: meanwhile the chain may have taken the money back.
  await assertPayable(deps, head, payout, newest, { atHead: true })
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

async function raiseFee(deps: PayoutDeps, head: ChainHead, payout: OpenPayout, last: PayoutAttempt): Promise<void> {
  const { payoutId, refundId } = payout
  const price = bumpedPriceOf(last.transaction, gasPriceOf(head.baseFee, head.tip, payout.feeBearer))
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
