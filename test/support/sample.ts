// A valid value for each field of each request, by its proto name. A new field needs one here.

const UUID = '0b5c7c1e-6d5e-4a57-9d0e-2f2f1f0c8a11'
const SAMPLES: Readonly<Record<string, unknown>> = {
  ...{ id: UUID, idempotency_key: UUID, order_id: UUID, user_id: 7n, product_id: 'tea-1', product_ids: 'tea-1' },
  ...{ quantity: 1, expected_unit_price: '12.50', unit_price: '12.50', asset: 'ETH', name: 'Tea', reason: 'recount' },
  ...{ shipping_address: 'Quay 1\nGhent', include_shipping_address: true, is_active: true, service: 'holdfast.v1.X' },
  ...{ limit: 20, offset: 0, cursor: '', status: 1, expected_version: 1n, after_version: 1n, delta: 5n, on_hand: 5n },
  ...{ created_from: new Date(0), created_before: new Date(), notification_ids: 1n, all: false, timestamp_s: 1n },
  ...{ report: Buffer.of(1), signatures: 'v1,AAAA', source: 'watcher-1', network: 'ethereum' },
  ...{ report_id: 'a'.repeat(64), tx_id: `0x${'a'.repeat(64)}`, output_index: 0, seq: 1, state: 1, units: '1' },
  ...{ address: `0x${'b'.repeat(40)}`, block_height: 1n, block_hash: `0x${'c'.repeat(64)}`, depth: 0 },
  ...{ first_seen_at: new Date(), host: 'here', file_by_filename: 'holdfast/v1/order.proto', list_services: '*' },
  ...{ file_containing_symbol: 'holdfast.v1.Order', all_extension_numbers_of_type: 'holdfast.v1.Order' },
  ...{ refund_id: UUID, confirm: false, everything: true, amount: '12.50', basis: 3, rate: '2000.00', fee_bearer: 1 },
  ...{ version: 1n, payment_state: 1, flags: 1, first_seen_from: new Date(0), first_seen_before: new Date() },
  ...{ oldest_first: true, include_destinations: true },
  ...{ containing_type: 'holdfast.v1.Order', extension_number: 7 },
}
/** The valid value of a field. @throws for a field that has none here */
export function sampleOf(name: string): unknown {
  if (!Object.hasOwn(SAMPLES, name)) throw new Error(`no valid value for ${name}`)
  return SAMPLES[name]
}
