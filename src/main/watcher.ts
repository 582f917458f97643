// The watcher process: follows one chain and reports to the api like any other client. It may be killed at any instant.

import { readFile } from 'node:fs/promises'
import type { ChainClient } from '../chain/client.ts'
import { createEthereumClient, type EthereumOptions } from '../chain/ethereum.ts'
import { createChainMetrics, type ChainMetrics } from '../chain/metrics.ts'
import { createNodeMetrics } from '../chain/node_metrics.ts'
import { createNodePool } from '../chain/node_pool.ts'
import type { SendReport } from '../chain/delivery.ts'
import { createWatcher, SourceDeniedError } from '../chain/watcher.ts'
import { readSecretFile, type Config } from '../config.ts'
import { createClient, createReporter, type HoldfastClient } from '../grpc/client.ts'
import { parseSecret } from '../keyvault/secret.ts'
import { signReport } from '../keyvault/signature.ts'
import type { Logger } from '../telemetry.ts'
import { chainRulesOf, nodeUrlsOf } from './asset.ts'
import { runService, STUCK_WITHIN_MS, type ServiceContext } from './process.ts'
import { readApiTls } from './tls.ts'

async function main(service: ServiceContext<'watcher'>): Promise<void> {
  const { config, logger, registry, stopping } = service
  const api = createClient({
    address: config.HOLDFAST_API_ADDRESS,
    tls: await readApiTls(config),
    // Read for each call, because the file is rewritten whenever the token is renewed.
    token: async () => (await readFile(config.HOLDFAST_WATCHER_TOKEN_FILE, 'utf8')).trim(),
  })
  const sendReport = createSendReport(config, api)
  await service.listen()
  service.onStop(async () => api.close())
  const database = await service.openDatabase({ source: config.HOLDFAST_SOURCE })
  const { maxBlockAgeMs } = chainRulesOf(config)
  const network = config.HOLDFAST_ETH_NETWORK
  const metrics = createChainMetrics(registry)
  const watcher = createWatcher({
    client: createNodes(service, createUntracedNote(network, metrics, logger)),
    database,
    confirmations: config.HOLDFAST_ETH_CONFIRMATIONS,
    startHeight: config.HOLDFAST_ETH_START,
    maxBlockAgeMs,
    sendReport,
    source: config.HOLDFAST_SOURCE,
    metrics,
    logger,
    onTurn: () => service.beat('chain'),
  })
  service.readyWhen(async () => watcher.ageMs() <= config.HOLDFAST_MAX_TIP_AGE_MS)
  logger.info({ network, source: config.HOLDFAST_SOURCE }, 'watcher started')
  await watcher.run(config.HOLDFAST_POLL_MS, stopping)
}

/** The nodes that the chain is read from, as one client. */
function createNodes(service: ServiceContext<'watcher'>, onUntraced: EthereumOptions['onUntraced']): ChainClient {
  const { config, logger, registry } = service
  const { HOLDFAST_ETH_NETWORK: network, HOLDFAST_ETH_CONFIRMATIONS: confirmations } = config
  const { chainId } = chainRulesOf(config)
  const [first, ...others] = nodeUrlsOf(config)
  const metrics = createNodeMetrics(registry, network, 1 + others.length)
  const open = (url: string, index: number): ChainClient =>
    createEthereumClient({ url, network, chainId, onUntraced, onMessage: metrics.countMessages(index) })
  return createNodePool({
    nodes: [open(first, 0), ...others.map((url, at) => open(url, at + 1))],
    maxLagBlocks: config.HOLDFAST_ETH_MAX_NODE_LAG,
    onAnswer: () => service.beat('chain'),
    ...{ confirmations, metrics, logger },
  })
}

/** Counts the blocks without traces of calls inside contracts, and logs the cause once. */
function createUntracedNote(network: string, metrics: ChainMetrics, logger: Logger) {
  let isLogged = false
  return (height: number, cause: string): void => {
    metrics.untracedBlocks.inc({ network })
    if (!isLogged) logger.warn({ network, height, cause }, 'what contracts send shows in balances only')
    isLogged = true
  }
}

/** Sends the watcher's observations to the api as signed reports. */
function createSendReport(config: Config<'watcher'>, client: HoldfastClient): SendReport {
  const variable = 'HOLDFAST_SOURCE_SECRET_FILE'
  const secret = parseSecret(variable, readSecretFile(variable, config[variable]), config.HOLDFAST_MODE)
  return createReporter({
    client,
    source: config.HOLDFAST_SOURCE,
    confirmations: config.HOLDFAST_ETH_CONFIRMATIONS,
    sign: (request) => [signReport({ ...request, secret, algorithm: config.HOLDFAST_SOURCE_ALGORITHM })],
  })
}

await runService('watcher', main, {
  isPlain: (error): error is SourceDeniedError => error instanceof SourceDeniedError,
  stuckWithinMs: STUCK_WITHIN_MS,
})
