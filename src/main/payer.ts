// The payer process: sends approved refunds. The only process that may have a key with money, or reaches the folder of the
// signer that has it. It may be killed at any instant: what was signed is sent again, and nothing is sent twice.

import { fundDevelopmentAccount } from '../chain/development.ts'
import { ChainError } from '../chain/client.ts'
import { createNodeMetrics } from '../chain/node_metrics.ts'
import { readSecretFile } from '../config.ts'
import { loadPublicKeys } from '../keyvault/ed25519.ts'
import { createRefundSealCheck } from '../keyvault/refund_seal.ts'
import { createPayoutMetrics } from '../payout/metrics.ts'
import { createPayoutNodes } from '../payout/fall_over.ts'
import { createPayoutNode, type PayoutNode } from '../payout/node.ts'
import { PAYER, type PayoutDeps } from '../payout/deps.ts'
import { payoutTurn } from '../payout/turn.ts'
import { releaseSender } from '../db/payout.ts'
import type { Retry } from '../db/payout_queue.ts'
import { backOffMs, NEIGHBOUR_BACK_OFF, repeat } from '../repeat.ts'
import { chainIdOf, nodeUrlsOf } from './asset.ts'
import { createLeaseHolder } from './lease_holder.ts'
import { openSigner } from './payout_signer.ts'
import { runService, STUCK_WITHIN_MS, type ServiceContext } from './process.ts'
import { createTurnCheck } from './readiness.ts'

const WEI_PER_GWEI = 1_000_000_000n
/** Of a refund that must wait: short enough that a cured cause is noticed soon. */
const RETRY: Retry = { firstMs: 2_000, mostMs: 300_000 }
/** A thousand coins of the development chain. */
const DEVELOPMENT_FUNDS = 10n ** 21n

async function main(service: ServiceContext<'payer'>): Promise<void> {
  const { config, logger, registry, stopping } = service
  const signer = await openSigner(config)
  await service.listen()
  const database = await service.openDatabase({ actor: PAYER })
  const check = await createTurnCheck(database)
  service.readyWhen(check.isReady)
  const chainId = chainIdOf(config)
  const [firstNode] = nodeUrlsOf(config)
  if (config.HOLDFAST_PAYOUT_KEY_FILE !== undefined)
    await service.insist(
      'funding the development account',
      () => fundDevelopmentAccount(firstNode, signer.sender, DEVELOPMENT_FUNDS),
      (error) => error instanceof ChainError,
    )
  const deps: PayoutDeps = {
    ...{ database, signer, chainId, logger },
    node: createNodes(service, chainId),
    network: config.HOLDFAST_ETH_NETWORK,
    confirmations: config.HOLDFAST_ETH_CONFIRMATIONS,
    stuckAfterMs: config.HOLDFAST_PAYOUT_STUCK_MS,
    maxFee: BigInt(config.HOLDFAST_PAYOUT_MAX_FEE_GWEI) * WEI_PER_GWEI,
    limits: {
      refund: BigInt(config.HOLDFAST_PAYOUT_MAX_GWEI) * WEI_PER_GWEI,
      day: BigInt(config.HOLDFAST_PAYOUT_DAY_MAX_GWEI) * WEI_PER_GWEI,
    },
    retry: RETRY,
    checked: new Map(),
    seals: createRefundSealCheck(
      loadPublicKeys(
        'HOLDFAST_REFUND_PUBLIC_KEYS_FILE',
        readSecretFile('HOLDFAST_REFUND_PUBLIC_KEYS_FILE', config.HOLDFAST_REFUND_PUBLIC_KEYS_FILE),
      ),
    ),
    holder: createLeaseHolder(),
    metrics: createPayoutMetrics(registry),
  }
  logger.info({ network: deps.network, sender: signer.sender }, 'payer started')
  const turn = async (): Promise<void> => {
    await payoutTurn(deps)
    deps.metrics.lastTurn.set(Date.now() / 1_000)
    check.noteGoodTurn()
  }
  await repeat(turn, {
    signal: stopping,
    everyMs: config.HOLDFAST_POLL_MS,
    retryMs: (failures) => backOffMs(failures - 1, NEIGHBOUR_BACK_OFF),
    onTurn: () => service.beat('payout'),
    onError: (error) => {
      deps.metrics.failed.inc({ step: 'turn' })
      logger.warn({ err: error }, 'no payouts in this turn; trying again')
    },
  })
  await releaseSender(database, { network: deps.network, sender: signer.sender }, deps.holder).catch(() => undefined)
}

/** The nodes that payouts are read from and sent to, as one. */
function createNodes(service: ServiceContext<'payer'>, chainId: number): PayoutNode {
  const { config, logger, registry } = service
  const { HOLDFAST_ETH_NETWORK: network } = config
  const [first, ...others] = nodeUrlsOf(config)
  const metrics = createNodeMetrics(registry, network, 1 + others.length)
  const open = (url: string, index: number): PayoutNode =>
    createPayoutNode({ url, chainId, onMessage: metrics.countMessages(index) })
  return createPayoutNodes({
    nodes: [open(first, 0), ...others.map((url, at) => open(url, at + 1))],
    onAnswer: () => service.beat('payout'),
    ...{ network, metrics, logger },
  })
}

await runService('payer', main, { stuckWithinMs: STUCK_WITHIN_MS })
