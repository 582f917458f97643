// The port to whatever holds the key that refunds are sent with. Two adapters: a hot wallet for development, and files for
// keys that are not online. The payer checks each signature against what
// it asked for (readSigned).

import type { PayoutTransaction } from '../domain/payout.ts'

export type SigningRequest = {
  payoutId: string
  attempt: number
  refundId: string
  network: string
  transaction: PayoutTransaction
}

export type Signer = {
  /** The account, in lower case. */
  sender: string
  /**
   * A signed transaction in hex; undefined: not yet, ask again. The same request may come again after a crash.
   * @throws {SignatureRefused} for an answer that cannot be read
   */
  sign: (request: SigningRequest) => Promise<string | undefined>
  /** The request is answered: a signer that keeps requests may forget it. */
  forget: (request: SigningRequest) => Promise<void>
}
