// The payer process: sends approved refunds. The only process that may have a key with money, or reaches the folder of the
// signer that has it. It may be killed at any instant: what was signed is sent again, and nothing is sent twice.

import { fundDevelopmentAccount } from '../chain/development.ts'
import { ChainError } from '../chain/client.ts'
import { createPayoutMetrics } from '../payout/metrics.ts'
import { createPayoutNode } from '../payout/node.ts'
import { createDevelopmentSigner } from '../payout/development_signer.ts'
import { createFileSigner } from '../payout/file_signer.ts'
import type { Signer } from '../payout/signer.ts'
import { PAYER, payoutTurn, type PayoutDeps } from '../payout/turn.ts'
import { ConfigError, readSecretFile, type Config } from '../config.ts'
import { releaseSender } from '../db/payout.ts'
import { backOffMs, NEIGHBOUR_BACK_OFF, repeat } from '../repeat.ts'
import { chainIdOf } from './asset.ts'
import { createLeaseHolder } from './lease_holder.ts'
import { runService, type ServiceContext } from './process.ts'
import { createTurnCheck } from './readiness.ts'

const WEI_PER_GWEI = 1_000_000_000n
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
  if (config.HOLDFAST_PAYOUT_KEY_FILE !== undefined)
    await service.insist(
      'funding the development account',
      () => fundDevelopmentAccount(config.HOLDFAST_ETH_RPC_URL, signer.sender, DEVELOPMENT_FUNDS),
      (error) => error instanceof ChainError,
    )
  const deps: PayoutDeps = {
    ...{ database, signer, chainId, logger },
    node: createPayoutNode({ url: config.HOLDFAST_ETH_RPC_URL, chainId }),
    network: config.HOLDFAST_ETH_NETWORK,
    confirmations: config.HOLDFAST_ETH_CONFIRMATIONS,
    stuckAfterMs: config.HOLDFAST_PAYOUT_STUCK_MS,
    maxFee: BigInt(config.HOLDFAST_PAYOUT_MAX_FEE_GWEI) * WEI_PER_GWEI,
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

/** @throws {ConfigError} unless exactly one signer is configured, and in production it is the one without a key */
async function openSigner(config: Config<'payer'>): Promise<Signer> {
  const { HOLDFAST_PAYOUT_KEY_FILE: keyFile, HOLDFAST_PAYOUT_DIR: dir, HOLDFAST_PAYOUT_SENDER: sender } = config
  if (keyFile !== undefined && dir !== undefined)
    throw new ConfigError('HOLDFAST_PAYOUT_KEY_FILE and HOLDFAST_PAYOUT_DIR exclude each other: remove one')
  if (keyFile !== undefined) {
    if (config.HOLDFAST_MODE === 'production')
      throw new ConfigError(
        'HOLDFAST_PAYOUT_KEY_FILE: a key that is online is for development: set HOLDFAST_PAYOUT_DIR and ' +
          'HOLDFAST_PAYOUT_SENDER',
      )
    try {
      return createDevelopmentSigner(readSecretFile('HOLDFAST_PAYOUT_KEY_FILE', keyFile))
    } catch (error) {
      if (error instanceof ConfigError) throw error
      // Without the cause, which could quote the key.
      throw new ConfigError('HOLDFAST_PAYOUT_KEY_FILE: it is not a private key: 0x and 64 lower-case hex digits')
    }
  }
  if (dir === undefined || sender === undefined)
    throw new ConfigError('HOLDFAST_PAYOUT_DIR and HOLDFAST_PAYOUT_SENDER: set both')
  return createFileSigner({ dir, sender })
}

await runService('payer', main)
