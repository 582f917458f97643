// What our database says at the end of kill chaos, for the judge.

import type { TestStack } from '../stack.ts'
import type { Books, OrderRow, PaymentRow, RefundRow } from './judge.ts'

type Query = Pick<TestStack, 'query'>

const REFUNDS = `select r.refund_id, r.order_id, o.user_id::text, r.status, r.amount::text, r.destination
  from refund r join orders o using (order_id)`
export const readRefunds = ({ query }: Query): Promise<RefundRow[]> => query(REFUNDS)

/** What is still under way; 0 for a stack that has come to its end. */
export async function countOpen({ query }: Query): Promise<number> {
  const [row] = await query<{ open: string }>(
    `select (select count(*) from orders where status = 'pending')
       + (select count(*) from payment where state <> 'final')
       + (select count(*) from refund where status not in ('paid', 'rejected', 'cancelled'))
       + (select count(*) from workflow_start) + (select count(*) from order_wake) as open`,
  )
  return Number(row?.open ?? 1)
}

/** Outputs that were credited and are final, and refunds that were paid. */
export async function countDone({ query }: Query): Promise<number> {
  const [row] = await query<{ done: string }>(
    `select (select count(*) from payment where state = 'final') + (select count(*) from refund where status = 'paid') as done`,
  )
  return Number(row?.done ?? 0)
}

export async function readBooks({ query }: Query): Promise<Books> {
  const [ledger] = await query<Books['ledger']>(
    `select coalesce(sum(received + customer_due + refund_due + refunded + fees + written_off), 0)::text as zero,
       coalesce(sum(received), 0)::text as received, coalesce(sum(refunded), 0)::text as refunded,
       coalesce(sum(fees), 0)::text as fees
     from ledger_posting`,
  )
  return {
    orders: await query<OrderRow>(
      `select o.order_id, o.status, o.payment_state, lower(i.address) as address, i.amount_due::text as due,
         d.replacement_id, s.order_id as replaces
       from orders o join invoice i using (order_id)
       left join late_decision d on d.order_id = o.order_id
       left join late_decision s on s.replacement_id = o.order_id`,
    ),
    payments: await query<PaymentRow>('select order_id, tx_id, amount::text, state from payment'),
    refunds: await readRefunds({ query }),
    ledger: ledger ?? { zero: '', received: '', refunded: '', fees: '' },
  }
}
