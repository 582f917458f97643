// Statements about keys. A customer's data key is on the order's path; the rest runs in the keys process.

import { statement, type Database } from './pool.ts'

/** A customer's data key as stored: wrapped by that version of the `pii` ring. */
export type CustomerKey = { ringVersion: number; wrappedKey: Buffer }

const FIND_CUSTOMER_KEY = statement(
  'find_customer_key',
  `select ring_version as "ringVersion", wrapped_key as "wrappedKey" from customer_key where user_id = $1`,
)
// A customer's first two orders may race here. The second waits on the first one's row and inserts nothing; it must
// then read the key in a statement of its own, since this one's snapshot is older than that row.
const INSERT_CUSTOMER_KEY = statement(
  'insert_customer_key',
  `with customer_row as (insert into customer (user_id) values ($1) on conflict do nothing)
   insert into customer_key (user_id, ring_version, wrapped_key) values ($1, $2, $3)
   on conflict do nothing returning user_id`,
)

export async function findCustomerKey(database: Database, userId: bigint): Promise<CustomerKey | undefined> {
  const [key] = await database.run<CustomerKey>(FIND_CUSTOMER_KEY, [userId])
  return key
}

/** Inserts the customer too, where they are new. False when a key stands already. */
export async function insertCustomerKey(database: Database, userId: bigint, key: CustomerKey): Promise<boolean> {
  const rows = await database.run(INSERT_CUSTOMER_KEY, [userId, key.ringVersion, key.wrappedKey])
  return rows.length === 1
}
