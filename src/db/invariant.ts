// Invariants of every Holdfast database at every commit. Each invariant is a query that returns violations within a
// range of orders, products or answered attempts. It relates rows of one order, product or attempt only, so one
// snapshot per range gives the same result as one snapshot of everything, and no snapshot lives long enough to keep
// dead rows in the hot tables.

import { sql, type FragmentSqlToken, type QuerySqlToken } from 'slonik'
import { z } from 'zod'
import { lateFaults } from './late_invariant.ts'
import { ledgerFaults } from './ledger_invariant.ts'
import { refundFaults } from './refund_invariant.ts'

/** One violation: the order or product, and the values that show it (ids, words and numbers only). */
export const VIOLATION = z.object({ subject: z.string(), detail: z.string() })
export type Violation = z.output<typeof VIOLATION>

/** Ids after `after`, up to and including `upTo`. Rows whose order does not exist are in a range as well. */
export type IdRange = { after: string; upTo: string }
export type AnswerKey = { actor: string; method: string; key: string }

export type InvariantLimits = {
  /** The age at which waiting work counts as stuck. */
  stuckAfterMs: number
  /** The longest time that a session may be in a transaction. */
  transactionMs: number
}

type Question<Range> = (range: Range, limits: InvariantLimits) => QuerySqlToken<typeof VIOLATION>
export type Invariant<Range> = { says: string; find: Question<Range> }

const ask = sql.type(VIOLATION)
const ordersIn = (column: FragmentSqlToken, { after, upTo }: IdRange): FragmentSqlToken =>
  sql.fragment`(${column} > ${after}::uuid and ${column} <= ${upTo}::uuid)`
const ofOrder = (range: IdRange): FragmentSqlToken => ordersIn(sql.fragment`o.order_id`, range)
const ofProduct = ({ after, upTo }: IdRange): FragmentSqlToken =>
  sql.fragment`(o.product_id > ${after} and o.product_id <= ${upTo})`
const stuckSince = ({ stuckAfterMs }: InvariantLimits): FragmentSqlToken =>
  sql.fragment`clock_timestamp() - make_interval(secs => ${stuckAfterMs / 1_000})`

/** Answers, and delivered notifications, are kept for thirty days (requirement D-26); one day of slack. */
const KEPT = sql.fragment`interval '29 days'`

/** The order has reports that no assessment has seen yet: its payment state may be out of date. */
const HAS_NEWS = sql.fragment`exists (select from payment_report n where n.order_id = o.order_id and not n.is_assessed)`

/** Audit entries before this instant are purged, or the audit did not exist yet. */
const OLDEST_ENTRY = sql.fragment`(select e.at from audit_entry e order by e.entry_id limit 1)`

/** An order's entries. One day of slack for clocks, so that only the partitions are read that may contain them. */
const ENTRIES = sql.fragment`audit_entry e where e.kind = 'order' and e.aggregate_id = o.order_id::text
  and e.at >= o.created_at - interval '1 day'`

/** The sums of an order's outputs. */
const MONEY = sql.fragment`lateral order_money(array[o.order_id]) m`

/** Tables whose rows belong to an order. */
const PARTS_OF_ORDER = [
  ...['order_line', 'invoice', 'reservation', 'stock_movement', 'payment', 'payment_report', 'refund_due'],
  ...['refund', 'refund_approval', 'ledger_posting', 'workflow_start', 'order_wake', 'notification'],
  ...['key_retire', 'late_decision', 'source_doubt', 'suspended_order', 'payout', 'payout_attempt'],
]

