// Payment URIs: what a QR code or a link gives to a wallet. BIP-21 for BTC and LTC, EIP-681 for ETH, Solana Pay for SOL.
// The amount is exact, and no URI has personal data in it.

import { formatUnits } from './money.ts'
import { ASSET_POLICY, type Asset } from './payment.ts'

/** `address` as wallets show it. `chainId`: of the Ethereum network; a wallet on another one must refuse to pay. */
export type PaymentTarget = { asset: Asset; address: string; units: bigint; chainId: number }

export function paymentUriOf({ asset, address, units, chainId }: PaymentTarget): string {
  // Addresses have letters and digits only: anything else must not become a part of the URI.
  const to = encodeURIComponent(address)
  const coins = formatUnits(units, ASSET_POLICY[asset].decimals)
  switch (asset) {
    case 'BTC':
      return `bitcoin:${to}?amount=${coins}`
    case 'LTC':
      return `litecoin:${to}?amount=${coins}`
    case 'ETH':
      return `ethereum:${to}@${chainId}?value=${units}`
    case 'SOL':
      return `solana:${to}?amount=${coins}`
  }
}
