// The api's vault of customers' data, by the sessions that its calls may wait for.

import { findCustomerKey, insertCustomerKey } from '../db/key.ts'
import type { Database } from '../db/connection/pool.ts'
import { createPiiVault, type PiiVault } from '../keyvault/pii.ts'
import type { Ring } from '../keyvault/ring.ts'

export type CustomerVaultDeps = {
  ring: Ring
  /** The sessions that reads and commands share. */
  database: Database
  /** The sessions of probes and money. */
  priority: Database
}

/**
 * Opening is part of a read and waits with other reads. A new order needs its customer's key too, and must not wait for
 * them.
 */
export function createCustomerVault({ ring, database, priority }: CustomerVaultDeps): PiiVault {
  const vaultOn = (sessions: Database): PiiVault =>
    createPiiVault({
      ring,
      findCustomerKey: (userId) => findCustomerKey(sessions, userId),
      insertCustomerKey: (userId, key) => insertCustomerKey(sessions, userId, key),
    })
  return { ...vaultOn(priority), open: vaultOn(database).open }
}