export const ORDER_INVARIANTS = {
  order_exists: {
    says: 'every order reference points to an existing order',
    find: (range) => {
      const within = ordersIn(sql.fragment`order_id`, range)
      const parts = PARTS_OF_ORDER.map(
        (part) => sql.fragment`select order_id, ${part}::text as part from ${sql.identifier([part])} where ${within}`,
      )
      return ask`
        select t.order_id::text as subject, string_agg(distinct t.part, ', ') as detail from (
          ${sql.join(parts, sql.fragment` union all `)}
        ) t where not exists (select from orders o where o.order_id = t.order_id) group by 1`
    },
  },
  order_is_whole: {
    says: 'every order has a customer, lines and an invoice',
    find: (range) => ask`
      select o.order_id::text as subject, 'lines: ' || l.n || ', invoices: ' || i.n || ', customers: ' || c.n as detail
      from orders o
      cross join lateral (select count(*) as n from order_line x where x.order_id = o.order_id) l
      cross join lateral (select count(*) as n from invoice x where x.order_id = o.order_id) i
      cross join lateral (select count(*) as n from customer x where x.user_id = o.user_id) c
      where ${ofOrder(range)} and (l.n = 0 or i.n <> 1 or c.n <> 1)`,
  },
  total_equals_lines: {
    says: 'the total is the sum of the order lines',
    find: (range) => ask`
      select o.order_id::text as subject, 'total ' || o.total || ', lines ' || l.total as detail
      from orders o
      cross join lateral (
        select coalesce(sum(x.quantity * x.unit_price), 0) as total from order_line x where x.order_id = o.order_id) l
      where ${ofOrder(range)} and o.total <> l.total`,
  },
  due_equals_total: {
    says: 'the amount due is the total at the quoted rate',
    find: (range) => ask`
      select o.order_id::text as subject, 'due ' || i.amount_due || ', total ' || o.total || ' at ' || i.rate as detail
      from orders o join invoice i on i.order_id = o.order_id join currency c on c.currency = i.asset
      where ${ofOrder(range)} and i.amount_due <> quote_due(o.total, i.rate, c.decimals)`,
  },
  order_has_one_key: {
    says: 'every order was created by exactly one attempt of its customer, or replaces an expired one',
    // Counted in a subquery, not joined: if one customer had most of the orders, a cached plan for a join would read
    // all of them for each order.
    find: (range) => ask`
      with asked as (
        select o.order_id, 'user:' || o.user_id as actor from orders o
        where ${ofOrder(range)} and o.created_at > clock_timestamp() - ${KEPT}
          and not exists (select from late_decision d where d.replacement_id = o.order_id)
      )
      select order_id::text as subject, 'attempts: ' || count(*) filter (where is_key) as detail
      from (
        select order_id, false as is_key from asked
        union all
        select k.order_id, true from idempotency k
        where k.method = 'CreateOrder' and k.actor in (select actor from asked)
      ) found
      group by order_id having bool_or(not is_key) and count(*) filter (where is_key) <> 1`,
  },
  holds_cover_lines: {
    says: 'the reserved quantity is the sum of the order lines, or nothing',
    find: (range) => ask`
      with wanted as (
        select o.order_id, o.product_id, sum(o.quantity) as quantity from order_line o where ${ofOrder(range)} group by 1, 2
      ), held as (
        select o.order_id, o.product_id, o.quantity from reservation o where ${ofOrder(range)} and o.hold_no = 1
      )
      select order_id::text as subject, product_id || ': wants ' || coalesce(w.quantity, 0) || ', holds ' || coalesce(h.quantity, 0) as detail
      from wanted w full join held h using (order_id, product_id)
      where w.quantity is distinct from h.quantity and exists (select from held x where x.order_id = coalesce(w.order_id, h.order_id))`,
  },
  holds_equal_ledger: {
    says: 'the stock ledger records each reservation once and its end once',
    find: (range) => ask`
      with held as (
        select o.order_id, o.product_id, o.hold_no, o.state, array['reserve 0 ' || o.quantity] as taken,
          case o.state when 'consumed' then array['consume -' || o.quantity || ' -' || o.quantity]
            when 'expired' then array['expire 0 -' || o.quantity]
            when 'released' then array['release 0 -' || o.quantity] else '{}' end as ended
        from reservation o where ${ofOrder(range)}
      ), moved as (
        select o.order_id, o.product_id, o.hold_no, array_agg(o.kind || ' ' || o.on_hand_delta || ' ' || o.reserved_delta order by o.kind) as moves
        from stock_movement o where ${ofOrder(range)} group by 1, 2, 3
      )
      select order_id::text as subject,
        product_id || ': ' || coalesce(h.state, 'no hold') || ', ledger: ' || coalesce(array_to_string(m.moves, ', '), 'nothing') as detail
      from held h full join moved m using (order_id, product_id, hold_no)
      where m.moves is distinct from h.ended || h.taken`,
  },
  holds_follow_status: {
    says: 'the state of a reservation matches the status of its order',
    find: (range) => ask`
      select o.order_id::text as subject, o.status || ', but reservations: ' || coalesce(string_agg(distinct r.state, ', '), 'none') as detail
      from orders o left join reservation r on r.order_id = o.order_id
      where ${ofOrder(range)}
      group by o.order_id
      having o.status not in ('pending', 'cancelled') and count(r.state) = 0
        or count(*) filter (where r.state <> all (case o.status
          when 'pending' then array['held'] when 'processing' then array['committed']
          when 'cancelled' then array['released', 'expired'] else array['consumed'] end)) > 0`,
  },
  payments_equal_inbox: {
    says: 'an output is credited once, to the order of its address, in the state that its watchers reported last',
    find: (range) => ask`
      with present as (
        select l.order_id, l.network, l.tx_id, l.output_index, p.amount, p.state
        from (
          select distinct o.order_id, o.network, o.tx_id, o.output_index from payment_report o where ${ofOrder(range)}
        ) l
        join invoice i on i.order_id = l.order_id join currency c on c.currency = i.asset
        cross join lateral present_output(l.order_id, l.network, l.tx_id, l.output_index) p
        where p.asset = i.asset and (p.last_first_seen_at >= i.created_at - c.clock_tolerance or exists (
          select from payment y where (y.network, y.tx_id, y.output_index) = (l.network, l.tx_id, l.output_index)))
      ), credited as (
        select o.order_id, o.network, o.tx_id, o.output_index, o.amount, o.state from payment o where ${ofOrder(range)}
      )
      select o.order_id::text as subject,
        x.tx_id || ': credited as ' || coalesce(x.amount || ' ' || x.credited, 'nothing') || ', reported as ' || coalesce(x.told || ' ' || x.reported, 'nothing') as detail
      from (
        select order_id, network, tx_id, output_index, c.amount, p.amount as told, c.state as credited, p.state as reported
        from credited c full join present p using (order_id, network, tx_id, output_index)
      ) x join orders o using (order_id)
      where not ${HAS_NEWS}
        and (x.credited, x.amount) is distinct from (x.reported, x.told)
        -- An output belongs to one order, even if it was reported for several.
        and not (x.credited is null and exists (
          select from payment y where (y.network, y.tx_id, y.output_index) = (x.network, x.tx_id, x.output_index)))`,
  },
  payment_state_follows: {
    says: 'the payment state follows from the payments',
    find: (range) => ask`
      select o.order_id::text as subject, o.status || ', ' || o.payment_state || ': final ' || m.final || ' of ' || i.amount_due as detail
      from orders o join invoice i on i.order_id = o.order_id join currency c on c.currency = i.asset cross join ${MONEY}
      where ${ofOrder(range)} and not ${HAS_NEWS}
        and o.payment_state <> all (select refund_state(o.order_id, o.status, told) from unnest(case
          when o.status = 'pending' then array[case
            when is_enough(m.seen, i.amount_due) then 'confirming' when m.seen > 0 then 'partial' else 'awaiting' end]
          when o.status <> 'cancelled' then array[case
            when is_enough(m.final, i.amount_due) then 'paid' when is_enough(m.seen, i.amount_due) then 'at_risk' else 'reversed' end]
          when m.final + m.late_final - m.accepted > c.dust_floor then array['unresolved']
          when m.seen + m.late_seen > m.final + m.late_final then array['late_confirming']
          else array['expired', 'cancelled'] end) told)`,
  },
  refunds_stay_below_money: {
    says: 'refunds are covered by money, and what is owed has one open refund',
    find: (range) => ask`${refundFaults(sql.fragment`${ofOrder(range)} and not ${HAS_NEWS}`)}`,
  },
  refund_follows_money: {
    says: 'the refund owed is all money of a cancelled order that no replacement took, and excess or late money of another, except dust',
    find: (range) => ask`
      select o.order_id::text as subject, 'owed ' || coalesce(r.amount, 0) || ', final ' || m.final || ' and late ' || m.late_final || ' of ' || i.amount_due as detail
      from orders o join invoice i on i.order_id = o.order_id join currency c on c.currency = i.asset cross join ${MONEY}
      cross join lateral (
        select case o.status when 'cancelled' then m.final - m.accepted else greatest(0, m.final - i.amount_due) end + m.late_final as amount) owed
      left join refund_due r on r.order_id = o.order_id
      where ${ofOrder(range)} and not ${HAS_NEWS}
        and coalesce(r.amount, 0) <> case when owed.amount > c.dust_floor then owed.amount else 0 end`,
  },
  late_money_pays_once: {
    says: 'late money pays a replacement only of an order that expired, by the same customer and for the same lines',
    find: (range) => ask`${lateFaults(ofOrder(range))}`,
  },
  ledger_equals_money: {
    says: 'the ledger sums to zero, and its accounts equal payments, refunds and what is owed',
    find: (range) => ask`${ledgerFaults(ofOrder(range))}`,
  },
  key_retires_at_the_end: {
    says: 'the payment key of a closed order is scheduled for retirement, that of an open order is not',
    find: (range) => ask`
      select o.order_id::text as subject, o.status || ', retirement of ' || coalesce(k.address, 'no key') as detail
      from orders o join invoice i on i.order_id = o.order_id left join key_retire k on k.order_id = o.order_id
      where ${ofOrder(range)} and coalesce(k.network || ' ' || k.address, '') <>
        case when is_terminal(o.status) then i.network || ' ' || i.address else '' end`,
  },
  news_is_awaited: {
    says: 'every order with unassessed reports has a wake',
    find: (range) => ask`
      select o.order_id::text as subject, 'no wake' as detail from orders o
      where ${ofOrder(range)} and ${HAS_NEWS} and not exists (select from order_wake w where w.order_id = o.order_id)`,
  },
  relay_passes_on: {
    says: 'no start or wake is stuck',
    find: (range, limits) => ask`
      select o.order_id::text as subject, o.what || ' since ' || o.created_at || ', attempts ' || o.attempts || coalesce(', ' || o.dead_reason, '') as detail
      from (
        select order_id, 'start' as what, created_at, attempts, dead_reason from workflow_start
        union all select order_id, 'wake', created_at, attempts, dead_reason from order_wake
      ) o
      where ${ofOrder(range)} and o.created_at < ${stuckSince(limits)}`,
  },
  hold_ends_on_time: {
    says: 'no unpaid order reserves stock after its expiry',
    find: (range, limits) => ask`
      select o.order_id::text as subject, 'should have expired at ' || (i.expires_at + i.grace) as detail
      from orders o join invoice i on i.order_id = o.order_id
      where ${ofOrder(range)} and o.status = 'pending' and i.expires_at + i.grace < ${stuckSince(limits)}
        and exists (select from expirable e where e.order_id = o.order_id)
        and exists (select from reservation r where r.order_id = o.order_id and r.state = 'held' and r.expires_at < ${stuckSince(limits)})`,
  },
  news_follows_status: {
    says: 'every change of status has a notification, in version order',
    find: (range) => ask`
      with told as (
        select o.order_id, o.channel, o.status, o.order_version,
          lag(o.status) over w as before, lead(o.status) over w is null as is_last
        from notification o where ${ofOrder(range)} and o.changed_at > clock_timestamp() - ${KEPT}
        window w as (partition by o.order_id, o.channel order by o.notification_id)
      )
      select o.order_id::text as subject, t.channel || ': ' || t.status || ' at version ' || t.order_version || ', now ' || o.status || ' at ' || o.version as detail
      from told t join orders o on o.order_id = t.order_id
      where t.order_version > o.version
        or t.is_last and t.status <> o.status
        or t.before is not null and not exists (
          select from order_transition m where m.from_status = t.before and m.to_status = t.status)
      union all
      select o.order_id::text, 'log: nothing, now ' || o.status || ' at ' || o.version from orders o
      where ${ofOrder(range)} and o.created_at > clock_timestamp() - ${KEPT}
        and exists (select from notification_channel c where c.channel = 'log' and c.is_enabled)
        and not exists (select from notification n where n.order_id = o.order_id and n.channel = 'log')`,
  },
  audit_ends_at_its_head: {
    says: 'the stored head of an order’s history is its newest entry',
    find: (range) => ask`
      select o.order_id::text as subject, 'head: entry ' || coalesce(h.seq, 1) || ', history: ' || coalesce(l.seq::text, 'none') as detail
      from orders o
      left join lateral (select e.seq, e.hash from audit_head e where e.kind = 'order' and e.aggregate_id = o.order_id::text limit 1) h on true
      left join lateral (select e.seq, e.hash from ${ENTRIES} order by e.seq desc limit 1) l on true
      where ${ofOrder(range)} and o.updated_at >= ${OLDEST_ENTRY}
        and (l.seq is distinct from coalesce(h.seq, 1) or l.hash <> h.hash)`,
  },
  order_equals_audit: {
    says: 'an order equals the result of its history, and its version is the number of its changes',
    find: (range) => ask`
      with change as (
        select o.order_id, e.seq, c.no, c.change -> 'new' as new, c.change ->> 'op' = 'INSERT' as is_birth
        from orders o
        cross join lateral (select e.seq, e.body::jsonb as body from ${ENTRIES}) e
        cross join lateral jsonb_array_elements(e.body -> 'changes') with ordinality c (change, no)
        where ${ofOrder(range)} and c.change ->> 'table' = 'orders'
      ), fold as (
        select order_id, count(*) filter (where new ? 'version') as changes,
          (array_agg(new ->> 'status' order by seq desc, no desc) filter (where new ? 'status'))[1] as status,
          (array_agg(new ->> 'payment_state' order by seq desc, no desc) filter (where new ? 'payment_state'))[1] as payment_state,
          (array_agg(new ->> 'total' order by seq desc, no desc) filter (where new ? 'total'))[1] as total,
          (array_agg((new ->> 'version')::bigint order by seq desc, no desc) filter (where new ? 'version'))[1] as version
        from change group by order_id having bool_or(is_birth)
      )
      select o.order_id::text as subject, o.status || ', ' || o.payment_state || ' at ' || o.version || ', history: '
        || f.status || ', ' || f.payment_state || ' at ' || f.version || ' after ' || f.changes as detail
      from fold f join orders o on o.order_id = f.order_id
      where (o.status, o.payment_state, o.total, o.version, o.version)
        is distinct from (f.status, f.payment_state, f.total::numeric, f.version, f.changes)`,
  },
} as const satisfies Readonly<Record<string, Invariant<IdRange>>>

