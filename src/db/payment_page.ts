// What the payment page shows of orders: no owner, no product, no address of delivery.

import { sql } from 'slonik'
import { z } from 'zod'
import type { CancelReason, OrderStatus } from '../domain/order.ts'
import type { Asset, PaymentFlag, PaymentState } from '../domain/payment.ts'
import type { RefundStatus } from '../domain/refund.ts'
import { minorOf } from './accept/accept.ts'
import type { Database } from './connection/pool.ts'

/** The largest transfers of an order for which a depth is found: an order may have thousands of tiny ones. */
const MAX_TRANSFERS = 20

const word = <Word extends string>() => z.string().transform((text) => text as Word)
const UNITS = z.string().transform(BigInt)
const FACTS = z.object({
  orderId: z.string(),
  status: word<OrderStatus>(),
  paymentState: word<PaymentState>(),
  flags: z.array(word<PaymentFlag>()),
  cancelReason: word<CancelReason>().nullable(),
  currency: z.string(),
  totalMinor: z.string().transform(minorOf),
  network: z.string(),
  asset: word<Asset>(),
  address: z.string(),
  due: UNITS,
  expiresAt: z.date(),
  /** With the grace. */
  endsAt: z.date(),
  /** What was seen, final or not, news of the inbox included; of an open order, what was seen in time. */
  seen: UNITS,
  final: UNITS,
  /** Of the order's asset, those that were not rejected or cancelled, summed by status. `offered`: not owed, awaited. */
  refunds: z.array(z.object({ status: word<RefundStatus | 'offered'>(), amount: UNITS })),
  /** The order that the late money of this expired one pays. */
  replacedBy: z.object({ orderId: z.string(), createdAt: z.string().transform((text) => new Date(text)) }).nullable(),
  /** The smallest depth of the transfers that are not final; null: one of them is in no block. */
  depth: z.number().nullable(),
  /** Confirmations that make money final at as many sources as the order needs; null: none has said. */
  needed: z.number().nullable(),
  now: z.date(),
})
export type PaymentFacts = z.output<typeof FACTS>

/** The facts of each order, in one statement. An id without an order has no entry. */
export async function findPaymentFacts(
  database: Pick<Database, 'sql'>,
  orderIds: readonly string[],
): Promise<readonly PaymentFacts[]> {
  return database.sql.any(sql.type(FACTS)`
    select o.order_id as "orderId", o.status, o.payment_state as "paymentState", o.payment_flags as flags,
      o.cancel_reason as "cancelReason", o.currency, o.total as "totalMinor", i.network, i.asset, i.address,
      i.amount_due as due, i.expires_at as "expiresAt", i.expires_at + i.grace as "endsAt",
      coalesce(old.seen, 0) + coalesce(news.seen, 0) + least(coalesce(given.seen, 0), i.amount_due) as seen,
      coalesce(old.final, 0) + least(coalesce(given.final, 0), i.amount_due) as final,
      back.refunds, next.order as "replacedBy",
      case when read.height >= block.height then least(read.height - block.height + 1, 1000000)::int end as depth,
      read.confirmations as needed,
      clock_timestamp() as now
    from unnest(${sql.array([...orderIds], 'uuid')}) known (order_id)
    join orders o using (order_id) join invoice i using (order_id)
    cross join lateral (select required_sources(o.order_id, 0) as sources) quorum
    cross join lateral (
      select (
        select c.scanned_height from active_source c where c.network = i.network
        order by c.scanned_height desc offset quorum.sources - 1 limit 1) as height, (
        select c.confirmations from active_source c where c.network = i.network and c.confirmations is not null
        order by c.confirmations offset quorum.sources - 1 limit 1) as confirmations
    ) read
    left join lateral (
      select sum(p.amount) as seen, sum(p.amount) filter (where p.state = 'final') as final
      from payment p where p.order_id = o.order_id and p.state in ('seen', 'reorged', 'final')
        and (p.is_in_time or o.status <> 'pending') and not exists (select from payment_report r where r.order_id = p.order_id and r.network = p.network
          and r.tx_id = p.tx_id and r.output_index = p.output_index and not r.is_assessed)
    ) old on true
    left join lateral (
      select sum(f.amount) as seen from fresh_outputs(o.order_id, ${MAX_TRANSFERS}) f
      where f.is_right_asset and not f.is_early and (f.is_in_time or o.status <> 'pending') and f.state in ('seen', 'reorged', 'final')
    ) news on true
    left join lateral (
      select sum(p.amount) as seen, sum(p.amount) filter (where p.state = 'final') as final
      from late_decision l join payment p on p.order_id = l.order_id and p.state in ('seen', 'reorged', 'final')
      where l.replacement_id = o.order_id
    ) given on true
    left join lateral (
      select jsonb_build_object('orderId', n.order_id, 'createdAt', n.created_at) as order
      from late_decision l join orders n on n.order_id = l.replacement_id where l.order_id = o.order_id
    ) next on true
    cross join lateral (
      select coalesce(jsonb_agg(jsonb_build_object('status', s.status, 'amount', s.amount::text) order by s.status), '[]')
        as refunds
      from (
        select case when r.status = 'awaiting_destination' and r.kind = 'goodwill' then 'offered' else r.status end
            as status, sum(r.amount) as amount
        from refund r
        where r.order_id = o.order_id and (r.network, r.asset) = (i.network, i.asset) and r.token is null
          and r.status not in ('rejected', 'cancelled')
        group by 1
      ) s
    ) back
    left join lateral (
      select case when bool_and(t.state = 'seen') then max(t.height) end as height from (
        select p.state, (
          select r.block_height from payment_report r
          where r.order_id = p.order_id and r.network = p.network and r.tx_id = p.tx_id
            and r.output_index = p.output_index
          order by r.report_no desc limit 1) as height
        from payment p where p.order_id = o.order_id and p.state in ('seen', 'reorged')
        order by p.amount desc limit ${MAX_TRANSFERS}
      ) t
    ) block on true`)
}
