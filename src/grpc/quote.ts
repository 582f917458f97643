// Payment requests: a quote as the API shows it, with the URI for a wallet and the shop's signature; and the check of one
// by a client.

import type { AcceptedOrder } from '../db/accept/accept.ts'
import { formatFiat, formatUnits } from '../domain/money.ts'
import { ASSET_POLICY } from '../domain/payment.ts'
import { paymentUriOf } from '../domain/payment_uri.ts'
import { formatAddress } from '../keyvault/address.ts'
import type { PublicKeys } from '../keyvault/ed25519.ts'
import { isQuoteSigned, type QuoteSigner } from '../keyvault/quote.ts'
import type { PaymentRequest } from './gen/holdfast/v1/common.ts'

/** `chainId`: of the Ethereum network that ETH is paid on. */
export type Quoting = { sign: QuoteSigner; chainId: number }

type Quote = Pick<AcceptedOrder, 'orderId' | 'network' | 'asset' | 'address' | 'amountDue' | 'rateMinor' | 'expiresAt'>

export function paymentRequestMessage(quote: Quote, { sign, chainId }: Quoting): PaymentRequest {
  const { orderId, network, asset, amountDue, expiresAt } = quote
  const address = formatAddress(asset, quote.address)
  const units = amountDue.toString()
  const amountDecimal = formatUnits(amountDue, ASSET_POLICY[asset].decimals)
  const uri = paymentUriOf({ asset, address, units: amountDue, chainId })
  const rate = formatFiat(quote.rateMinor)
  const expiresAtMs = BigInt(expiresAt.getTime())
  const signature = sign({ orderId, network, asset, address, units, amountDecimal, uri, rate, expiresAtMs })
  return { network, address, amount: { asset, units }, rate, expiresAt, amountDecimal, uri, signature }
}

/** True if one of `keys` signed this payment request for this order. Pay no other one. */
export function isQuoteGenuine(orderId: string, request: PaymentRequest, keys: PublicKeys): boolean {
  const { network, address, amount, rate, expiresAt, amountDecimal, uri, signature } = request
  if (amount === undefined || expiresAt === undefined || signature === undefined) return false
  const { asset, units } = amount
  const expiresAtMs = BigInt(expiresAt.getTime())
  const terms = { orderId, network, asset, address, units, amountDecimal, uri, rate, expiresAtMs }
  return isQuoteSigned(terms, signature, keys)
}
