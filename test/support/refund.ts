// Refunds for tests, by the roles that write them.

import type { TestDatabase } from './database.ts'

/** A refund of 10 base units that user 9 asked for; with an address that user 7 confirmed, if it is to be decided on. */
export async function putRefund(
  database: Pick<TestDatabase, 'writeAs' | 'query'>,
  orderId: string,
  { isWithAddress }: { isWithAddress: boolean },
): Promise<{ refundId: string; version: bigint }> {
  await database.writeAs(
    'app_api',
    { actor: 'user:9', role: 'admin' },
    `insert into refund (order_id, network, asset, amount, kind, fee_bearer, named_in, requested_by, reason)
     select order_id, network, asset, 10, 'goodwill', 'shop', 'coin', 'user:9', 'a scratch' from invoice where order_id = $1`,
    [orderId],
  )
  if (isWithAddress)
    await database.writeAs(
      'app_api',
      { actor: 'user:7', role: 'customer' },
      `update refund set destination = '0x${'1f'.repeat(20)}', destination_confirmed_at = now(), status = 'awaiting_approval'
       where order_id = $1 and kind = 'goodwill'`,
      [orderId],
    )
  const [row] = await database.query<{ refundId: string; version: bigint }>(
    `select refund_id as "refundId", version from refund where order_id = $1 and kind = 'goodwill' order by created_at desc`,
    [orderId],
  )
  if (row === undefined) throw new Error('there is no refund')
  return row
}
