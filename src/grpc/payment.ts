// PaymentService: watchers' reports. Size, then signature over the bytes as they came, and only then parsing: a report
// is a stranger's until its signature says otherwise, whatever token it came with.

import { recordReport, type Observation } from '../db/payment.ts'
import type { Database } from '../db/connection/pool.ts'
import { DomainError } from '../domain/failure.ts'
import { auditActorOf } from './call.ts'
import { PaymentReport, type PaymentServiceService } from './gen/holdfast/v1/payment.ts'
import type { Handlers } from './handle.ts'
import { MAX_REPORT_BYTES, reportIdOf } from './report.ts'
import { PAYMENT_REPORT } from './schema.ts'
import { fieldInvalid, parseMessage } from './validate.ts'

export type ReportClaim = {
  source: string
  id: string
  timestampS: bigint
  report: Uint8Array
  signatures: readonly string[]
}

export type PaymentDeps = {
  database: Database
  /** Throws SIGNATURE_INVALID. */
  verifyReport: (claim: ReportClaim) => void
}

export const createPaymentHandlers = (deps: PaymentDeps): Handlers<typeof PaymentServiceService> => ({
  reportPayments: async (request, call) => {
    if (request.report.length > MAX_REPORT_BYTES)
      throw new DomainError('MESSAGE_TOO_LARGE', `A report has at most ${MAX_REPORT_BYTES} bytes.`, {
        metadata: { limit_bytes: String(MAX_REPORT_BYTES) },
      })
    // The token's subject is the source: a watcher can speak for itself alone.
    const source = call.principal.subject
    deps.verifyReport({ source, ...request })
    const observations = readReport(request.report, source)
    await recordReport(deps.database, source, observations, {
      deadline: call.deadline,
      origin: auditActorOf(call, 'watcher'),
    })
    return { id: request.id, observations: observations.length }
  },
})

/** Throws FIELD_INVALID. */
function readReport(bytes: Uint8Array, source: string): Observation[] {
  const report = parseMessage(PAYMENT_REPORT, decode(bytes))
  if (report.source !== source)
    throw fieldInvalid([{ field: 'report.source', description: "must be the token's subject" }])
  return report.observations.map(({ units, depth: _, ...fact }, at) => {
    if (reportIdOf(report.network, fact) !== fact.reportId)
      throw fieldInvalid([
        { field: `report.observations[${at}].report_id`, description: 'must be the hash of this fact' },
      ])
    return { ...fact, network: report.network, amount: units, blockHeight: fact.blockHeight, blockHash: fact.blockHash }
  })
}

function decode(bytes: Uint8Array): PaymentReport {
  try {
    return PaymentReport.decode(bytes)
  } catch {
    throw fieldInvalid([{ field: 'report', description: 'must be a serialised PaymentReport' }])
  }
}
