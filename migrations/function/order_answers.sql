-- Recorded answers: what each CreateOrder attempt was answered, from immutable columns, so that a replay has the same
-- bytes.
-- p_orders: [{ordinal, user_id, key, hash}]; hash: keyed hash of the request, in hex.
-- p_fresh: ordinals whose key was new in this transaction. p_refused: the result of decide_in_order and refused_orders.
-- Result: one row per item. verdict: 'accepted', 'replayed', 'reclaim' (not decided yet), 'IDEMPOTENCY_KEY_REUSED', or
-- the verdict of a refusal. detail: the refusal as stored. lines: [{product, name, quantity, price}], price as text.
-- Locks: none. Changes nothing.
create or replace function order_answers(p_orders jsonb, p_fresh int[], p_refused jsonb)
returns table (
  ordinal int, verdict text, detail jsonb, order_id uuid, currency text, total numeric, lines jsonb, network text,
  asset text, address text, amount_due numeric, rate numeric, expires_at timestamptz, created_at timestamptz
)
language sql stable set search_path = holdfast, pg_catalog as $$
  select o.ordinal,
    case when k.key is null then 'reclaim'
         when k.request_hash <> decode(o.hash, 'hex') then 'IDEMPOTENCY_KEY_REUSED'
         when k.order_id is null then k.response ->> 'verdict'
         when o.ordinal = any (p_fresh) then 'accepted' else 'replayed' end,
    case when k.key is null then p_refused -> o.ordinal::text else k.response end,
    t.order_id, t.currency, t.total,
    (select jsonb_agg(jsonb_build_object(
       'product', l.product_id, 'name', l.name, 'quantity', l.quantity, 'price', l.unit_price::text) order by l.line_no)
     from order_line l where l.order_id = t.order_id),
    v.network, v.asset, v.address, v.amount_due, v.rate, v.expires_at, t.created_at
  from jsonb_to_recordset(p_orders) o (ordinal int, user_id bigint, key uuid, hash text)
  left join idempotency k on k.actor = 'user:' || o.user_id and k.method = 'CreateOrder' and k.key = o.key
  left join orders t on t.order_id = k.order_id
  left join invoice v on v.order_id = k.order_id
$$;
revoke execute on function order_answers from public;
grant execute on function order_answers to app_api;