/** Invariants of products, by id in the database's own order. */
export const PRODUCT_INVARIANTS = {
  product_has_stock: {
    says: 'every product has a stock row, and every stock row a product',
    find: (range) => ask`
      select product_id as subject, case when s.product_id is null then 'no stock row' else 'no product' end as detail
      from (select * from product o where ${ofProduct(range)}) p full join (select * from stock o where ${ofProduct(range)}) s using (product_id)
      where p.product_id is null or s.product_id is null`,
  },
  stock_equals_ledger: {
    says: 'units on hand are the sum of the stock ledger',
    find: (range) => ask`
      select o.product_id as subject, 'on hand ' || o.on_hand || ', ledger ' || l.units as detail
      from stock o
      cross join lateral (
        select coalesce(sum(m.on_hand_delta), 0) as units from stock_movement m
        where m.product_id = o.product_id and m.on_hand_delta <> 0) l
      where ${ofProduct(range)} and o.on_hand <> l.units`,
  },
  reserved_equals_holds: {
    says: 'units reserved are the sum of reservations',
    find: (range) => ask`
      select o.product_id as subject, 'reserved ' || o.reserved || ', held ' || h.units || ', committed ' || c.units as detail
      from stock o
      cross join lateral (
        select coalesce(sum(r.quantity), 0) as units from reservation r where r.product_id = o.product_id and r.state = 'held') h
      cross join lateral (
        select coalesce(sum(r.quantity), 0) as units from reservation r where r.product_id = o.product_id and r.state = 'committed') c
      where ${ofProduct(range)} and o.reserved <> h.units + c.units`,
  },
  never_oversold: {
    says: 'no more units are reserved than are on hand',
    find: (range) => ask`
      select o.product_id as subject, 'on hand ' || o.on_hand || ', reserved ' || o.reserved as detail
      from stock o where ${ofProduct(range)} and (o.reserved < 0 or o.reserved > o.on_hand)`,
  },
} as const satisfies Readonly<Record<string, Invariant<IdRange>>>

