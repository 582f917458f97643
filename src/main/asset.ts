// What the configuration says about assets and networks, with the defaults of the domain.

import type { Config } from '../config.ts'
import { MAX_RATE_AGE_MS, type LatePolicy } from '../domain/late.ts'
import { parseNodeUrls, type NodeUrls } from '../domain/node_url.ts'
import { ASSET_POLICY, parseAssets, type Asset, type AssetPolicy } from '../domain/payment.ts'

/** Asset rules with the configuration's overrides. */
export function assetPolicyOf(config: Config<'api'>, asset: Asset): AssetPolicy {
  const policy = ASSET_POLICY[asset]
  return {
    ...policy,
    graceMs: config[`HOLDFAST_${asset}_GRACE_MS`] ?? policy.graceMs,
    confirmWithinMs: config[`HOLDFAST_${asset}_CONFIRM_WITHIN_MS`] ?? policy.confirmWithinMs,
    maxLagMs: config[`HOLDFAST_${asset}_MAX_LAG_MS`] ?? maxLagOf(config.HOLDFAST_MODE, policy),
  }
}

/** A development chain mines on demand: its newest block may have any age. */
const maxLagOf = (runMode: 'production' | 'development', { maxLagMs }: AssetPolicy): number =>
  runMode === 'production' ? maxLagMs : Number.POSITIVE_INFINITY

/** What becomes of money that is final only after its order has expired. */
export const latePolicyOf = (config: Config<'worker'>): LatePolicy => ({
  accepts: config.HOLDFAST_LATE_POLICY === 'accept',
  withinMs: config.HOLDFAST_LATE_WITHIN_MS,
  driftBps: config.HOLDFAST_LATE_DRIFT_BPS,
  rateAgeMs: MAX_RATE_AGE_MS,
})

const ETHEREUM_CHAIN_ID = 1
const ANVIL_CHAIN_ID = 31_337
/** Ten slots of Ethereum. */
const MAX_BLOCK_AGE_MS = 120_000

/** The chain that ETH is paid on. */
export const chainIdOf = (config: Config<'api'> | Config<'watcher'> | Config<'payer'>): number =>
  config.HOLDFAST_ETH_CHAIN_ID ?? (config.HOLDFAST_MODE === 'production' ? ETHEREUM_CHAIN_ID : ANVIL_CHAIN_ID)

/** Which chain the node must be on, and how old its newest block may be (any age in development). */
export function chainRulesOf(config: Config<'watcher'>): { chainId: number; maxBlockAgeMs: number } {
  const isReal = config.HOLDFAST_MODE === 'production'
  return {
    chainId: chainIdOf(config),
    maxBlockAgeMs: config.HOLDFAST_MAX_BLOCK_AGE_MS ?? (isReal ? MAX_BLOCK_AGE_MS : Number.POSITIVE_INFINITY),
  }
}

/** The nodes of a list that loadConfig has checked. */
export function nodeUrlsOf(config: Config<'watcher'> | Config<'payer'>): NodeUrls {
  const urls = parseNodeUrls(config.HOLDFAST_ETH_RPC_URL)
  if (urls === undefined) throw new Error('HOLDFAST_ETH_RPC_URL was not checked')
  return urls
}

const NETWORKS: Readonly<Record<Asset, string>> = { BTC: 'bitcoin', LTC: 'litecoin', ETH: 'ethereum', SOL: 'solana' }

/** The network an asset is paid on: its main one, unless HOLDFAST_<ASSET>_NETWORK names another. */
export const networkOf = (config: Config<'api'> | Config<'keys'>, asset: Asset): string =>
  config[`HOLDFAST_${asset}_NETWORK`] ?? NETWORKS[asset]

/** The assets a process serves, from a list that loadConfig has checked. */
export const enabledAssetsOf = (list: string): readonly Asset[] => parseAssets(list) ?? []
