// What operators see of payouts and do with them. The session names the operator for the audit; the guards of the tables
// hold for it as for the payer.

import type { Actor } from '../domain/audit.ts'
import type { PayoutStatus } from '../domain/payout.ts'
import { findOpenPayouts, type OpenPayout } from './payout.ts'
import { statement, type Database } from './connection/pool.ts'

type Runner = Pick<Database, 'run'>

export type PayoutView = {
  payoutId: string
  refundId: string
  orderId: string
  status: PayoutStatus
  failure: string | null
  network: string
  sender: string
  nonce: string
  destination: string
  amount: string
  attempts: number
  txId: string | null
}

const LIST = statement(
  'payout_list',
  `select p.payout_id as "payoutId", p.refund_id as "refundId", p.order_id as "orderId", p.status, p.failure, p.network,
     p.sender, p.nonce::text as nonce, p.destination, p.amount::text as amount, a.attempts, a.tx_id as "txId"
   from (select * from payout x order by x.created_at desc, x.payout_id limit $1) p
   cross join lateral (
     select count(*)::int as attempts, (array_agg(t.tx_id order by t.attempt desc) filter (where t.tx_id is not null))[1] as tx_id
     from payout_attempt t where t.payout_id = p.payout_id) a
   order by p.created_at desc, p.payout_id`,
)
/** The newest payouts. */
export const listPayouts = (database: Runner, limit: number): Promise<PayoutView[]> =>
  database.run<PayoutView>(LIST, [limit])

const SENDERS = statement('payout_senders', 'select network, sender from payout_sender order by network, sender')
/** Payouts of all accounts that are not over. */
export async function findAllOpenPayouts(database: Runner, limit: number): Promise<OpenPayout[]> {
  const senders = await database.run<{ network: string; sender: string }>(SENDERS)
  const found: OpenPayout[] = []
  for (const sender of senders) found.push(...(await findOpenPayouts(database, sender, limit)))
  return found
}

const RELEASE = statement(
  'payout_release',
  `update payout p set is_released = true where p.payout_id = $1 and p.status = 'failed' and not p.is_released
   returning p.payout_id`,
)
/** Lets the refund of a failed payout be sent by another one. @returns false unless it has failed and is not released */
export const releasePayout = async (database: Runner, payoutId: string): Promise<boolean> =>
  (await database.run(RELEASE, [payoutId])).length > 0

export type PayingRefund = {
  network: string
  destination: string
  /** Values of the transactions that would have paid it, in base units. */
  values: readonly string[]
  /** Accounts that refunds of the network are sent from, with their chain. */
  senders: readonly { sender: string; chainId: number }[]
}
const PAYING = statement(
  'payout_paying',
  `select r.network, r.destination, array(
       select distinct a.value::text from payout_attempt a join payout p on p.payout_id = a.payout_id
       where p.refund_id = r.refund_id and a.kind = 'pay') as values,
     coalesce((
       select jsonb_agg(jsonb_build_object('sender', s.sender, 'chainId', s.chain_id))
       from payout_sender s where s.network = r.network), '[]') as senders
   from refund r where r.refund_id = $1 and r.status = 'paying' and r.destination is not null`,
)
/** A refund whose payout began and that is not paid. */
export const findPayingRefund = async (database: Runner, refundId: string): Promise<PayingRefund | undefined> =>
  (await database.run<PayingRefund>(PAYING, [refundId]))[0]

const SETTLE = statement('payout_settle', 'select settle_payout($1, $2, $3, $4) as outcome')
/** The refund is paid by this transaction. @returns the result of settle_payout */
export async function settlePayout(
  database: Runner,
  refundId: string,
  { txId, networkFee }: { txId: string; networkFee: bigint },
  actor: Actor,
): Promise<string> {
  const values = [refundId, txId, networkFee.toString(), JSON.stringify(actor)]
  return (await database.run<{ outcome: string }>(SETTLE, values))[0]?.outcome ?? 'NOT_FOUND'
}
