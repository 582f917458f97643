// What the configuration says about assets, networks and rates, with the defaults of the domain.

import type { Config } from '../config.ts'
import { parseFiat } from '../domain/money.ts'
import { ASSET_POLICY, ASSETS, parseAssets, type Asset, type AssetPolicy } from '../domain/payment.ts'

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

const ETHEREUM_CHAIN_ID = 1
const ANVIL_CHAIN_ID = 31_337
/** Ten slots of Ethereum. */
const MAX_BLOCK_AGE_MS = 120_000

/** Which chain the node must be on. */
export const chainIdOf = (config: Config<'watcher'> | Config<'payer'>): number =>
  config.HOLDFAST_ETH_CHAIN_ID ?? (config.HOLDFAST_MODE === 'production' ? ETHEREUM_CHAIN_ID : ANVIL_CHAIN_ID)

/** Which chain the node must be on, and how old its newest block may be (any age in development). */
export function chainRulesOf(config: Config<'watcher'>): { chainId: number; maxBlockAgeMs: number } {
  const isReal = config.HOLDFAST_MODE === 'production'
  return {
    chainId: chainIdOf(config),
    maxBlockAgeMs: config.HOLDFAST_MAX_BLOCK_AGE_MS ?? (isReal ? MAX_BLOCK_AGE_MS : Number.POSITIVE_INFINITY),
  }
}

/** Fixed prices per coin in minor units, from HOLDFAST_<ASSET>_RATE; assets without one are absent. */
export function staticRatesOf(config: Config<'api'>): ReadonlyMap<Asset, bigint> {
  const table = new Map<Asset, bigint>()
  for (const asset of ASSETS) {
    const text = config[`HOLDFAST_${asset}_RATE`]
    if (text === undefined) continue
    const minor = parseFiat(text)
    // One that cannot be parsed has refused the start.
    if (minor !== undefined) table.set(asset, minor)
  }
  return table
}

const NETWORKS: Readonly<Record<Asset, string>> = { BTC: 'bitcoin', LTC: 'litecoin', ETH: 'ethereum', SOL: 'solana' }

/** The network an asset is paid on: its main one, unless HOLDFAST_<ASSET>_NETWORK names another. */
export const networkOf = (config: Config<'api'> | Config<'keys'>, asset: Asset): string =>
  config[`HOLDFAST_${asset}_NETWORK`] ?? NETWORKS[asset]

/** The assets a process serves, from a list that loadConfig has checked. */
export const enabledAssetsOf = (list: string): readonly Asset[] => parseAssets(list) ?? []
