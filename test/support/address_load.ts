// Fills a shop with addresses that were shown to customers: orders with their invoices only, which is all that a watcher
// looks at. The statement runs as the superuser, without triggers.

import { createHash } from 'node:crypto'

export type AddressLoad = {
  network: string
  /** Closed orders, one address each. */
  closed: number
  /** How old the oldest of them is; the others lie between it and now. */
  oldestDays: number
  /** Orders that wait for money, with a hold of an hour. */
  open?: number
}

/** The address of an order of `loadAddressesSql`, from 1 (the oldest) up; the open ones come last. */
export function loadedAddress(network: string, number: number): string {
  const digest = createHash('md5').update(`${network} ${number}`).digest('hex')
  return `0x${digest}${digest.slice(0, 8)}`
}

/** Statements without parameters, for one message to the server. The orders that are there are deleted first. */
export function loadAddressesSql({ network, closed, oldestDays, open = 0 }: AddressLoad): string {
  const all = closed + open
  const each = `generate_series(1, ${all}) n, lateral (select
    md5('${network} ' || n)::uuid as id, n > ${closed} as is_open,
    now() - case when n > ${closed} then 0 else (${closed} - n) * ${oldestDays}.0 / ${Math.max(1, closed)} end * interval '1 day'
      - interval '1 minute' as created) o`
  return `begin;
    set local session_replication_role = replica;
    delete from holdfast.reservation; delete from holdfast.invoice; delete from holdfast.orders;
    insert into holdfast.orders (order_id, user_id, status, payment_state, cancel_reason, currency, total,
      address_sealed, version, created_at, updated_at)
    select o.id, 1, case when is_open then 'pending' else 'cancelled' end,
      case when is_open then 'awaiting' else 'expired' end, case when not is_open then 'expired' end, 'EUR', 12.50,
      decode(repeat('00', 64), 'hex'), 1, created, created
    from ${each};
    insert into holdfast.invoice (order_id, network, asset, address, amount_due, rate, expires_at, grace, confirm_within,
      created_at)
    select o.id, '${network}', 'ETH', '0x' || md5('${network} ' || n) || left(md5('${network} ' || n), 8), 6250000000000000, 2000,
      created + interval '1 hour', '1 minute', '1 hour', created
    from ${each};
    insert into holdfast.reservation (order_id, product_id, hold_no, quantity, state, expires_at)
    select o.id, 'sku-1', 1, 1, 'held', created + interval '1 hour' from ${each} where is_open;
    commit;
    analyze holdfast.orders, holdfast.invoice, holdfast.reservation;`
}
