// What people and the payer do about refunds of sequences: on the product, with its answers, and on the oracle.

import { randomBytes, randomUUID } from 'node:crypto'
import { statement, type Tx } from '../../../src/db/connection/pool.ts'
import { endPayout, noteBroadcast, preparePayout, storeSignature } from '../../../src/db/payout.ts'
import { releasePayout } from '../../../src/db/payout_operation.ts'
import { approveRefund, rejectRefund, requestRefund, setRefundAddress } from '../../../src/db/refund_decision.ts'
import { systemActor, type Actor } from '../../../src/domain/audit.ts'
import { DomainError, type FailureReason } from '../../../src/domain/failure.ts'
import { ORDER_STATUSES } from '../../../src/domain/order.ts'
import { sqlStateOf } from '../../../src/db/connection/sqlstate.ts'
import { buildAttempt } from '../builder.ts'
import { refundSealer } from '../refund_seal.ts'
import type { TestShop } from '../shop.ts'
import { NETWORK_FEE, type OrderOracle } from './oracle.ts'
import type { RefundAct } from './sequence.ts'

const WITHIN_MS = 60_000
const PAYER = systemActor('worker')
const SENDER = { network: 'ethereum', sender: `0x${'5e'.repeat(20)}`, chainId: 31_337, chainNonce: 0 }
const PRICE = { gasLimit: 21_000n, maxFee: 1n, priorityFee: 1n, actor: PAYER }
const DESTINATION = `0x${'1f'.repeat(20)}`
const CUSTOMER: Actor = { actor: 'user:7', role: 'customer' }
const admin = (id: number): Actor => ({ actor: `user:${id}`, role: 'admin' })
/** Refusals that an oracle foresees. Any other error is a fault of the product. */
const FORESEEN: readonly FailureReason[] = ['REFUND_TOO_LARGE', 'ORDER_STATUS', 'REFUND_APPROVER']
const CEILING = 'HF042'

export type RefundTarget = { orderId: string; due: bigint; dust: bigint; oracle: OrderOracle }
export type RefundPlay = { act: RefundAct; target: RefundTarget }
/** at: of the play. */
type Answers = { at: number; expected: unknown; found: unknown }
type Answer = Omit<Answers, 'at'>

/** How much an operator asks for; undefined: for everything. `edge` leaves the least that an order may keep, and dust. */
const unitsOf = (act: RefundAct, { due, dust }: RefundTarget): bigint | undefined =>
  act === 'ask_all' ? undefined : act === 'ask_more' ? 10n * due : act === 'ask_edge' ? due / 1_000n + dust : due / 10n

/** Plays one step of several orders, and compares each answer with the oracle's. */
export async function playRefunds(shop: TestShop, plays: readonly RefundPlay[]): Promise<Answers[]> {
  const answers = await Promise.all(plays.map(async (play, at) => ({ at, ...(await decide(shop, play)) })))
  const paying = [...plays.entries()].filter(([, { act }]) => isSending(act) || isEnding(act))
  if (paying.length === 0) return answers
  const expected = paying.map(([, play]) => foreseePayout(play))
  const found = await shop.worker.transaction(async (tx) => {
    const told: unknown[][] = []
    for (const [, play] of paying) told.push(await payOut(tx, play))
    return told
  })
  return [...answers, ...paying.map(([at], place) => ({ at, expected: expected[place], found: found[place] }))]
}

/** What people decide. */
async function decide(shop: TestShop, { act, target }: RefundPlay): Promise<Answer> {
  const { refunds } = target.oracle
  switch (act) {
    case 'ask_part':
    case 'ask_all':
    case 'ask_more':
    case 'ask_edge': {
      const expected = refunds.ask(unitsOf(act, target))
      return { expected, found: await isTaken(ask(shop, act, target)) }
    }
    case 'address':
      return { expected: refunds.address(), found: await isTakenOf(shop, target, ['awaiting_destination'], give) }
    case 'approve_8':
    case 'approve_9': {
      const by = act === 'approve_8' ? admin(8) : admin(9)
      const found = await isTakenOf(shop, target, ['awaiting_approval'], (...args) => approve(by, ...args))
      return { expected: refunds.approve(by.actor), found }
    }
    case 'reject': {
      const statuses = ['awaiting_destination', 'awaiting_approval', 'approved']
      return { expected: refunds.reject(), found: await isTakenOf(shop, target, statuses, reject) }
    }
    case 'settle':
    case 'pay': {
      const expected = refunds.settle(['user:11', 'user:12'])
      return { expected, found: await isTakenOf(shop, target, ['awaiting_destination'], settle) }
    }
    default:
      return { expected: undefined, found: undefined }
  }
}

