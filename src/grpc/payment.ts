// PaymentService: the inbox for watchers' reports. It checks the size, then the signature over the received bytes, and
// only then parses: a valid token alone does not make a report trustworthy.

import { recordReport } from '../db/payment.ts'
import type { Database } from '../db/connection/pool.ts'
import { DomainError } from '../domain/failure.ts'
import type { SignedReportClaim } from '../keyvault/signature.ts'
import { auditActorOf } from './call.ts'
import type { PaymentServiceService } from './gen/holdfast/v1/payment.ts'
import type { Handlers } from './handle.ts'
import { MAX_REPORT_BYTES, unpackReport } from './report.ts'

export type PaymentDeps = {
  /** The sessions of probes and money: no other call can take them. */
  priority: Pick<Database, 'run'>
  /** Throws SIGNATURE_INVALID. */
  verifyReport: (claim: SignedReportClaim) => void
}

export const createPaymentHandlers = (deps: PaymentDeps): Handlers<typeof PaymentServiceService> => ({
  reportPayments: async (request, call) => {
    if (request.report.length > MAX_REPORT_BYTES)
      throw new DomainError('MESSAGE_TOO_LARGE', `A report has at most ${MAX_REPORT_BYTES} bytes.`, {
        metadata: { limit_bytes: String(MAX_REPORT_BYTES) },
      })
    // The token's subject is the source: a watcher reports only for itself.
    const source = call.principal.subject
    deps.verifyReport({ source, ...request })
    const observations = unpackReport(request.report, source)
    await recordReport(deps.priority, source, observations, {
      deadline: call.deadline,
      origin: auditActorOf(call, 'watcher'),
    })
    return { id: request.id, observations: observations.length }
  },
})
