// The guards of the database that `npm run test:controls` removes in turn, and the test that must notice each.

export type Control = {
  guard: string
  /** SQL that removes the guard, run in each test database after the migrations (test/support/database.ts). */
  mutation: string
  file: string
  /** Part of the test's full name. */
  test: string
}

/** SQL that rewrites a function; fails when the function does not contain the text. */
const without = (name: string, text: string, instead = ''): string => `
  do $mutate$
  declare
    v_text constant text := $text$${text}$text$;
    v_now constant text := pg_get_functiondef('holdfast.${name}'::regproc);
  begin
    if strpos(v_now, v_text) = 0 then raise exception 'no such text in ${name}: %', v_text; end if;
    execute replace(v_now, v_text, $text$${instead}$text$);
  end
  $mutate$`

export const CONTROLS: readonly Control[] = [
  {
    guard: 'comparison of a reported fact with the stored one',
    mutation: without('record_report', 'if v_conflict is not null then', 'if false then'),
    file: 'src/grpc/payment.int.test.ts',
    test: 'is refused for its amount with REPORT_CONFLICT, and counted',
  },
  {
    guard: 'note of an operator for a refused report that is settled',
    mutation: without(
      'settle_report',
      'if not exists (\n    select from chain_operation',
      'if false and exists (\n    select from chain_operation',
    ),
    file: 'src/main/cli/chain_report.int.test.ts',
    test: 'the watcher by itself renumbers and discards nothing',
  },
  {
    guard: 'second approval of a refund',
    mutation: without('guard_refund', 'a.version = old.version) < 2)', 'a.version = old.version) < 1)'),
    file: 'test/database/refund.int.test.ts',
    test: 'counts neither by who asked',
  },
  {
    guard: 'ceiling of the refunds of an order',
    mutation: without('guard_refund', 'if (v_is_grown or v_is_moved', 'if false and (v_is_grown or v_is_moved'),
    file: 'test/database/refund.int.test.ts',
    test: 'lets no refunds promise more',
  },
  {
    guard: 'approval of a refund by who asked for it',
    mutation: without('guard_refund_approval', 'and r.requested_by <> new.approver', ''),
    file: 'test/database/refund.int.test.ts',
    test: 'counts neither by who asked',
  },
  {
    guard: 'payout that pays what was approved',
    mutation: without('guard_payout', "and r.status = 'paying' and r.token is null)", 'or true)'),
    file: 'src/payout/stolen.int.test.ts',
    test: 'a payout of a refund that is not being paid',
  },
  {
    guard: 'transaction that sends what its payout is for',
    mutation: without('guard_payout_attempt', 'and new.value = case', 'and 0 <> case'),
    file: 'src/payout/stolen.int.test.ts',
    test: 'a transaction that sends another amount',
  },
  {
    guard: 'count of the reads that were noted',
    mutation: without('audit_note_reads', 'where o.order_id = any (p_order_ids)', 'where false'),
    file: 'src/grpc/personal_data.int.test.ts',
    test: 'each read by fulfilment or an admin is an entry',
  },
  {
    guard: 'events that are never changed',
    mutation: 'drop trigger security_event_append_only on security_event',
    file: 'src/grpc/security_event.int.test.ts',
    test: 'is neither changed nor read by the api, and only the oldest are deleted',
  },
  {
    guard: 'CHECK that stock is never oversold',
    mutation: 'alter table stock drop constraint stock_never_oversold',
    file: 'test/database/guard.int.test.ts',
    test: 'is never oversold, by any writer',
  },
  {
    guard: 'lock on the stock rows that an order wants',
    mutation: without('lock_wanted', 'order by product_id\n  for no key update', 'order by product_id'),
    file: 'src/db/accept/accept.int.test.ts',
    test: 'a price that changes while 1 orders are being written is not the price of their lines',
  },
  {
    guard: 'price that a line is written for',
    // Guarded twice: by the line's price, and by the catalogue that is read again under the lock on stock.
    mutation: [
      without('write_orders', 'and p.unit_price = l.price '),
      without('accept_optimistic', 'if catalogue_of(p_wanted) <> v_catalogue then', 'if false then'),
    ].join(';'),
    file: 'src/db/accept/accept.int.test.ts',
    test: 'a price that changes while 2 orders are being written is not the price of their lines',
  },
  {
    guard: 'products found by key, however small the catalogue',
    mutation: without('write_orders', ' offset 0'),
    file: 'test/database/rows_read.int.test.ts',
    test: 'accepting 8 at once reads the products of their lines and no other',
  },
  {
    guard: 'hold on stock before the money is looked at',
    mutation: without('begin_assessment', 'exists (select from reservation r where r.order_id = p_order_id)', 'true'),
    file: 'src/db/order.int.test.ts',
    test: 'comes before the money of an order that never held any',
  },
  {
    guard: 'stock rows locked in the order of products',
    // Slowly, so that other sessions come between.
    mutation: `create or replace function holdfast.lock_wanted(p_wanted jsonb) returns void language plpgsql as $$
  declare
    v_row record;
  begin
    for v_row in
      select p from (select distinct w ->> 'product' as p from jsonb_array_elements(p_wanted) w) d order by random()
    loop
      perform 1 from stock where product_id = v_row.p for no key update;
      perform pg_sleep(0.05);
    end loop;
  end $$`,
    file: 'src/db/accept/accept.int.test.ts',
    test: 'never deadlocks with one that names the products the other way round',
  },
  {
    guard: 'lock on the order row of a step',
    // Slowly, so that other sessions come between.
    mutation: without('fence_step', ' for update;', '; perform pg_sleep(0.02);'),
    file: 'src/db/order_command.int.test.ts',
    test: 'and cancelling at once has one winner, and the stock follows it',
  },
  {
    guard: 'fence against a run that was replaced',
    mutation: without('fence_step', "when v_generation > p_generation then 'STALE_RUN'"),
    file: 'src/db/order.int.test.ts',
    test: 'of a run that a later one has replaced, which changes nothing',
  },
  {
    guard: 'fence against a step that was done',
    mutation: without('fence_step', "when v_generation = p_generation and v_step >= p_step then 'repeated'"),
    file: 'src/db/order.int.test.ts',
    test: 'with the present state when its step was finished before, and changes nothing',
  },
  {
    guard: 'unique keys of what a watcher reports',
    mutation: `alter table payment_report drop constraint payment_report_id_once;
      alter table payment_report drop constraint payment_report_seq_once`,
    file: 'src/db/payment.int.test.ts',
    test: 'told a thousand times from twenty connections is one fact and one credit',
  },
  {
    guard: 'unique key of a payment',
    mutation:
      without(
        'credit_payments',
        'on conflict (network, tx_id, output_index) do update',
        'on conflict (network, tx_id, output_index, order_id) do update',
      ) +
      '; alter table payment drop constraint payment_pk; alter table payment add constraint payment_pk unique (network, tx_id, output_index, order_id)',
    file: 'src/db/payment.int.test.ts',
    test: 'claimed for two orders that are assessed at once pays one of them',
  },
  {
    guard: 'unique idempotency key',
    mutation: 'alter table idempotency drop constraint idempotency_pk',
    file: 'src/db/accept/accept.int.test.ts',
    test: 'sent fifty times at once is one order, and everybody is told the same of it',
  },
  {
    guard: 'news keeps an order from expiring',
    mutation: `create or replace view expirable as select order_id from orders join invoice using (order_id)
      where status = 'pending' and payment_state in ('awaiting', 'partial') and expires_at + grace <= clock_timestamp()`,
    file: 'test/database/expire.int.test.ts',
    test: 'stays although its hold is over, while what its watcher said is not assessed',
  },
  {
    guard: 'a hold that was extended keeps its order from expiring',
    mutation: `create or replace view expirable as select order_id from orders join invoice using (order_id) join chain_status using (network)
      where status = 'pending' and payment_state in ('awaiting', 'partial', 'confirming')
        and expires_at + grace <= clock_timestamp() and caught_up_at > expires_at + grace
        and not exists (select from payment_report r where r.order_id = orders.order_id and not r.is_assessed)`,
    file: 'test/database/expire.int.test.ts',
    test: 'stays although its hold is over, while enough was seen in time and may still become final',
  },
  {
    guard: 'of sources that disagree the less favourable one is heard',
    mutation: without('present_output', `when 'reorged' then 2`, `when 'reorged' then 3`),
    file: 'src/db/payment_judged.int.test.ts',
    test: 'that disagree are heard by the less favourable one, before the order is paid and after',
  },
  {
    guard: 'late is decided by when the chain saw it',
    mutation: without('fresh_outputs', 'p.first_seen_at <= i.expires_at + i.grace', 'true'),
    file: 'src/db/payment_judged.int.test.ts',
    test: 'seen after the quote and its grace pays nothing while the order is open, and is owed back',
  },
  {
    guard: 'money older than its order pays nothing',
    mutation: without('fresh_outputs', 'p.last_first_seen_at < i.created_at - c.clock_tolerance', 'false'),
    file: 'src/db/payment_judged.int.test.ts',
    test: 'seen before the order was made, beyond the tolerance of its chain, is attributed to no order',
  },
  {
    guard: 'the confirm deadline is set once',
    mutation: without('record_report', 'and r.expires_at - i.grace <= i.expires_at', ''),
    file: 'src/db/payment_inbox.int.test.ts',
    test: 'is moved once: later reports do not put the confirm deadline off',
  },
  {
    guard: 'money needs as many sources as its order requires',
    mutation: without('present_output', 'a.sources < n.sources', 'false'),
    file: 'test/database/source.int.test.ts',
    test: '1,000 validly signed lies of one watcher pay nothing, owe nothing and are told apart',
  },
  {
    guard: 'a suspended network pays no order',
    mutation: without('suspend_order', "return 'suspended'", "return 'free'"),
    file: 'test/database/source.int.test.ts',
    test: 'gives no quotes, pays no order and lets none expire; the operator ends it, and what waited is paid',
  },
  {
    guard: 'money that comes after a cancellation buys nothing',
    mutation: without('assessed_order', "o.cancel_reason is not distinct from 'expired'", 'true'),
    file: 'test/database/late_money.int.test.ts',
    test: 'is never accepted after a cancellation',
  },
  {
    guard: 'late money that was accepted is not owed back too',
    mutation: without('order_money', 'case when d.order_id is null then 0 else', 'case when true then 0 else'),
    file: 'test/database/late_money.int.test.ts',
    test: 'is owed back once when the replacement is cancelled, also where it is lost and comes back',
  },
  {
    guard: 'nothing is shipped before the inbox is assessed',
    mutation: without('is_command_legal', 'where not r.is_assessed and', 'where false and'),
    file: 'src/db/order_command.int.test.ts',
    test: 'waits for an inbox that may say the money is gone, and is then refused',
  },
  {
    guard: 'lock on the order rows that may expire',
    // Slowly, so that a payment comes between.
    mutation: [
      without('expire_due', 'order by o.order_id for update skip locked', 'order by o.order_id'),
      without('expire_due', 'order by o.order_id for update', 'order by o.order_id'),
      without('expire_due', 'if cardinality(v_due) > 0 then', 'perform pg_sleep(0.2); if cardinality(v_due) > 0 then'),
    ].join(';'),
    file: 'test/database/expire.int.test.ts',
    test: 'that races a payment is either before it or after it, never both',
  },
  {
    guard: 'nothing is refused that there is',
    mutation: without('decide_in_order', 'where k.value::bigint > coalesce', 'where k.value::bigint >= coalesce'),
    file: 'test/database/race.int.test.ts',
    test: "see each product's stock as if one had come after the other",
  },
  {
    guard: 'a hold outlasts its quote once enough was seen',
    mutation: without('record_report', '(select is_enough_seen(v_order_id))', 'false'),
    file: 'src/db/payment_inbox.int.test.ts',
    test: 'lasts until the transfers had time to become final, once enough was seen in time',
  },
  {
    guard: 'a hold that ends gives its units back',
    mutation: without('end_orders', 'set reserved = s.reserved - e.quantity,', 'set'),
    file: 'test/database/model.int.test.ts',
    test: 'it answers and stores what the requirements say',
  },
  {
    guard: 'moves of a status only as the table says',
    mutation: 'drop trigger orders_guard_status on orders',
    file: 'test/database/transition.int.test.ts',
    test: 'as the worker, for exactly the pairs and roles of the domain',
  },
  {
    guard: 'frozen agreement',
    mutation: 'drop trigger orders_guard_update on orders',
    file: 'test/database/guard.int.test.ts',
    test: 'keeps its total, by any writer',
  },
  {
    guard: 'audit of every change of an order',
    mutation:
      "do $$ begin execute (select string_agg(format('drop trigger %I on orders', tgname), '; ') from pg_trigger where tgrelid = 'orders'::regclass and tgname like 'orders~_audit~_%' escape '~'); end $$",
    file: 'src/db/audit/walk.int.test.ts',
    test: 'rebuilds every order from the audit alone',
  },
  {
    guard: 'purge only of what was sealed',
    mutation: without('audit_purge', 'if v_is_lost then', 'if false then'),
    file: 'src/db/audit/guard.int.test.ts',
    test: 'a month stays while an entry of it is under no checkpoint, or under one that is too young',
  },
  {
    guard: 'purge only of what was sealed before a restore',
    mutation: without('audit_purge', 'entry_id <= $2 and '),
    file: 'src/db/audit/guard.int.test.ts',
    test: 'an entry that came after a restore is not taken for a sealed one, whatever its transaction',
  },
  {
    guard: 'purge that leaves the audit append-only',
    mutation: without('audit_purge', 'alter table audit_entry_default enable trigger audit_entry_append_only;'),
    file: 'src/db/audit/guard.int.test.ts',
    test: 'entries of months without a partition go like others, and what is left is guarded as before',
  },
  {
    guard: 'lock that makes changes of accounts visible in the order of their versions',
    mutation: without('change_account', '  lock table account in share row exclusive mode;\n'),
    file: 'src/grpc/account.int.test.ts',
    test: 'becomes visible in the order of versions: a later one waits for the one before',
  },
  {
    guard: 'later of two times of revocation',
    mutation: without('change_account', 'greatest(a.tokens_valid_after, v_at)', 'v_at'),
    file: 'src/grpc/account.int.test.ts',
    test: 'keeps a time of revocation that is later than the clock',
  },
]