type Found = { refundId: string; orderId: string; version: bigint }
const findRefund = async (
  run: Tx['run'],
  { orderId }: RefundTarget,
  statuses: readonly string[],
): Promise<Found | undefined> => (await run<Found>(FIND, [orderId, statuses]))[0]
const FIND = statement(
  'chaos_find_refund',
  `select refund_id as "refundId", order_id as "orderId", version from refund
   where order_id = $1 and status = any ($2) order by created_at, refund_id limit 1`,
)

async function isTakenOf(
  shop: TestShop,
  target: RefundTarget,
  statuses: readonly string[],
  work: (shop: TestShop, refund: Found) => Promise<unknown>,
): Promise<boolean | undefined> {
  const refund = await findRefund(shop.worker.run, target, statuses)
  return refund === undefined ? undefined : isTaken(work(shop, refund))
}

const isTaken = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    (error: unknown) => {
      if (sqlStateOf(error) === CEILING) return false
      if (error instanceof DomainError && FORESEEN.includes(error.reason)) return false
      throw error
    },
  )

const attemptOf = (by: Actor) => buildAttempt({ method: 'chaos', actor: by.actor, by, key: randomUUID() })
const soon = (): number => Date.now() + WITHIN_MS
const refused = (): DomainError => new DomainError('FIELD_INVALID', 'The address is not taken.')

function ask(shop: TestShop, act: RefundAct, target: RefundTarget): Promise<unknown> {
  const units = unitsOf(act, target)
  const wish = units === undefined ? ({ kind: 'everything' } as const) : ({ kind: 'coin', units } as const)
  const more = { feeBearer: 'shop' as const, reason: 'a scratch', rateOf: () => undefined }
  return requestRefund(shop.api, attemptOf(admin(5)), { orderId: target.orderId, wish, ...more }, soon())
}

async function give(shop: TestShop, { orderId, refundId }: Found): Promise<void> {
  const given = {
    ...{ orderId, refundId, scope: { ownerId: null, statuses: ORDER_STATUSES }, feeBearer: 'shop' as const },
    parse: () => DESTINATION,
    seal: refundSealer.sealDestination,
  }
  for (const isConfirmation of [false, true])
    await setRefundAddress(
      shop.api,
      attemptOf(CUSTOMER),
      { ...given, isConfirmation },
      { refuse: refused, unreachable: refused },
      soon(),
    )
}

const approve = (by: Actor, shop: TestShop, refund: Found): Promise<unknown> =>
  approveRefund(shop.api, attemptOf(by), { ...refund, seal: refundSealer.sealApproval }, soon())

const reject = (shop: TestShop, refund: Found): Promise<unknown> =>
  rejectRefund(shop.api, attemptOf(admin(8)), { ...refund, version: undefined, reason: 'none' }, soon())

const ACT_AS = statement('chaos_act_as', `select set_config('holdfast.actor', $1, true)`)
const GIVE = statement(
  'chaos_give',
  `update refund set destination = $2, destination_confirmed_at = now(), fee_bearer = 'shop', status = 'awaiting_approval'
   where refund_id = $1`,
)
const APPROVE = statement(
  'chaos_approve',
  `insert into refund_approval (refund_id, version, approver, order_id)
   select refund_id, version, $2, order_id from refund where refund_id = $1`,
)
const SETTLE = statement('chaos_settle', `update refund set status = 'approved' where refund_id = $1`)

