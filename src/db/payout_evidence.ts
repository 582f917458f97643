// What the payer compares with its own node before it pays a refund: the outputs that the database says have paid for it,
// and what left of that money. Nothing here is a proof: it says where on the chain to look.

import type { FeeBearer } from '../domain/refund.ts'
import { statement, type Database } from './connection/pool.ts'

/** More outputs than this are not looked at: the largest first. */
const MAX_CLAIMS = 200

export type PayoutEvidence = {
  refundId: string
  orderId: string
  network: string
  asset: string
  amount: bigint
  destination: string | null
  feeBearer: FeeBearer | null
  destinationSeal: string | null
  /** Of every version. */
  approvals: readonly { version: string; approver: string; seal: string | null }[]
  /** Final outputs, by what watchers reported: the largest first. */
  claims: readonly { txId: string; outputIndex: number }[]
  /** Payment addresses of the order that the keys process made. */
  addresses: readonly string[]
  /** What is being paid or was paid of the same money by other refunds, in base units. */
  spent: bigint
}

type EvidenceRow = Omit<PayoutEvidence, 'amount' | 'spent'> & { amount: string; spent: string }

// The money of an expired order and of its replacement is the same money (order_money).
const EVIDENCE = statement(
  'payout_evidence',
  `with due as (select * from refund where refund_id = $1),
   pair as (
     select order_id from due
     union select d.order_id from late_decision d join due u on d.replacement_id = u.order_id
     union select d.replacement_id from late_decision d join due u on d.order_id = u.order_id
       where d.replacement_id is not null),
   claim as (
     select p.tx_id, p.output_index, p.amount from payment p join due u on (p.network, p.asset) = (u.network, u.asset)
     where p.order_id in (select order_id from pair) and p.state = 'final'
     union
     select o.tx_id, o.output_index, min(o.amount) from unattributed_output o
     join due u on (o.network, o.asset) = (u.network, u.asset)
     where o.order_id in (select order_id from pair) group by 1, 2)
   select u.refund_id as "refundId", u.order_id as "orderId", u.network, u.asset, u.amount, u.destination,
     u.fee_bearer as "feeBearer", u.destination_seal as "destinationSeal",
     coalesce((
       select jsonb_agg(jsonb_build_object('version', a.version::text, 'approver', a.approver, 'seal', a.seal))
       from refund_approval a where a.refund_id = u.refund_id), '[]') as approvals,
     coalesce((
       select jsonb_agg(jsonb_build_object('txId', c.tx_id, 'outputIndex', c.output_index))
       from (select * from claim order by amount desc, tx_id, output_index limit $2) c), '[]') as claims,
     array(
       select i.address from invoice i join address_pool a on (a.network, a.address) = (i.network, i.address)
       where i.order_id in (select order_id from pair) and i.network = u.network) as addresses,
     (select coalesce(sum(r.amount), 0) from refund r
      where r.order_id in (select order_id from pair) and (r.network, r.asset) = (u.network, u.asset)
        and r.token is null and r.status in ('paying', 'paid') and r.refund_id <> u.refund_id) as spent
   from due u`,
)
export async function findEvidence(
  database: Pick<Database, 'run'>,
  refundId: string,
): Promise<PayoutEvidence | undefined> {
  const [row] = await database.run<EvidenceRow>(EVIDENCE, [refundId, MAX_CLAIMS])
  return row && { ...row, amount: BigInt(row.amount), spent: BigInt(row.spent) }
}

const PROMISED = statement(
  'payout_promised',
  `select coalesce(sum(p.amount), 0) as amount from payout p
   where (p.network, p.sender) = ($1, $2) and p.created_at > clock_timestamp() - interval '1 day'`,
)
/** The amounts of the account's payouts of the last day, failed ones included. */
export async function sumOfDay(
  database: Pick<Database, 'run'>,
  { network, sender }: { network: string; sender: string },
): Promise<bigint> {
  return BigInt((await database.run<{ amount: string }>(PROMISED, [network, sender]))[0]?.amount ?? 0)
}
