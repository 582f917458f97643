// The signature of a quote. An api signs with its quote key when it answers: Ed25519 gives the same signature for the
// same quote, so nothing is stored. A client that has the shop's public keys notices another address or amount.

import { DomainError } from '../domain/failure.ts'
import { isOneLineEach, quoteText, type QuoteTerms } from '../domain/quote.ts'
import { isTextSigned, type PublicKeys, type TextSigner } from './ed25519.ts'

export type SignedQuote = { keyId: string; signature: Buffer }
export type QuoteSigner = (terms: QuoteTerms) => SignedQuote

export const createQuoteSigner =
  ({ keyId, sign }: TextSigner): QuoteSigner =>
  (terms) => {
    if (!isOneLineEach(terms)) throw new DomainError('INTERNAL', 'A value of the quote has several lines.')
    return { keyId, signature: sign(quoteText(terms, keyId)) }
  }

/** True if one of `keys` signed exactly this quote. What was signed has a line for each value, so none can be two. */
export const isQuoteSigned = (
  terms: QuoteTerms,
  { keyId, signature }: { keyId: string; signature: Uint8Array },
  keys: PublicKeys,
): boolean => isTextSigned(quoteText(terms, keyId), keyId, signature, keys)
