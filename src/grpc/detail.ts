// Codec for google.rpc error details in a gRPC status.

import type { Metadata } from '@grpc/grpc-js'
import type { FieldViolation, QuotaViolation } from '../domain/failure.ts'
import {
  BadRequest,
  ErrorInfo,
  PreconditionFailure,
  QuotaFailure,
  QuotaFailure_Violation,
  RequestInfo,
  RetryInfo,
} from './gen/google/rpc/error_details.ts'
import { Status } from './gen/google/rpc/status.ts'

/** The `domain` of every ErrorInfo. */
export const ERROR_DOMAIN = 'holdfast.v1'
export const DETAILS_KEY = 'grpc-status-details-bin'
const TYPE_PREFIX = 'type.googleapis.com/google.rpc.'
const MS_PER_S = 1_000
const NANOS_PER_MS = 1_000_000

export type Detail = {
  reason: string
  metadata: Readonly<Record<string, string>>
  violations: readonly FieldViolation[]
  quota: readonly QuotaViolation[]
  retryAfterMs?: number
}

export type DetailToPack = Detail & {
  requestId: string
  /** Violations of fields (BadRequest) or of preconditions (PreconditionFailure). */
  violationKind: 'field' | 'precondition'
}

type Packable = { encode: (message: never) => { finish: () => Uint8Array } }

const pack = <Type extends Packable>(name: string, type: Type, message: Parameters<Type['encode']>[0]) => ({
  typeUrl: `${TYPE_PREFIX}${name}`,
  value: Buffer.from(type.encode(message).finish()),
})

/** In base64, which is how a header carries it, at most 4 KiB. */
export const MAX_DETAIL_BYTES = 3_072

/**
 * Encodes a google.rpc.Status with at most one detail of each kind. What makes it larger than a header should be is
 * left out: first half of the violations, again and again, then the metadata.
 */
export function packDetails(code: number, message: string, detail: DetailToPack): Buffer {
  const packed = packAll(code, message, detail)
  if (packed.length <= MAX_DETAIL_BYTES) return packed
  const { violations, quota } = detail
  if (violations.length + quota.length === 0) return packAll(code, '', { ...detail, metadata: {} })
  return packDetails(code, message, { ...detail, violations: firstHalf(violations), quota: firstHalf(quota) })
}

const firstHalf = <Item>(items: readonly Item[]): readonly Item[] => items.slice(0, Math.floor(items.length / 2))

function packAll(code: number, message: string, detail: DetailToPack): Buffer {
  const { reason, metadata, violations, quota, retryAfterMs } = detail
  const details = [
    pack('ErrorInfo', ErrorInfo, { reason, domain: ERROR_DOMAIN, metadata }),
    pack('RequestInfo', RequestInfo, { requestId: detail.requestId, servingData: '' }),
    ...(retryAfterMs === undefined ? [] : [pack('RetryInfo', RetryInfo, { retryDelay: durationOf(retryAfterMs) })]),
  ]
  if (violations.length > 0) details.push(packViolations(detail))
  if (quota.length > 0) {
    const exceeded = { violations: quota.map((each) => QuotaFailure_Violation.fromPartial(each)) }
    details.push(pack('QuotaFailure', QuotaFailure, exceeded))
  }
  return Buffer.from(Status.encode({ code, message, details }).finish())
}

const packViolations = ({ violations, violationKind, reason }: DetailToPack) =>
  violationKind === 'precondition'
    ? pack('PreconditionFailure', PreconditionFailure, {
        violations: violations.map(({ field, description }) => ({ type: reason, subject: field, description })),
      })
    : pack('BadRequest', BadRequest, {
        fieldViolations: violations.map(({ field, description }) => ({
          field,
          description,
          reason,
          localizedMessage: undefined,
        })),
      })

const durationOf = (ms: number) => {
  const whole = Math.ceil(ms)
  return { seconds: BigInt(Math.floor(whole / MS_PER_S)), nanos: (whole % MS_PER_S) * NANOS_PER_MS }
}

/** Decodes what packDetails wrote; a status without our details has an empty reason. */
export function readDetails(metadata: Metadata): Detail {
  const [bytes] = metadata.get(DETAILS_KEY)
  const found = new Map(
    Buffer.isBuffer(bytes) ? Status.decode(bytes).details.map(({ typeUrl, value }) => [typeUrl, value]) : [],
  )
  const read = <Message>(name: string, type: { decode: (bytes: Uint8Array) => Message }): Message | undefined => {
    const value = found.get(`${TYPE_PREFIX}${name}`)
    return value === undefined ? undefined : type.decode(value)
  }
  const info = read('ErrorInfo', ErrorInfo)
  const delay = read('RetryInfo', RetryInfo)?.retryDelay
  const preconditions = read('PreconditionFailure', PreconditionFailure)?.violations ?? []
  return {
    reason: info?.domain === ERROR_DOMAIN ? info.reason : '',
    metadata: info?.metadata ?? {},
    violations:
      read('BadRequest', BadRequest)?.fieldViolations.map(({ field, description }) => ({ field, description })) ??
      preconditions.map(({ subject, description }) => ({ field: subject, description })),
    quota:
      read('QuotaFailure', QuotaFailure)?.violations.map(({ subject, description }) => ({ subject, description })) ??
      [],
    ...(delay !== undefined && { retryAfterMs: Number(delay.seconds) * MS_PER_S + delay.nanos / NANOS_PER_MS }),
  }
}
