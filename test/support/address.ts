// Free addresses for the address pool, inserted directly: their key envelopes are dummies without private keys.

import { randomBytes, randomUUID } from 'node:crypto'
import type { TestDatabase } from './database.ts'

/** Puts `count` free addresses of `network` into the pool and returns them. */
export async function putAddresses(
  database: Pick<TestDatabase, 'query'>,
  count: number,
  network = 'ethereum',
): Promise<string[]> {
  const addresses = Array.from({ length: count }, () => `0x${randomBytes(20).toString('hex')}`)
  await poolAddresses(database, addresses, network)
  return addresses
}

/** Makes these addresses the shop's own. Their keys are no keys. */
export async function poolAddresses(
  database: Pick<TestDatabase, 'query'>,
  addresses: readonly string[],
  network = 'ethereum',
): Promise<void> {
  await database.query(
    `with master as (
       insert into master_key (version, fingerprint) values (1, $1) on conflict do nothing
     ), epoch as (
       insert into key_epoch (epoch_id, master_version, salt, iterations, key_limit, key_count)
       values ($2, 1, $1, 100000, 1000, $3)
     ), key as (
       insert into payment_key (key_id, network, asset, address, format_version, envelope_version, epoch_id,
         master_version, salt, wrap_nonce, wrap_tag, wrapped_key, nonce, tag, ciphertext)
       select gen_random_uuid(), $4, 'ETH', address, 1, 1, $2, 1, sha256(address::bytea), substr($1, 1, 12),
         substr($1, 1, 16), $1, substr($1, 1, 12), substr($1, 1, 16), $1
       from unnest($5::text[]) address
       returning key_id, network, asset, address
     )
     insert into address_pool (key_id, network, asset, address) select key_id, network, asset, address from key`,
    [randomBytes(32), randomUUID(), addresses.length, network, addresses],
  )
}
