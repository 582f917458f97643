// A payer for tests: its turns on a real development chain, with a sender of its own.

import { randomBytes, randomUUID } from 'node:crypto'
import { z } from 'zod'
import { createRpc } from '../../src/chain/rpc.ts'
import { createDevelopmentSigner } from '../../src/payout/development_signer.ts'
import { createPayoutMetrics } from '../../src/payout/metrics.ts'
import { createPayoutNode, type PayoutNode } from '../../src/payout/node.ts'
import type { Signer } from '../../src/payout/signer.ts'
import type { PayoutStatus } from '../../src/domain/payout.ts'
import type { PayoutDeps } from '../../src/payout/deps.ts'
import { payoutTurn } from '../../src/payout/turn.ts'
import { createLogger, createRegistry } from '../../src/telemetry.ts'
import type { ApprovedRefund, Arrival } from './approved_refund.ts'
import { refundSealCheck } from './refund_seal.ts'
import type { TestShop } from './shop.ts'

const RPC_WITHIN_MS = 30_000
const MAX_TURNS = 2_000
export const CONFIRMATIONS = 3
/** A million coins. */
const FUNDS = 10n ** 24n

export const makeKey = (): string => `0x${randomBytes(32).toString('hex')}`

export type TestPayer = { deps: PayoutDeps; signer: Signer; node: PayoutNode; chain: ChainProbe }

export type ChainProbe = ReturnType<typeof createChainProbe>

/** What a test reads and changes on the development chain. */
export function createChainProbe(url: string) {
  const rpc = createRpc(url, RPC_WITHIN_MS)
  const amount = z.string().transform(BigInt)
  return {
    rpc,
    balanceOf: (address: string) => rpc('eth_getBalance', [address, 'latest'], amount),
    countOf: async (address: string) => Number(await rpc('eth_getTransactionCount', [address, 'latest'], amount)),
    fund: (address: string, value = FUNDS) =>
      rpc('anvil_setBalance', [address, `0x${value.toString(16)}`], z.unknown()),
    mine: (blocks = 1) => rpc('anvil_mine', [`0x${blocks.toString(16)}`], z.unknown()),
    /** Drops the newest blocks with their transactions. */
    rollback: (blocks: number) => rpc('anvil_rollback', [blocks], z.unknown()),
    /** Forgets every transaction that waits. */
    drop: () => rpc('anvil_dropAllTransactions', [], z.unknown()),
  }
}

/** Money at an address, deep enough to be final. */
export const arriveOn =
  ({ url }: { url: string }): Arrival =>
  async (address, amount) => {
    const chain = createChainProbe(url)
    await chain.fund(address, amount)
    await chain.mine(CONFIRMATIONS)
  }

export async function createTestPayer(
  shop: Pick<TestShop, 'worker'>,
  { url, chainId }: { url: string; chainId: number },
  overrides: Partial<PayoutDeps> = {},
): Promise<TestPayer> {
  const signer = overrides.signer ?? createDevelopmentSigner(makeKey())
  const node = createPayoutNode({ url, chainId })
  const chain = createChainProbe(url)
  await chain.fund(signer.sender)
  const deps: PayoutDeps = {
    ...{ database: shop.worker, node, signer, network: 'ethereum', chainId, confirmations: CONFIRMATIONS },
    ...{ limits: { refund: FUNDS, day: FUNDS }, retry: { firstMs: 0, mostMs: 0 } },
    ...{ seals: refundSealCheck, checked: new Map<string, { terms: string; height: number }>() },
    ...{ stuckAfterMs: 3_600_000, maxFee: 10n ** 12n, holder: `payer-${randomUUID().slice(0, 8)}` },
    metrics: createPayoutMetrics(createRegistry('payer')),
    logger: createLogger({ process: 'payer', level: 'silent' }),
    ...overrides,
  }
  return { deps, signer, node, chain }
}

export type PayoutRow = {
  status: PayoutStatus
  failure: string | null
  nonce: bigint
  attempts: bigint
  refund: string
}
/** The newest payout of a refund. */
export async function findPayout(
  shop: TestShop,
  { refundId }: Pick<ApprovedRefund, 'refundId'>,
): Promise<PayoutRow | undefined> {
  const [row] = await shop.query<PayoutRow>(
    `select p.status, p.failure, p.nonce, r.status as refund,
       (select count(*) from payout_attempt a where a.payout_id = p.payout_id) as attempts
     from payout p join refund r using (refund_id) where p.refund_id = $1 order by p.created_at desc limit 1`,
    [refundId],
  )
  return row
}

/** Turns and blocks until all are paid. @throws {Error} when they are not after many */
export async function playUntilPaid(
  shop: TestShop,
  { deps, chain }: TestPayer,
  refunds: readonly ApprovedRefund[],
): Promise<void> {
  for (let turn = 0; turn < MAX_TURNS; turn += 1) {
    await payoutTurn(deps)
    const rows = await Promise.all(refunds.map((refund) => findPayout(shop, refund)))
    if (rows.every((row) => row?.status === 'confirmed')) return
    await chain.mine()
  }
  throw new Error('the refunds were not paid')
}
