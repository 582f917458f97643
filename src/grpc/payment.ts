// PaymentService: the inbox for watchers' reports. It checks the size, then the signature over the received bytes, and
// only then parses: a valid token alone does not make a report trustworthy. A fact that contradicts a stored one is
// refused and counted: operators are alarmed.

import { recordReport } from '../db/payment.ts'
import type { Database } from '../db/connection/pool.ts'
import type { ReportedObservation } from '../domain/chain.ts'
import { DomainError } from '../domain/failure.ts'
import type { SignedReportClaim } from '../keyvault/signature.ts'
import { auditActorOf } from './call.ts'
import type { PaymentServiceService } from './gen/holdfast/v1/payment.ts'
import type { Handlers } from './handle.ts'
import { MAX_REPORT_BYTES, unpackReport } from './report.ts'
import { Counter, type Logger, type Registry } from '../telemetry.ts'

export type PaymentDeps = {
  /** The sessions of probes and money: no other call can take them. */
  priority: Pick<Database, 'run' | 'sql'>
  logger: Logger
  registry: Registry
  /** Throws SIGNATURE_INVALID. */
  verifyReport: (claim: SignedReportClaim) => void
}

export function createPaymentHandlers(deps: PaymentDeps): Handlers<typeof PaymentServiceService> {
  const conflicts = new Counter({
    name: 'holdfast_payment_report_conflicts_total',
    help: 'Reports refused because another fact is stored under a sequence number of theirs.',
    registers: [deps.registry],
  })

  function noteConflict(error: unknown, source: string, reported: readonly ReportedObservation[]): void {
    if (!(error instanceof DomainError) || error.reason !== 'REPORT_CONFLICT') return
    conflicts.inc()
    // Ids of the chain, which their shape has been checked for.
    const outputs = reported.map(({ network, txId, outputIndex, seq }) => `${network} ${txId} ${outputIndex} ${seq}`)
    deps.logger.error({ source, seq: error.metadata['seq'], outputs }, 'a report contradicts a stored one')
  }

  return {
    reportPayments: async (request, call) => {
      if (request.report.length > MAX_REPORT_BYTES)
        throw new DomainError('MESSAGE_TOO_LARGE', `A report has at most ${MAX_REPORT_BYTES} bytes.`, {
          metadata: { limit_bytes: String(MAX_REPORT_BYTES) },
        })
      // The token's subject is the source: a watcher reports only for itself.
      const source = call.principal.subject
      deps.verifyReport({ source, ...request })
      const observations = unpackReport(request.report, source)
      try {
        await recordReport(deps.priority, source, observations, {
          deadline: call.deadline,
          origin: auditActorOf(call, 'watcher'),
        })
      } catch (error) {
        noteConflict(error, source, observations)
        throw error
      }
      return { id: request.id, observations: observations.length }
    },
  }
}