export type AnswerRange = { after: AnswerKey; upTo: AnswerKey }

export const ANSWER_INVARIANTS = {
  answer_names_its_order: {
    says: 'a stored answer points to an existing order of its caller, and is not newer than the order',
    find: ({ after, upTo }) => ask`
      select coalesce(k.order_id::text, k.actor || ' ' || k.method || ' ' || k.key) as subject,
        k.method || ' by ' || k.actor || case when o.order_id is null then ': no such order' else ', order of user:' || o.user_id || ' at ' || o.version end as detail
      from idempotency k
      -- One lookup by key per row: the planner cannot guess how many rows a range has, and would read all orders.
      left join lateral (select x.order_id, x.user_id, x.version from orders x where x.order_id = k.order_id offset 0) o on true
      where (k.actor, k.method, k.key) > (${after.actor}, ${after.method}, ${after.key}::uuid)
        and (k.actor, k.method, k.key) <= (${upTo.actor}, ${upTo.method}, ${upTo.key}::uuid)
        and (k.order_id is not null and o.order_id is null
          or k.order_id is null and k.response = 'null'
          or k.method = 'CreateOrder' and k.actor <> 'user:' || o.user_id
          or (k.response ->> 'version')::bigint > o.version)`,
  },
} as const satisfies Readonly<Record<string, Invariant<AnswerRange>>>

/** Invariants of sessions, checked once per run. */
export const SESSION_INVARIANTS = {
  transaction_ends: {
    says: 'no session of the application roles stays in a transaction',
    find: (_range, { transactionMs }) => ask`
      select role_name || ' ' || pid as subject, application || ': ' || state || ', in a transaction since ' || began_at as detail
      from open_transactions(make_interval(secs => ${transactionMs / 1_000}))`,
  },
} as const satisfies Readonly<Record<string, Invariant<unknown>>>

/** The text of each invariant. */
export const INVARIANTS: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries({
    ...ORDER_INVARIANTS,
    ...PRODUCT_INVARIANTS,
    ...ANSWER_INVARIANTS,
    ...SESSION_INVARIANTS,
  }).map(([name, { says }]) => [name, says]),
)