/** Address and both approvals by the roles and actors that give them, in two transactions: faster than four calls. */
async function settle(shop: TestShop, { refundId }: Found): Promise<void> {
  const approveAs = async (tx: Tx, by: Actor): Promise<void> => {
    await tx.run(ACT_AS, [JSON.stringify(by)])
    await tx.run(APPROVE, [refundId, by.actor])
  }
  await shop.api.transaction(async (tx) => {
    await tx.run(ACT_AS, [JSON.stringify(CUSTOMER)])
    await tx.run(GIVE, [refundId, DESTINATION])
    await approveAs(tx, admin(11))
  })
  await shop.api.transaction(async (tx) => {
    await approveAs(tx, admin(12))
    await tx.run(SETTLE, [refundId])
  })
}

const LIVE = statement(
  'chaos_live_payout',
  `select p.payout_id as "payoutId", a.tx_id as "txId"
   from refund r join payout p on p.refund_id = r.refund_id and p.status <> 'failed'
   join payout_attempt a on a.payout_id = p.payout_id
   where r.order_id = $1 and r.status = 'paying' order by r.created_at, r.refund_id limit 1`,
)
const NEXT = statement(
  'chaos_next_payout',
  `select r.refund_id as "refundId" from refund r
   where r.order_id = $1 and r.status in ('approved', 'paying')
     and not exists (select from payout p where p.refund_id = r.refund_id and p.status <> 'failed')
   order by r.status = 'approved', r.created_at, r.refund_id limit 1`,
)

const isSending = (act: RefundAct): boolean => act === 'send' || act === 'send_lost' || act === 'pay'
const isEnding = (act: RefundAct): boolean => act === 'revert' || act === 'confirm' || act === 'pay'

const OF_REFUND = statement(
  'chaos_payout_of_refund',
  `select payout_id as "payoutId" from payout where refund_id = $1 and status <> 'failed'`,
)

/** What the payer is to be told: of sending, and of the transaction that is final. */
const foreseePayout = ({ act, target: { oracle } }: RefundPlay): unknown[] => [
  ...(isSending(act) ? [oracle.refunds.send()] : []),
  ...(isEnding(act) ? [oracle.refunds.end(act === 'revert')] : []),
]

/** What the payer does: signs, sends, and hears that a transaction is final. @returns what it is told */
async function payOut(tx: Tx, { act, target }: RefundPlay): Promise<unknown[]> {
  const sent = isSending(act) ? [await send(tx, target, act === 'send_lost')] : []
  return isEnding(act) ? [...sent, await end(tx, target, act === 'revert')] : sent
}

async function send(tx: Tx, { orderId }: RefundTarget, isLost: boolean): Promise<string | undefined> {
  const [next] = await tx.run<{ refundId: string }>(NEXT, [orderId])
  if (next === undefined) return undefined
  const outcome = await preparePayout(tx, next.refundId, SENDER, PRICE)
  // The answer was lost, so the payer asks again.
  const again = isLost ? await preparePayout(tx, next.refundId, SENDER, PRICE) : undefined
  if (again !== undefined && again !== (outcome === 'prepared' ? 'repeated' : outcome)) return `again ${again}`
  const [payout] = await tx.run<{ payoutId: string }>(OF_REFUND, [next.refundId])
  if (outcome !== 'prepared' || payout === undefined) return outcome
  const txId = `0x${randomBytes(32).toString('hex')}`
  await storeSignature(tx, payout.payoutId, 1, { raw: `0x${randomBytes(100).toString('hex')}`, txId })
  await noteBroadcast(tx, txId)
  return outcome
}

async function end(tx: Tx, { orderId }: RefundTarget, isReverted: boolean): Promise<string | undefined> {
  const [payout] = await tx.run<{ payoutId: string; txId: string }>(LIVE, [orderId])
  if (payout === undefined) return undefined
  const final = { txId: payout.txId, isReverted, networkFee: NETWORK_FEE }
  const outcome = await endPayout(tx, payout.payoutId, final, PAYER)
  if (isReverted) await releasePayout(tx, payout.payoutId)
  return outcome
}
