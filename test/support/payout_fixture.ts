// A fixture for payouts: a test shop and a development chain that mines on request, with payers on it and refunds whose
// money has arrived there.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PayoutDeps } from '../../src/payout/deps.ts'
import { startAnvil, type Anvil } from '../../src/servers/anvil.ts'
import { freePorts } from '../../src/servers/port.ts'
import { approveRefund, type ApprovedRefund } from './approved_refund.ts'
import { arriveOn, createTestPayer, findPayout, playUntilPaid, type PayoutRow, type TestPayer } from './payout.ts'
import { createTestShop, type TestShop } from './shop.ts'

export type PayoutFixture = {
  shop: TestShop
  anvil: Anvil
  /** A folder that is removed with the fixture. */
  dataDir: string
  makePayer: (overrides?: Partial<PayoutDeps>) => Promise<TestPayer>
  /** An approved refund whose money is on the chain, deep enough to be final. */
  approve: (wanted?: Parameters<typeof approveRefund>[1]) => Promise<ApprovedRefund>
  payoutOf: (refund: Pick<ApprovedRefund, 'refundId'>) => Promise<PayoutRow | undefined>
  turnsUntilPaid: (payer: TestPayer, refunds: readonly ApprovedRefund[]) => Promise<void>
  close: () => Promise<void>
}

/** Use it in `beforeAll`, and `close` in `afterAll`. */
export async function openPayoutFixture(): Promise<PayoutFixture> {
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-payout-'))
  const [port = 0] = await freePorts(1)
  const anvil = await startAnvil({ port, dataDir, mining: 'manual' })
  const shop = await createTestShop()
  return {
    ...{ shop, anvil, dataDir },
    makePayer: (overrides = {}) => createTestPayer(shop, anvil, overrides),
    approve: (wanted = {}) => approveRefund(shop, { arrive: arriveOn(anvil), ...wanted }),
    payoutOf: (refund) => findPayout(shop, refund),
    turnsUntilPaid: (payer, refunds) => playUntilPaid(shop, payer, refunds),
    close: async () => {
      await shop.close()
      await anvil.stop()
      await rm(dataDir, { recursive: true })
    },
  }
}
